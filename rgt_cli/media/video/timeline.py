"""Close the jumps in the timestamps of recordings: parts that were joined, or lost while received."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer

from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.fields import Deinterlacing, deinterlaced
from rgt_cli.media.video.probe import RECORDINGS, Video, probe

if TYPE_CHECKING:
    Packet = av.Packet[Any]

logger = logging.getLogger(__name__)

_FORWARD, _BACKWARD = Fraction(10), Fraction(1, 10)
"""Seconds from which a step of the timestamps is a jump: the thresholds of ffmpeg."""
_COPIES = {
    # Each packet of sound has its own time: those after a jump would continue the ones before it.
    "mpegts": ("-pes_payload_size", "0", "-f", "mpegts"),
    "mpeg": ("-f", "vob"),
    "ogg": ("-f", "nut"),
}
"""Demuxer -> arguments that write the copy without jumps."""


@dataclass
class JumpFinder:
    """Compares the time of each packet with the one that is expected after the packet before it."""

    _found: dict[int, list[Fraction]] = field(default_factory=dict)
    _last: dict[int, Fraction] = field(default_factory=dict)
    _expected: dict[int, Fraction] = field(default_factory=dict)

    def add(self, index: int, time: Fraction, duration: Fraction) -> None:
        """Add a packet.

        Args:
            index: Index of its stream.
            time: When it is decoded, in seconds.
            duration: Seconds; 0 if unknown.
        """
        if index in self._last:
            step = time - self._expected[index]
            if abs(step) > _FORWARD or time + _BACKWARD < self._last[index]:
                self._found.setdefault(index, []).append(step)
        self._last[index], self._expected[index] = time, time + duration

    @property
    def jumps(self) -> list[Fraction]:
        """The jumps of the stream that has the most, in seconds."""
        return max(self._found.values(), key=len, default=[])


def find_jumps(video: Video) -> list[Fraction]:
    """Return the jumps in the timestamps of a recording, in seconds. All of it is read."""
    finder = JumpFinder()
    if video.demuxer not in RECORDINGS:
        return finder.jumps  # there, a gap is a part of the video
    with av.open(ffmpeg.url(video.path), options=ffmpeg.source_options()) as container:
        streams = [stream for stream in container.streams if stream.type in ("video", "audio")]
        with suppress(av.FFmpegError):  # damage is reported when the frames are read
            for packet in container.demux(streams):
                if packet.dts is not None and packet.time_base:
                    duration = (packet.duration or 0) * packet.time_base
                    finder.add(packet.stream.index, packet.dts * packet.time_base, duration)
    return finder.jumps


@contextmanager
def without_jumps(video: Video, folder: Path, warn: Callable[[str], None]) -> Iterator[Video]:
    """Provide a recording without jumps: itself, or a copy of it whose timestamps are continuous.

    All streams of the copy are moved by the same time, so that they stay in sync.

    Args:
        video: The recording, from `probe` or `deinterlaced`.
        folder: Where the copy is stored as long as it is used.
        warn: Receives a message if there are jumps.
    """
    jumps = find_jumps(video)
    if not jumps:
        yield video
        return
    warn(f"{video.path}: its timestamps jump {_times(jumps)}; the parts follow each other without a gap")
    path = folder / "source.copy"
    try:
        code, _, stderr = ffmpeg.run(
            ["-v", "error", "-y", *ffmpeg.source_arguments(video.path), "-map", "0", "-copy_unknown",
             "-c", "copy", *_COPIES[video.demuxer], ffmpeg.url(path)]
        )  # fmt: skip
        if code or not _has_same_streams(video.path, path):
            logger.info("%s: cannot be copied without jumps: %s", video.path, stderr.strip())
            yield video
        else:
            yield _at(path, video)
    finally:
        path.unlink(missing_ok=True)


def _at(path: Path, video: Video) -> Video:
    """Return a video whose frames are read from a copy of its file."""
    copy = deinterlaced(probe(path), Deinterlacing(video.deinterlacing))
    return replace(
        video,
        path=path,
        original=video.path,
        index=copy.index,
        others=copy.others,
        demuxer=copy.demuxer,
        time_base=copy.time_base,
        start=copy.start,
        first=copy.first,
        origin=copy.origin,
        frames=copy.frames,
    )


def _times(jumps: Iterable[Fraction]) -> str:
    steps = [f"{float(step):+.1f} s" for step in jumps]
    return f"by {steps[0]}" if len(steps) == 1 else f"{len(steps)} times, first by {steps[0]}"


def _has_same_streams(one: Path, other: Path) -> bool:
    with (
        av.open(ffmpeg.url(one), options=ffmpeg.source_options()) as first,
        av.open(ffmpeg.url(other), options=ffmpeg.source_options()) as second,
    ):
        return _kinds(first) == _kinds(second)


def _kinds(container: InputContainer) -> list[tuple[str, str]]:
    return [(stream.type, getattr(stream, "name", "")) for stream in container.streams]
