"""Find out where the output of a video starts on the timeline of its input, and when it ends."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import av
from av.container import InputContainer

from rgt_cli.media.video.probe import Span, Video

_STATISTICS = "_STATISTICS_WRITING_APP"
"""A tag of files by mkvmerge, which state how long a stream is; those by ffmpeg, when it ends."""


def shift_of(video: Video, span: Span) -> int:
    """Return how much earlier everything is in the output, in ticks of the video's time base."""
    return round(video.origin / video.time_base) if span.start is None else span.start


def last_duration(video: Video, last: int, span: Span, source: InputContainer | None) -> Fraction:
    """Return for how many seconds the last frame is shown.

    Args:
        video: The input. Its `end` is set if its frames were read.
        last: When the last frame is shown, in ticks.
        span: The part of the input that is shown.
        source: The opened input; None if what it states about its length is wrong.
    """
    step = round(1 / (video.rate * video.time_base)) or 1
    end = _end_in_matroska(video, source) if source else None
    if end is None or end <= last:
        end = video.end
    if end is None or end <= last:
        end = last + step
    if span.end is not None:
        end = max(last + 1, min(end, span.end))
    return (end - last) * video.time_base


def _end_in_matroska(video: Video, source: InputContainer) -> int | None:
    """Return when a video in Matroska ends, in ticks; None if that is not known.

    Matroska does not store the durations of frames, but that of the file, and often that of the stream.
    """
    if not source.format.name.startswith("matroska"):
        return None
    seconds: Fraction | None = None
    tags = source.streams[video.index].metadata
    for key, value in tags.items():
        if key.upper().startswith("DURATION"):
            with suppress(ValueError):
                hours, minutes, rest = value.split(":")
                seconds = int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)
    if seconds is not None and _STATISTICS in tags:
        seconds += video.start * video.time_base
    if seconds is None and not video.others and source.duration:
        seconds = Fraction((source.start_time or 0) + source.duration, av.time_base)
    return None if seconds is None else round(seconds / video.time_base)
