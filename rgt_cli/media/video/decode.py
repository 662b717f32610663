"""Decode the frames of a video, in the order in which they are shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from rgt_cli.errors import InputError
from rgt_cli.media.video import ffmpeg, integrity
from rgt_cli.media.video.animation import DEMUXER, read_animation
from rgt_cli.media.video.fields import Deinterlacing, lag
from rgt_cli.media.video.framelog import LEVEL, FrameLog, LoggedError, LoggedFrame
from rgt_cli.media.video.probe import Video, decoder_arguments
from rgt_cli.media.video.resolution import FrameSizeError
from rgt_cli.media.video.rgb import to_rgb

logger = logging.getLogger(__name__)

_MARGINS = (10.0, 60.0)
"""Seconds before the first requested frame at which decoding starts, so that its references exist. The
second one is tried if there is no keyframe after the first one, and then the start of the video."""
_UNSEEKABLE = ("gif", "apng", "webp_pipe", "h264", "hevc", "mpegvideo", "m4v", "vc1")
"""Formats whose frames can only be decoded from the start, or have no times of their own."""
_CAPTURES = ("mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "dv")
"""Formats that may begin between keyframes, because a receiver was switched on."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    time: int
    """When it is shown, in ticks of the video's time base."""
    pixels: np.ndarray
    """(H, W, 3) uint16, RGB in the transfer and primaries of the video, full range."""
    alpha: np.ndarray | None
    """(H, W) uint16; None if the video has no transparency."""


@dataclass
class ReadReport:
    """What is found out while frames are read."""

    warn: Callable[[str], None] = logger.warning
    """Receives a message for the user."""
    end: int | None = None
    """When the last frame that was decoded ends, in ticks; None if that is unknown."""
    errors: list[str] = field(default_factory=list)
    """What a reader that ended early had found to be damaged."""
    _reported: set[str] = field(default_factory=set)

    def warn_once(self, key: str, message: str) -> None:
        """Report a message unless one with this key was reported."""
        if key not in self._reported:
            self._reported.add(key)
            self.warn(message)


def read_frames(
    video: Video, after: int | None = None, *, resumes: bool = False, report: ReadReport | None = None
) -> Generator[Frame]:
    """Yield the frames of a video from its start, or from the frame after a given time.

    YUV is converted to RGB with the matrix, range and chroma location of the video, in floating point,
    and rounded to 16 bits.

    Args:
        video: The video, from `probe`.
        after: A time in ticks; only later frames are yielded.
        resumes: Whether `after` is the time of a frame that was read before. Then the frames are those
            that an uninterrupted reader would yield after it.
        report: Receives what is found out.

    Raises:
        FrameSizeError: A frame has another size than the video.
        InputError: The video is damaged. It is raised after the last frame that can be decoded.
    """
    report = report or ReadReport()
    if video.demuxer == DEMUXER:
        yield from _animation_frames(video, after, report)
        return
    for seconds in _starts(video, after):
        attempt = _Attempt(video, after, seconds, resumes, report)
        with closing(attempt.frames()) as frames:
            yield from frames
        if not attempt.missed:
            return
        logger.info("%s: no usable keyframe after %.3f s", video.name, seconds)


def _animation_frames(video: Video, after: int | None, report: ReadReport) -> Generator[Frame]:
    for frame in read_animation(video.path):
        report.end = frame.time + frame.duration
        if after is None or frame.time > after:
            samples = frame.samples.astype(np.uint16) * 257
            yield Frame(frame.time, samples[..., :3], samples[..., 3] if video.has_alpha else None)


def _starts(video: Video, after: int | None) -> Iterator[float]:
    """Yield the seconds at which decoding may start, 0 for the start of the video last."""
    is_seekable = video.demuxer not in _UNSEEKABLE and video.deinterlacing != Deinterlacing.FILM.value
    if after is not None and is_seekable:
        for margin in _MARGINS:
            seconds = float((after - video.start) * video.time_base) - margin
            if seconds > 0:
                yield seconds
    yield 0.0


