"""Join the segments of a video and everything else of its input into one file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from rgt_cli.errors import OutputError
from rgt_cli.files import atomic_path, cannot_write
from rgt_cli.media.formats import Container
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.metadata import MetadataPolicy, filter_tags
from rgt_cli.media.video.probe import Span, Video, is_cover
from rgt_cli.media.video.streams import (
    StreamPlan,
    add_copy,
    describe_copy,
    open_source,
    packet_base,
    packet_time,
    read_cover,
)

if TYPE_CHECKING:
    from av.container.core import Chapter

    Packet = av.Packet[Any]


@dataclass(frozen=True)
class Segment:
    """One encoded segment of a video."""

    path: Path
    times: tuple[int, ...]
    """When its frames are shown, in ticks of the input's time base."""


def assemble(
    video: Video,
    segments: Sequence[Segment],
    target: Path,
    container: Container,
    streams: StreamPlan,
    span: Span = Span(),  # noqa: B008 - immutable
) -> None:
    """Write the output: the frames of all segments, at the times of the input, and its other streams.

    Args:
        video: The input.
        segments: All segments, in order.
        target: The output; it is replaced once the new one is complete.
        container: The format of the output.
        streams: The streams of the input that are copied.
        span: The part of the input that is copied. It starts at zero in the output.

    Raises:
        OutputError: The output cannot be written.
    """
    try:
        with atomic_path(target) as partial, open_source(video) as source:
            tags = filter_tags(source.metadata, streams.policy)
            # MP4 and MOV drop the tags of phones unless they are asked to write them.
            has_own_tags = any(key.startswith("com.") for key in tags)
            options = {"movflags": "use_metadata_tags"} if has_own_tags else {}
            with av.open(
                ffmpeg.url(partial), "w", format=container.muxer, container_options=options
            ) as output:
                output.metadata.update(tags)
                _Muxer(video, source, output, span).write(segments, container, streams)
    except av.FFmpegError as error:
        raise cannot_write(target, error) from error


class _Muxer:
    """Copies packets from an input and its segments to an output."""

    def __init__(
        self, video: Video, source: InputContainer, output: OutputContainer, span: Span
    ) -> None:
        self._video, self._source, self._output = video, source, output
        self._begin: Fraction | None = None if span.start is None else span.start * video.time_base
        self._end: Fraction | None = None if span.end is None else span.end * video.time_base
        self._shift = self._begin or Fraction(0)
        """Seconds by which everything is earlier in the output."""

    def write(self, segments: Sequence[Segment], container: Container, streams: StreamPlan) -> None:
        stream = self._add_video(segments[0], container, streams.policy)
        copies = dict[int, Stream]()
        for index in streams.copied:
            original = self._source.streams[index]
            if is_cover(original) and container.muxer == "matroska":
                self._attach(original)  # as a stream, it would become a second video
            else:
                copies[index] = add_copy(original, self._output, streams.policy)
        if container.muxer != "gif":
            self._output.set_chapters(self._chapters(streams.policy))
        self._output.start_encoding()
        frames = _video_packets(self._video, segments, stream, self._shift)
        waiting = next(frames, None)
        for packet in self._copied_packets(copies):
            now = packet_time(packet)
            while waiting is not None and now is not None and (packet_time(waiting) or 0) <= now:
                self._output.mux(waiting)
                waiting = next(frames, None)
            self._output.mux(packet)
        while waiting is not None:
            self._output.mux(waiting)
            waiting = next(frames, None)

    def _add_video(self, first: Segment, container: Container, policy: MetadataPolicy) -> av.VideoStream:
        with av.open(ffmpeg.url(first.path)) as encoded:
            template = encoded.streams.video[0]
            stream = self._output.add_stream_from_template(template, opaque=True)
            if "alpha_mode" in template.metadata:  # without it, players ignore the alpha of VP9
                stream.metadata["alpha_mode"] = template.metadata["alpha_mode"]
        stream.time_base = self._video.time_base
        stream.codec_context.framerate = self._video.rate  # MOV needs it to write a timecode track
        if container.muxer in ("mp4", "mov") and stream.codec_context.name == "hevc":
            stream.codec_context.codec_tag = "hvc1"
        describe_copy(stream, self._source.streams[self._video.index], policy)
        return stream

    def _attach(self, cover: Stream) -> None:
        """Attach cover art as a file."""
        suffix = "png" if cover.name == "png" else "jpg"
        self._output.add_attachment(
            cover.metadata.get("filename", f"cover.{suffix}"),
            cover.metadata.get("mimetype", f"image/{suffix.replace('jpg', 'jpeg')}"),
            read_cover(self._video, cover.index),
        )

    def _copied_packets(self, copies: dict[int, Stream]) -> Iterator[Packet]:
        """Yield the packets of the copied streams within the span, as far as the input is readable."""
        wanted = [self._source.streams[index] for index in copies]
        wanted = [stream for stream in wanted if stream.type != "attachment"]
        if not wanted:
            return
        with suppress(av.FFmpegError):  # the damage was reported when the frames were read
            for packet in self._source.demux(wanted):
                if not packet.size or not self._move(packet):
                    continue
                packet.stream = copies[packet.stream.index]
                yield packet

    def _move(self, packet: Packet) -> bool:
        """Set the timestamps of a packet to those in the output; return whether it belongs there."""
        if is_cover(packet.stream):
            packet.pts = packet.dts = 0
            return True
        time = packet_time(packet)
        if time is None or (self._begin is not None and time < self._begin):
            return False
        shift = round(self._shift / packet_base(packet))
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return self._end is None or time < self._end

    def _chapters(self, policy: MetadataPolicy) -> list[Chapter]:
        """Return the chapters within the span."""
        chapters = []
        for chapter in self._source.chapters():
            base = Fraction(chapter["time_base"] or 1)
            start, end = chapter["start"] * base, chapter["end"] * base
            if end < self._shift or (self._end is not None and start >= self._end):
                continue
            copy = chapter.copy()
            copy["start"] = int((max(start, self._shift) - self._shift) / base)
            copy["end"] = int(((end if self._end is None else min(end, self._end)) - self._shift) / base)
            copy["metadata"] = filter_tags(chapter["metadata"], policy)
            chapters.append(copy)
        return chapters


def _video_packets(
    video: Video, segments: Sequence[Segment], stream: av.VideoStream, begin: Fraction
) -> Iterator[Packet]:
    """Yield the packets of all segments, with the timestamps of the input's frames.

    A packet is decoded when the frame is shown that comes n frames before it, where n is the number of
    frames by which the encoder delays its output to reorder them.
    """
    orders = [_display_order(segment) for segment in segments]
    held_back = max((at - rank for order in orders for at, rank in enumerate(order)), default=0)
    shift = round(begin / video.time_base)
    shown = [time - shift for segment in segments for time in segment.times]
    for at in range(1, len(shown)):  # containers require that no two frames share a tick
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


def _display_order(segment: Segment) -> list[int]:
    """Return for each packet of a segment its rank in the order in which the frames are shown.

    Raises:
        OutputError: The segment does not contain the expected number of frames.
    """
    with av.open(ffmpeg.url(segment.path)) as container:
        times = [packet.pts or 0 for packet in container.demux(video=0) if packet.size]
    if len(times) != len(segment.times):
        expected = len(segment.times)
        raise OutputError(
            f"{segment.path}: contains {len(times)} frames instead of {expected}: delete it"
        )
    ranked = sorted(times)
    return [bisect_left(ranked, time) for time in times]
