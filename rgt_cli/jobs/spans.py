"""Which frames of a video are upscaled: the span that was asked for, and what becomes of fields."""

from __future__ import annotations

from fractions import Fraction

from rgt_cli.jobs.options import VideoOptions
from rgt_cli.media.video.fields import Deinterlacing
from rgt_cli.media.video.probe import Span, Video


def deinterlacing_of(options: VideoOptions) -> Deinterlacing:
    """Return what becomes of fields."""
    if options.inverse_telecine:
        return Deinterlacing.FILM
    if options.deinterlace:
        return Deinterlacing.FIELDS if options.fields else Deinterlacing.FRAMES
    return Deinterlacing.NONE


def span_of(video: Video, options: VideoOptions) -> Span:
    """Return the requested part of a video, whose times count from the start of its first stream."""

    def ticks(seconds: float | None) -> int | None:
        if seconds is None:
            return None
        return round((video.origin + Fraction(seconds)) / video.time_base)

    return Span(ticks(options.start), ticks(options.end))


def expected_frames(video: Video, options: VideoOptions) -> int | None:
    """Return the number of frames of the requested part; None if the video does not reveal it."""
    if video.frames is None or (options.start is None and options.end is None):
        return video.frames
    seconds = video.frames / video.rate
    length = min(options.end or seconds, seconds) - (options.start or 0)
    return max(0, round(length * video.rate))
