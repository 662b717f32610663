"""The segments of a film and everything else of its source, into one file."""

from __future__ import annotations

import io
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer, OutputContainer

from rgt_cli.errors import OutputError
from rgt_cli.media.formats import Format
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.probe import Video
from rgt_cli.media.write import new_partial

if TYPE_CHECKING:
    from av.container.core import Chapter

_DERIVED = ("encoder", "duration", "bps", "number_of_", "_statistics", "rotate", "major_brand",
            "minor_version", "compatible_brands", "vendor_id")  # fmt: skip
"""Tags that a muxer writes itself, or that hold no longer; how they begin, in lower case."""


@dataclass(frozen=True)
class Segment:
    """One segment of a film that is encoded."""

    path: Path
    times: tuple[int, ...]
    """When its frames are shown, in ticks of the source's time base."""


def unsupported_streams(video: Video, target: Format) -> tuple[str, ...]:
    """Which other streams of a film its new container cannot hold."""
    lost = []
    with _source(video) as source:
        for index in video.others:
            stream = source.streams[index]
            if not _fits(stream, target) and not _is_timecode(stream):
                lost.append(f"{stream.type} {stream.index} ({_codec(stream)})")
    return tuple(lost)


def _codec(stream: av.stream.Stream) -> str:
    context = getattr(stream, "codec_context", None)
    return context.name if context else stream.metadata.get("mimetype", "no known codec")


def _fits(stream: av.stream.Stream, target: Format) -> bool:
    """Whether a container takes a stream: its muxer is asked."""
    if _is_timecode(stream):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=target.muxer) as trial:
            _copy_of(stream, trial)
            trial.start_encoding()
    except (av.FFmpegError, ValueError, OSError, NotImplementedError, RuntimeError, TypeError):
        return False
    return True


def _is_timecode(stream: av.stream.Stream) -> bool:
    """Whether it is the track of a MOV that is made anew of a tag, which goes along."""
    return stream.type == "data" and "timecode" in stream.metadata


def _source(video: Video) -> InputContainer:
    return av.open(ffmpeg.url(video.path), options=ffmpeg.source_options())


def _copy_of(stream: av.stream.Stream, output: OutputContainer) -> av.stream.Stream:
    copy = output.add_stream_from_template(stream, opaque=True)
    if stream.type != "attachment" and stream.time_base:
        copy.time_base = stream.time_base
    _tag(copy, stream)
    return copy


def _tag(copy: av.stream.Stream, stream: av.stream.Stream) -> None:
    copy.metadata.update(_kept(stream.metadata))
    copy.disposition = stream.disposition


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if not k.lower().startswith(_DERIVED)}


def assemble(
    video: Video,
    segments: list[Segment],
    target: Path,
    target_format: Format,
    span: tuple[int | None, int | None] = (None, None),
) -> None:
    """Write the film: the frames of the segments, at the times of the source's, and its other streams.

    Args:
        target: replaced if it is there, at the very end.
        span: from when until when, in ticks of the film's time base; what lies outside is left out,
            and the rest begins at zero.

    Raises:
        OutputError: it cannot be written.
    """
    partial = new_partial(target.parent)
    try:
        with _source(video) as source:
            options = {"movflags": "use_metadata_tags"} if _has_own_tags(source) else {}
            with av.open(
                ffmpeg.url(partial), "w", format=target_format.muxer, container_options=options
            ) as output:
                _write(video, segments, source, output, target_format, span)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{target}: cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _has_own_tags(source: InputContainer) -> bool:
    """Whether there are tags, of phones, that MP4 and MOV keep only if they are asked to."""
    return any(key.startswith("com.") for key in source.metadata)


