"""Decide which streams of a video are copied besides its frames."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import Discard, Stream

from rgt_cli.media.formats import Container
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.metadata import MetadataPolicy, filter_tags, image_has_place, is_telemetry
from rgt_cli.media.video.probe import Video, is_cover

logger = logging.getLogger(__name__)

_TELEMETRY_SECONDS = 10
"""How far subtitles are searched for telemetry, which starts with the video and changes every second."""
_FONT_TYPES = ("font/", "application/x-truetype-font", "application/x-font", "application/font",
               "application/vnd.ms-opentype")  # fmt: skip
"""How the MIME types of fonts begin, which subtitles need."""


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """Which streams of a video are copied besides its frames, and with which metadata."""

    policy: MetadataPolicy
    copied: tuple[int, ...]
    """Indices of the streams."""
    unsupported: tuple[str, ...]
    """Descriptions of the streams that the container does not support."""
    withheld: tuple[str, ...]
    """Descriptions of the streams that are left out because they may contain a location."""


def plan_streams(video: Video, container: Container, policy: MetadataPolicy) -> StreamPlan:
    """Decide which streams of a video are copied to a container."""
    copied, unsupported, withheld = list[int](), list[str](), list[str]()
    with open_source(video) as source:
        private = set(_private_streams(video, source, policy))
        for index in video.others:
            stream = source.streams[index]
            if index in private:
                logger.info("%s: %s is left out (%s)", video.path, _describe(stream), policy.value)
                withheld.append(_describe(stream))
            elif _is_rebuilt(stream):
                continue
            elif _is_supported(stream, container):
                copied.append(index)
            else:
                unsupported.append(_describe(stream))
    return StreamPlan(
        policy=policy,
        copied=tuple(copied),
        unsupported=tuple(unsupported),
        withheld=tuple(withheld) if policy is MetadataPolicy.STRIP_GPS else (),
    )


def open_source(video: Video) -> InputContainer:
    """Open the file of a video."""
    return av.open(ffmpeg.url(video.path), options=ffmpeg.source_options())


def add_copy(stream: Stream, output: OutputContainer, policy: MetadataPolicy) -> Stream:
    """Add a stream to an output that packets of `stream` can be copied to."""
    copy = output.add_stream_from_template(stream, opaque=True)
    if stream.type != "attachment" and stream.time_base:
        copy.time_base = stream.time_base
    describe_copy(copy, stream, policy)
    return copy


def describe_copy(copy: Stream, stream: Stream, policy: MetadataPolicy) -> None:
    """Copy the tags and the disposition of a stream."""
    copy.metadata.update(filter_tags(stream.metadata, policy))
    copy.disposition = stream.disposition


def read_cover(video: Video, index: int) -> bytes:
    """Return the image file of a stream of cover art, or nothing if it is damaged."""
    with open_source(video) as source, suppress(av.FFmpegError):
        for packet in source.demux(source.streams[index]):
            if packet.size:
                return bytes(packet)
    return b""


def packet_time(packet: av.Packet[Any]) -> Fraction | None:
    """Return when a packet is decoded, or else shown, in seconds; None if it has no timestamp."""
    time = packet.pts if packet.dts is None else packet.dts
    return None if time is None else time * packet_base(packet)


def packet_base(packet: av.Packet[Any]) -> Fraction:
    """Return the seconds a tick of a packet's timestamps."""
    return packet.time_base or Fraction(1, av.time_base)


def _describe(stream: Stream) -> str:
    context = getattr(stream, "codec_context", None)
    codec = context.name if context else stream.metadata.get("mimetype") or stream.name
    return f"{stream.type} {stream.index} ({codec or 'unknown codec'})"


def _is_supported(stream: Stream, container: Container) -> bool:
    """Return whether the muxer of a container accepts a stream."""
    if is_cover(stream) and container.muxer in ("matroska", "mov"):
        return container.muxer == "matroska"  # as an attachment; MOV drops it without an error
    try:
        with av.open(io.BytesIO(), "w", format=container.muxer) as trial:
            add_copy(stream, trial, MetadataPolicy.KEEP)
            trial.start_encoding()
    except (av.FFmpegError, ValueError, OSError, NotImplementedError, RuntimeError, TypeError):
        return False
    return True


def _is_rebuilt(stream: Stream) -> bool:
    """Return whether a stream is a timecode or chapter track of MOV, which its muxer writes itself."""
    return stream.type == "data" and ("timecode" in stream.metadata or stream.discard == Discard.all)


def _private_streams(video: Video, source: InputContainer, policy: MetadataPolicy) -> Iterator[int]:
    """Yield the indices of the streams that a policy leaves out."""
    if policy is MetadataPolicy.KEEP:
        return
    yield from _telemetry_streams(video)
    for index in video.others:
        stream = source.streams[index]
        if (
            (stream.type == "data" and not _is_rebuilt(stream))
            or (stream.type == "attachment" and not _is_font(stream))
            or (
                is_cover(stream)
                and (policy is MetadataPolicy.STRIP or image_has_place(read_cover(video, index)))
            )
        ):
            yield index


def _is_font(stream: Stream) -> bool:
    return stream.metadata.get("mimetype", "").lower().startswith(_FONT_TYPES)


def _telemetry_streams(video: Video) -> set[int]:
    """Return the indices of the subtitles that contain coordinates, as drones write them."""
    found = set[int]()
    with open_source(video) as source, suppress(av.FFmpegError):
        if not source.streams.subtitles:
            return found
        for packet in source.demux():
            time = packet_time(packet)
            if time is not None and time > video.start * video.time_base + _TELEMETRY_SECONDS:
                break
            if packet.stream.type == "subtitle" and is_telemetry(bytes(packet)):
                found.add(packet.stream.index)
    return found