class _Attempt:
    """Decoding from one position."""

    def __init__(
        self, video: Video, after: int | None, seconds: float, resumes: bool, report: ReadReport
    ) -> None:
        self.missed = False
        """Whether decoding began too late, so that frames may be missing. No frame is yielded then."""
        self._video, self._after, self._report = video, after, report
        self._seconds, self._needs_exact = seconds, resumes
        self._count = self._skipped = 0
        self._last: int | None = None

    def frames(self) -> Generator[Frame]:
        process = ffmpeg.Process(self._arguments(), reads=False, level=LEVEL)
        assert process.log
        log, is_complete = FrameLog(process.log), False
        try:
            yield from self._wanted(log, process)
            is_complete = not self.missed
        finally:
            code, _ = process.end(kill=not is_complete)
            errors = [error.text for error in log.errors() if not self._is_expected(error)]
            if not self.missed:
                self._report.errors += errors
        if code:
            errors.append(f"ffmpeg ended with {code}")
        if missing := integrity.damage_of(self._video.path, self._video.demuxer):
            errors.insert(0, missing)
        if is_complete and errors:
            reason = f"{errors[0]}{self._missing_frames()}"
            raise InputError(f"{self._video.name}: the video is damaged: {reason}")

    def _missing_frames(self) -> str:
        """Return how many frames were decoded of those that the file announces, in words."""
        announced = self._video.frames or 0
        if self._seconds or announced <= self._count:
            return ""
        return f" ({self._count} of {announced} frames can be decoded)"

    def _arguments(self) -> list[str]:
        video, seek = self._video, list[str]()
        if self._seconds:
            seek = ["-noaccurate_seek", "-ss", f"{self._seconds:.3f}"]
            logger.info("%s: decoding from %.3f s", video.name, self._seconds)
        return [
            *decoder_arguments(video.codec, video.has_alpha),
            "-copyts", *seek, *ffmpeg.source_arguments(video.path),
            "-map", f"0:{video.index}", "-fps_mode", "passthrough",
            "-vf", ",".join(to_rgb(video)), "-c:v", "rawvideo",
            # The log has the times. Those of the output must increase, whatever the file contains.
            "-bsf:v", "setts=ts=100000*N",
            # Earlier frames than those that are wanted may have another size.
            "-s", f"{video.size.width}x{video.size.height}", "-f", "rawvideo", "pipe:1",
        ]  # fmt: skip

    def _wanted(self, log: FrameLog, process: ffmpeg.Process) -> Generator[Frame]:
        """Yield the frames after the requested time, or set `missed` and yield nothing."""
        (width, height), channels = self._video.size, 4 if self._video.has_alpha else 3
        has_key = has_exact = not self._seconds
        for logged in log:
            self._check_fields(logged)
            array = np.empty((height, width, channels), np.dtype("<u2"))
            if not _fill(process, array):
                return
            time = self._time(logged)
            self._count += 1
            if self._after is not None and time <= self._after:
                has_key |= logged.is_key
                has_exact |= time == self._after
                self._skipped += 1
                continue
            if not (has_key and (has_exact or not self._needs_exact)):
                break
            has_key = has_exact = True
            if logged.size != self._video.size:
                raise FrameSizeError.at(time * self._video.time_base, self._video, logged.size)
            yield Frame(time, array[..., :3], array[..., 3] if channels == 4 else None)
        self.missed = not (has_key and (has_exact or not self._needs_exact))

    def _check_fields(self, logged: LoggedFrame) -> None:
        video = self._video
        if logged.is_interlaced and video.deinterlacing == Deinterlacing.NONE.value:
            self._report.warn_once(
                "interlaced", f"{video.name}: some frames are interlaced: use --deinterlace"
            )

    def _time(self, logged: LoggedFrame) -> int:
        video = self._video
        duration = round(logged.duration * logged.time_base / video.time_base)
        step = duration or round(1 / (video.rate * video.time_base)) or 1
        if logged.pts is not None:
            time = round(logged.pts * logged.time_base / video.time_base) + lag(video)
        else:
            time = video.start if self._last is None else self._last + step
        if self._last is not None:
            time = max(time, self._last + 1)
        self._last, self._report.end = time, time + duration if duration else None
        return time

    def _is_expected(self, error: LoggedError) -> bool:
        """Return whether a decoder only reports references that come before the first frame."""
        if self._video.codec not in error.context and "dec:" not in error.context:
            return False
        begins_anywhere = self._skipped or self._video.demuxer in _CAPTURES
        return bool(begins_anywhere) and error.frames <= self._skipped


def _fill(process: ffmpeg.Process, array: np.ndarray) -> bool:
    """Read the pixels of one frame; return whether they are complete."""
    view, done = array.reshape(-1).view(np.uint8).data, 0
    while done < len(view):
        count = process.pipe.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            return False
        done += count
    return True
