"""Which frames of a video are upscaled, how fields are handled, and which segment has which frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rgt_cli.jobs.job import Job
from rgt_cli.jobs.numbered import is_numbered
from rgt_cli.jobs.options import VideoOptions
from rgt_cli.media.video.fields import Deinterlacing
from rgt_cli.media.video.probe import Span, Video


def deinterlacing_of(options: VideoOptions) -> Deinterlacing:
    """Return how fields are handled."""
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


def is_segmented(job: Job) -> bool:
    """Return whether the output of a video job is a video that is made of segments of a file."""
    return not job.images and not is_numbered(job.target)


@dataclass(frozen=True, kw_only=True)
class SegmentGrid:
    """Which segment each frame belongs to, by its time alone."""

    start: int
    """When the first segment starts, in ticks of the input."""
    length: int
    """Ticks that a segment lasts."""

    @classmethod
    def of(cls, video: Video, span: Span, seconds: float) -> SegmentGrid:
        """Return the grid for a part of a video, with segments of this length in seconds."""
        start = video.start if span.start is None else span.start
        return cls(start=start, length=max(1, round(seconds / video.time_base)))

    def count(self, video: Video, frames: int | None) -> int:
        """Return about how many segments a number of frames makes; the last one has all that follow."""
        ticks = (frames or 0) / (video.rate * video.time_base) if video.rate else 0
        return max(1, int(ticks) // self.length)

    def index(self, time: int) -> int:
        """Return the number of the segment with a frame that is shown at a time in ticks."""
        return max(0, (time - self.start) // self.length)

    def span(self, index: int) -> Span:
        """Return the part of the input in one segment; the first one has what comes before it too."""
        start = self.start + index * self.length
        return Span(start if index else None, start + self.length)