def _write(
    video: Video,
    segments: list[Segment],
    source: InputContainer,
    output: OutputContainer,
    target: Format,
    span: tuple[int | None, int | None],
) -> None:
    begin = (span[0] or 0) * video.time_base
    until = None if span[1] is None else span[1] * video.time_base
    with av.open(ffmpeg.url(segments[0].path)) as first:
        film = output.add_stream_from_template(first.streams.video[0], opaque=True)
    film.time_base = video.time_base
    film.codec_context.framerate = video.rate  # without which MOV cannot make its timecode track
    if target.muxer in ("mp4", "mov") and film.codec_context.name == "hevc":
        film.codec_context.codec_tag = "hvc1"
    _tag(film, source.streams[video.index])
    copies = {}
    for index in video.others:
        if _fits(source.streams[index], target):
            copies[index] = _copy_of(source.streams[index], output)
    output.metadata.update(_kept(source.metadata))
    if target.muxer != "gif":
        output.set_chapters(_chapters(source, begin, until))
    output.start_encoding()
    frames = _video_packets(video, segments, film, begin)
    waiting = next(frames, None)
    wanted = [source.streams[index] for index in copies if source.streams[index].type != "attachment"]
    for packet in _packets(source, wanted):
        now = _seconds(packet)
        if now is None or (span[0] is not None and now < begin) or (until is not None and now >= until):
            continue
        _shift(packet, begin)
        while waiting is not None and (_seconds(waiting) or 0) <= now - begin:
            output.mux(waiting)
            waiting = next(frames, None)
        packet.stream = copies[packet.stream.index]
        output.mux(packet)
    while waiting is not None:
        output.mux(waiting)
        waiting = next(frames, None)


def _packets(source: InputContainer, wanted: list[av.stream.Stream]) -> Iterator[av.Packet]:
    """The packets of the other streams, as far as the source can be read."""
    if not wanted:
        return
    with suppress(av.FFmpegError):  # that it is damaged was told when its frames were read
        for packet in source.demux(wanted):
            if packet.size:
                yield packet


def _seconds(packet: av.Packet) -> Fraction | None:
    """When a packet is to be decoded, or shown where it does not say."""
    time = packet.pts if packet.dts is None else packet.dts
    return None if time is None else time * _base(packet)


def _shift(packet: av.Packet, begin: Fraction) -> None:
    """Let `begin` be zero."""
    shift = round(begin / _base(packet))
    packet.pts = None if packet.pts is None else packet.pts - shift
    packet.dts = None if packet.dts is None else packet.dts - shift


def _base(packet: av.Packet) -> Fraction:
    return packet.time_base or Fraction(1, av.time_base)


def _chapters(source: InputContainer, begin: Fraction, until: Fraction | None) -> list[Chapter]:
    """The chapters that are left of a span of the film."""
    chapters = []
    for chapter in source.chapters():
        base = Fraction(chapter["time_base"] or 1)
        start, end = chapter["start"] * base, chapter["end"] * base
        if end < begin or (until is not None and start >= until):
            continue
        kept = chapter.copy()
        kept["start"] = int((max(start, begin) - begin) / base)
        kept["end"] = int(((end if until is None else min(end, until)) - begin) / base)
        chapters.append(kept)
    return chapters


def _video_packets(
    video: Video, segments: list[Segment], stream: av.VideoStream, begin: Fraction
) -> Iterator[av.Packet]:
    """The packets of all segments, with the timestamps of the source's frames.

    A packet is decoded when the frame is shown that stands as many places before it as frames are
    held back for reordering.
    """
    orders = [_order(segment) for segment in segments]
    held_back = max((at - rank for order in orders for at, rank in enumerate(order)), default=0)
    shift = round(begin / video.time_base)
    shown = [time - shift for segment in segments for time in segment.times]
    for at in range(1, len(shown)):  # containers want no two in one tick
        shown[at] = max(shown[at], shown[at - 1] + 1)
    step = round(1 / (video.rate * video.time_base)) or 1
    first, at = 0, 0
    for segment, order in zip(segments, orders, strict=True):
        with av.open(ffmpeg.url(segment.path)) as container:
            packets = (packet for packet in container.demux(video=0) if packet.size)
            for packet, rank in zip(packets, order, strict=True):
                place = first + rank
                end = shown[place + 1] if place + 1 < len(shown) else shown[place] + step
                packet.stream = stream
                packet.time_base = video.time_base
                packet.pts, packet.duration = shown[place], end - shown[place]
                early = at - held_back
                packet.dts = shown[early] if early >= 0 else shown[0] + early * step
                yield packet
                at += 1
        first += len(segment.times)


def _order(segment: Segment) -> list[int]:
    """The rank, by the time it is shown, of each packet of a segment."""
    with av.open(ffmpeg.url(segment.path)) as container:
        times = [packet.pts or 0 for packet in container.demux(video=0) if packet.size]
    if len(times) != len(segment.times):
        raise OutputError(f"{segment.path}: holds {len(times)} frames, not {len(segment.times)}")
    ranked = sorted(times)
    return [bisect_left(ranked, time) for time in times]
