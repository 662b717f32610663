"""Find out where the output of a video starts on the timeline of its input, and when it ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from operator import sub

import av
from av.container import InputContainer

from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.probe import Span, Video, is_cover

_PRIMING = Fraction(1, 2)
"""The most seconds of sound before zero that only prepare its decoder and are never heard."""
_RECORDINGS = ("mpegts", "mpeg")
"""The formats whose clock may jump, because recordings can be put together as they are."""
_GAP, _OVERLAP = 10, Fraction(1, 10)
"""The seconds of a step forwards and of a step back that ffmpeg takes for a jump of the clock."""
_REORDERED = 32
"""The most packets by which frames are shown in another order than they are stored."""


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


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When everything of the input is shown in the output."""

    shown: list[int]
    """When each frame is shown, in ticks of the input's time base."""
    zero: Fraction
    """The time in the input, in seconds, that becomes zero."""
    has_jumps: bool
    """Whether the clock of the input jumps. Then ffmpeg closes the jumps, and `zero` counts from the
    start of the input."""


def timeline_of(
    video: Video, times: Sequence[int], span: Span, copied: Sequence[int], source: InputContainer
) -> Timeline:
    """Return when the frames are shown in the output.

    Args:
        video: The input.
        times: When the frames are shown in the input, in ticks.
        span: The part of the input that is copied.
        copied: The indices of the streams that are copied besides the frames.
        source: The opened input.
    """
    base = video.time_base
    steps = map(sub, times[1:], times)
    has_jumps = any(step * base < -_OVERLAP or step * base > _GAP for step in steps)
    if has_jumps and source.format.name in _RECORDINGS:
        moved = _closed_jumps(video, times, copied)
        zero = 0 if span.start is None else moved[0] - times[0] + span.start
        return Timeline(shown=[time - zero for time in moved], zero=zero * base, has_jumps=True)
    shift = round(origin_of(video, source) / base) if span.start is None else span.start
    return Timeline(shown=[time - shift for time in times], zero=shift * base, has_jumps=False)


def _closed_jumps(video: Video, times: Sequence[int], copied: Sequence[int]) -> list[int]:
    """Return when frames are shown after ffmpeg has closed the jumps of the clock, in ticks."""
    given, closed = (_packet_times(video, copied, mode) for mode in (["-copyts"], []))
    places: dict[int, list[int]] = {}
    for place, time in enumerate(given):
        places.setdefault(time, []).append(place)
    moved, at, offset = list[int](), 0, 0
    for time in times:
        # A recording may show the same time twice: the frames are in the order of the packets.
        later = places.get(time, [])
        index = bisect_left(later, at - _REORDERED)
        if index < len(later):
            at = max(at, later[index])
            offset = closed[later[index]] - time
        moved.append(time + offset)
    return moved


def _packet_times(video: Video, copied: Sequence[int], mode: Sequence[str]) -> list[int]:
    """Return when ffmpeg shows the packets of a video that it copies together with other streams."""
    maps = [part for index in (video.index, *copied) for part in ("-map", f"0:{index}")]
    source = ffmpeg.source_arguments(video.path)
    _, stdout, _ = ffmpeg.run(
        ["-v", "error", *mode, *source, *maps, "-copy_unknown", "-c", "copy", "-f", "framecrc", "-"]
    )
    packets = (line.split(",") for line in stdout.splitlines() if line.startswith("0,"))
    return [int(fields[2]) for fields in packets]


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
