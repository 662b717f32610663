"""Close the jumps in the timestamps of recordings: parts that were joined, or lost while received."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer, OutputContainer

from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.fields import Deinterlacing, deinterlaced
from rgt_cli.media.video.probe import RECORDINGS, Video, probe
from rgt_cli.media.video.streams import open_source

if TYPE_CHECKING:
    Packet = av.Packet[Any]

logger = logging.getLogger(__name__)

_FORWARD, _BACKWARD = Fraction(10), Fraction(1, 10)
"""Seconds from which a step of the timestamps is a jump: the thresholds of ffmpeg."""
_LATEST = 5
"""Seconds after it is decoded, within which a frame is shown. Times beyond belong to the next part."""
_START = Fraction(1)
"""When a copy starts, in seconds: frames are decoded before they are shown, and never before zero."""
_FORMATS = {
    "mpegts": ("mpegts",),
    "mpeg": ("nut", "vob"),  # only the second one supports the PCM of DVDs, but not all times
    "ogg": ("nut",),
}
"""Demuxer -> formats of the copy without jumps, the best first."""
# Each packet of sound has its own time: those after a jump would continue the ones before it.
_OPTIONS = {"pes_payload_size": "0"}
"""Options of the format mpegts."""


@dataclass
class _Part:
    """A part of a recording without a jump, in seconds."""

    start: Fraction
    end: Fraction


@dataclass
class Timeline:
    """The parts of a recording. Feed it all packets in their order in the file.

    Streams enter a new part one after the other, because their packets are interleaved.
    """

    parts: list[_Part] = field(default_factory=list)
    entries: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Index of a stream -> each part that it enters, and the number of its first packet in it."""
    _last: dict[int, Fraction] = field(default_factory=dict)
    _counts: dict[int, int] = field(default_factory=dict)

    def add(
        self, index: int, decoded: Fraction | None, shown: tuple[Fraction, Fraction], is_sparse: bool
    ) -> None:
        """Add a packet.

        Args:
            index: Index of its stream.
            decoded: When it is decoded, in seconds; None if that is unknown.
            shown: From when to when it is shown, in seconds.
            is_sparse: Whether its stream may have long gaps, so that it cannot reveal a jump.
        """
        number = self._counts.get(index, 0)
        self._counts[index] = number + 1
        if decoded is None:
            return
        entered = self.entries.setdefault(index, [])
        at = self._part_of(index, decoded, is_sparse)
        if at == len(self.parts):
            self.parts.append(_Part(*shown))
        if not entered or entered[-1][0] != at:
            # Packets without a time are in the part of the next one.
            entered.append((at, number if entered else 0))
        self._last[index], part = decoded, self.parts[at]
        if not is_sparse:
            part.start, part.end = min(part.start, shown[0]), max(part.end, shown[1])

    def _part_of(self, index: int, time: Fraction, is_sparse: bool) -> int:
        """Return the part of a packet; the number of parts if it begins a new one."""
        newest = len(self.parts) - 1
        if newest < 0:
            return 0
        own = self.entries[index][-1][0] if self.entries[index] else newest
        goes_on = time + _BACKWARD >= self._last.get(index, time)
        if goes_on and abs(time - self.parts[own].end) <= _FORWARD:
            return own
        is_near = abs(time - self.parts[newest].end) <= _FORWARD
        return newest if is_sparse or (is_near and own < newest) else newest + 1

    @property
    def jumps(self) -> list[Fraction]:
        """The jumps between the parts, in seconds."""
        return [later.start - earlier.end for earlier, later in pairwise(self.parts)]

    def moves(self) -> list[Fraction]:
        """Return by how many seconds each part moves, so that it follows the one before."""
        moves, end = list[Fraction](), _START
        for part in self.parts:
            moves.append(end - part.start)
            end += part.end - part.start
        return moves


def read_timeline(video: Video) -> Timeline:
    """Return the parts of a recording, all of which is read. Other videos have gaps, but no parts."""
    timeline = Timeline()
    if video.demuxer not in RECORDINGS:
        return timeline
    with (
        open_source(video) as container,
        suppress(av.FFmpegError),  # damage is reported when the frames are read
    ):
        for packet in container.demux():
            if packet.size:
                timeline.add(packet.stream_index, *_times_of(packet))
    return timeline


