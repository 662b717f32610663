"""Find out where the output of a video starts on the timeline of its input, and when it ends."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import av
from av.container import InputContainer

from rgt_cli.media.video.probe import Span, Video, is_cover

_PRIMING = Fraction(1, 2)
"""The most seconds of sound before zero that only prepare its decoder and are never heard."""


def origin_of(video: Video, source: InputContainer) -> Fraction:
    """Return the time at which the earliest stream of a video starts, in seconds."""
    starts = [
        stream.start_time * stream.time_base
        for stream in source.streams
        if stream.type in ("video", "audio") and not is_cover(stream)
        and stream.start_time is not None and stream.time_base
    ]  # fmt: skip
    origin = min([video.start * video.time_base, *starts])
    origin = Fraction(getattr(video, "origin", origin))
    return Fraction(0) if -_PRIMING < origin < 0 else origin


def shift_of(video: Video, span: Span, source: InputContainer) -> int:
    """Return how much earlier everything is in the output, in ticks of the video's time base."""
    return round(origin_of(video, source) / video.time_base) if span.start is None else span.start


def last_duration(video: Video, last: int, span: Span, source: InputContainer) -> Fraction:
    """Return for how many seconds the last frame is shown, which starts at `last` ticks."""
    stream, base = source.streams[video.index], video.time_base
    end = getattr(video, "end", None)
    found = _packet_duration(video, last, source) if end is None else end - last
    if found is None and stream.duration:
        found = (stream.start_time or 0) + stream.duration - last
    if found is None:
        ends = [stream.metadata[key] for key in stream.metadata if key.upper().startswith("DURATION")]
        if ends and (seconds := _seconds(ends[0])) is not None:
            found = round(seconds / base) - last
        elif not video.others and source.duration:
            found = (
                round(Fraction((source.start_time or 0) + source.duration, av.time_base) / base) - last
            )
    if found is None or found <= 0:
        found = round(1 / (video.rate * base)) or 1
    return (found if span.end is None else min(found, max(1, span.end - last))) * base


def _packet_duration(video: Video, last: int, source: InputContainer) -> int | None:
    """Return the duration of the packet at `last` ticks, or None if the container does not store it."""
    stream, found = source.streams[video.index], None
    if source.format.name.startswith("matroska"):
        return None  # there, the durations of packets are derived from the rate
    with suppress(av.FFmpegError):
        source.seek(last, stream=stream)
        for packet in source.demux(stream):
            if packet.pts == last and packet.duration:
                found = int(packet.duration)
            if packet.pts == last or (packet.dts is not None and packet.dts > last):
                break
    return found


def _seconds(text: str) -> Fraction | None:
    """Return the seconds of a time such as 00:01:02.500000000."""
    with suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    return None
