"""The frames of a video job: decoded ahead of their turn, upscaled in batches, written as images."""

from __future__ import annotations

import struct
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rgt_cli.errors import InputError, UsageError
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.options import DEFAULT_RATE, JobOptions
from rgt_cli.jobs.pipeline import Prefetcher
from rgt_cli.jobs.video.spans import deinterlacing_of
from rgt_cli.media import ImageSequence, Metadata, Picture
from rgt_cli.media.png import Chunk
from rgt_cli.media.video.decode import Frame, ReadReport, read_frames
from rgt_cli.media.video.encode import BT2020, is_hdr
from rgt_cli.media.video.fields import Deinterlacing, deinterlaced
from rgt_cli.media.video.hdr import light_chunks
from rgt_cli.media.video.images import NumberedVideo, describe_images, read_image_frames
from rgt_cli.media.video.probe import BT709, UNSPECIFIED, Span, Video, probe
from rgt_cli.media.video.resolution import FrameSizeError
from rgt_cli.size import Dimensions

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler


def video_of(job: Job, options: JobOptions) -> Video:
    """Describe the input of a job.

    Raises:
        InputError: It is not a readable video.
        UsageError: Options contradict what it is.
    """
    rate, deinterlacing = options.video.fps, deinterlacing_of(options.video)
    if not job.images:
        if rate:
            raise UsageError(f"--fps {float(rate):g}: {job.name} has its own times; --fps is for images")
        return deinterlaced(probe(job.source), deinterlacing)
    if deinterlacing is not Deinterlacing.NONE:
        raise UsageError("--deinterlace and --inverse-telecine have no effect on numbered images")
    return describe_images(job.name, job.images, rate or DEFAULT_RATE, options.max_pixels)


def frames_of(
    video: Video, after: int | None, resumes: bool = False, report: ReadReport | None = None
) -> Generator[Frame]:
    """Yield the frames of a video, from the first one after a time in ticks; see `read_frames`.

    Raises:
        InputError: The video is damaged.
    """
    if isinstance(video, NumberedVideo):
        return read_image_frames(video, after)
    return read_frames(video, after, resumes=resumes, report=report)


def image_of(frame: Frame, video: Video, bits: int | None = None) -> ImageSequence:
    """Return a frame as an image.

    Args:
        frame: The frame.
        video: The video that it belongs to.
        bits: Bits per channel, 8 or 16; None is 8 if the video has 8, else 16.
    """
    picture = Picture(frame.pixels, frame.alpha, Metadata(png=frame_chunks(video)))
    return ImageSequence([picture.with_bits(bits or (8 if video.bits <= 8 else 16))])


def frame_chunks(video: Video) -> tuple[Chunk, ...]:
    """Return the chunks of a PNG that describe the frames of a video: HDR colors and the pixel aspect.

    Source: the PNG specification, third edition, section 11.3.2.6.
    """
    chunks, color = list[Chunk](), video.color
    if is_hdr(color) or color.primaries == BT2020:
        primaries = BT2020 if color.primaries == UNSPECIFIED else color.primaries
        transfer = BT709 if color.transfer == UNSPECIFIED else color.transfer
        chunks.append((b"cICP", bytes([primaries, transfer, 0, 1])))  # RGB in full range
        chunks += light_chunks(color)
    if video.sample_aspect != 1:
        # In the order in which ffmpeg writes and reads them, which makes videos of frames. The
        # specification has pixels per unit here, so the inverse.
        chunks.append((b"pHYs", struct.pack(">LLB", *video.sample_aspect.as_integer_ratio(), 0)))
    return tuple(chunks)


@dataclass
class FrameReader:
    """Reads a span of a video, and remembers whether the video is damaged."""

    video: Video
    span: Span
    report: ReadReport = field(default_factory=ReadReport)
    """What is found out while the frames are read."""
    apart: int = 0
    """Ticks that frames are apart at least; a frame that follows sooner is left out."""
    damage: InputError | None = None
    """Why frames may be missing; None as long as no damage is found."""

    def read(self, after: int | None = None) -> Generator[Frame]:
        """Yield the frames of the span in the order of their times, decoded in the background.

        Damage ends the frames and is recorded in `damage`.

        Args:
            after: A time in ticks; only later frames are yielded.

        Raises:
            FrameSizeError: A frame has another size than the video.
        """
        last = after
        resumes = after is not None
        if after is None and self.span.start is not None:
            after = self.span.start - 1
        frames = frames_of(self.video, after, resumes=resumes, report=self.report)
        with Prefetcher(frames) as ahead:
            try:
                for frame in ahead:
                    if self.span.end is not None and frame.time >= self.span.end:
                        return
                    if last is None or frame.time - last >= self.apart:
                        last = frame.time
                        yield frame
            except FrameSizeError as error:
                end = self.span.end
                if end is None or error.time < end * self.video.time_base:
                    raise
            except InputError as error:
                self.damage = error


class FrameUpscaler:
    """Upscales the frames of a video. A frame that equals the one before it is not computed again.

    Args:
        upscaler: Upscales frames to at least `size`.
        size: The size of the results. Larger frames are cropped at the right and at the bottom.
    """

    def __init__(self, upscaler: MultiPassUpscaler, size: Dimensions) -> None:
        self.seconds = 0.0
        """Time spent computing."""
        self._upscaler, self._size = upscaler, size
        self._last_source: Frame | None = None
        self._last_result: tuple[np.ndarray, np.ndarray | None] | None = None

    def upscale(self, frames: list[Frame]) -> list[Frame]:
        """Upscale consecutive frames of one size at once.

        Returns:
            A frame for each of `frames`, with the same time. Equal frames share their arrays.

        Raises:
            OutOfMemoryError: As `NetworkUpscaler.upscale`.
        """
        started = time.perf_counter()
        changed = [self._has_changed(frame) for frame in frames]
        pending = [(f.pixels, f.alpha) for f, is_new in zip(frames, changed, strict=True) if is_new]
        computed = iter(self._upscaler.upscale_batch(pending))
        results = []
        for frame, is_new in zip(frames, changed, strict=True):
            if is_new:
                self._last_result = self._cropped(*next(computed))
            assert self._last_result
            pixels, alpha = self._last_result
            results.append(Frame(frame.time, pixels, alpha))
        self.seconds += time.perf_counter() - started
        return results

    def _cropped(
        self, pixels: np.ndarray, alpha: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        width, height = self._size
        return pixels[:height, :width], None if alpha is None else alpha[:height, :width]

    def _has_changed(self, frame: Frame) -> bool:
        before, self._last_source = self._last_source, frame
        return before is None or not _equal(frame, before)


def _equal(one: Frame, other: Frame) -> bool:
    return np.array_equal(one.pixels, other.pixels) and (
        one.alpha is other.alpha is None
        or (one.alpha is not None and other.alpha is not None and np.array_equal(one.alpha, other.alpha))
    )