def _times_of(packet: Packet) -> tuple[Fraction | None, tuple[Fraction, Fraction], bool]:
    """Return a packet as `Timeline.add` expects it."""
    base = packet.time_base or Fraction(1)
    decoded = packet.pts if packet.dts is None else packet.dts
    shown = packet.pts if packet.pts is not None else decoded or 0
    if decoded is not None and abs(shown - decoded) * base > _LATEST:
        shown = decoded
    span = shown * base, (shown + (packet.duration or 0)) * base
    is_sparse = packet.stream.type not in ("video", "audio")
    return None if decoded is None else decoded * base, span, is_sparse


@contextmanager
def without_jumps(video: Video, folder: Path, warn: Callable[[str], None]) -> Iterator[Video]:
    """Provide a recording without jumps: itself, or a copy of it whose timestamps are continuous.

    All streams of the copy are moved by the same time, so that they stay in sync.

    Args:
        video: The recording, from `probe` or `deinterlaced`.
        folder: Where the copy is stored as long as it is used.
        warn: Receives a message if there are jumps.
    """
    timeline = read_timeline(video)
    if not timeline.jumps:
        yield video
        return
    path, jumps = folder / "source.copy", f"{video.path}: its timestamps jump {_times(timeline.jumps)}"
    try:
        if _copy(video, timeline, path):
            warn(f"{jumps}; the parts follow each other without a gap")
            yield _at(path, video)
        else:
            warn(f"{jumps}, and a stream cannot be moved: video and audio may be out of sync")
            yield video
    finally:
        path.unlink(missing_ok=True)


def _copy(video: Video, timeline: Timeline, path: Path) -> bool:
    """Copy a recording without its jumps; return whether that succeeds."""
    for name in _FORMATS[video.demuxer]:
        try:
            with (
                open_source(video) as source,
                av.open(ffmpeg.url(path), "w", name, container_options=_OPTIONS) as output,
            ):
                _Mover(source, output, timeline).run()
        except (av.FFmpegError, ValueError) as error:  # the format does not support a stream
            logger.info("%s: cannot be copied as %s: %s", video.path, name, error)
            continue
        if _has_same_streams(video.path, path):
            return True
    return False


class _Mover:
    """Copies the packets of a recording, and moves those of each part by one time."""

    def __init__(self, source: InputContainer, output: OutputContainer, timeline: Timeline) -> None:
        self._source, self._output = source, output
        self._moves, self._entries = timeline.moves(), timeline.entries
        self._counts = dict.fromkeys(range(len(source.streams)), 0)
        self._last: dict[int, int] = {}
        for stream in source.streams:
            copy = output.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
        output.metadata.update(source.metadata)

    def run(self) -> None:
        """Copy all packets. Damage at the end of the source is reported when the frames are read."""
        packets = self._source.demux()
        while packet := self._next(packets):
            if packet.size:
                self._move(packet)
                self._output.mux(packet)

    @staticmethod
    def _next(packets: Iterator[Packet]) -> Packet | None:
        with suppress(av.FFmpegError):
            return next(packets, None)
        return None

    def _move(self, packet: Packet) -> None:
        index, base = packet.stream_index, packet.time_base or Fraction(1)
        part = 0
        for at, number in self._entries.get(index, ()):
            part = at if self._counts[index] >= number else part
        self._counts[index] += 1
        ticks = round(self._moves[part] / base)
        decoded, shown = packet.dts, packet.pts
        if decoded is not None:
            if shown is not None and abs(shown - decoded) * base > _LATEST:
                shown = decoded
            # Parts may overlap, and muxers require that times increase.
            decoded = max(decoded + ticks, self._last.get(index, decoded + ticks - 1) + 1)
            self._last[index] = decoded
        if shown is not None:
            shown = shown + ticks if decoded is None else max(shown + ticks, decoded)
        packet.dts, packet.pts = decoded, shown
        packet.stream = self._output.streams[index]


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
        ffmpeg.open_source(one) as first,
        ffmpeg.open_source(other) as second,
    ):
        return _kinds(first) == _kinds(second)


def _kinds(container: InputContainer) -> list[tuple[str, str]]:
    return [(stream.type, getattr(stream, "name", "")) for stream in container.streams]
