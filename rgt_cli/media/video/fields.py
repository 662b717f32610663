"""Build whole frames from the fields of an interlaced or telecined video."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from fractions import Fraction

from rgt_cli.media.video.probe import Video


class Deinterlacing(Enum):
    """What becomes of the fields of a video."""

    NONE = "none"
    """Frames are read as they are stored."""
    FRAMES = "frames"
    """Two fields become one frame."""
    FIELDS = "fields"
    """Each field becomes a frame, so that the motion of 50 fields per second is preserved."""
    FILM = "film"
    """The frames of a film of 24 frames per second are restored from a telecined video of 30."""


_FILTERS = {
    Deinterlacing.NONE: (),
    Deinterlacing.FRAMES: ("bwdif=mode=send_frame:deint=interlaced",),
    Deinterlacing.FIELDS: ("bwdif=mode=send_field:deint=interlaced",),
    # Frames that no match of fields makes whole are marked as interlaced.
    Deinterlacing.FILM: (
        "fieldmatch=combmatch=full",
        "bwdif=mode=send_frame:deint=interlaced",
        "setpts=PTS-STARTPTS",  # or the start is rounded to a whole number of frames
        "decimate",
    ),
}
_RATES = {Deinterlacing.FIELDS: Fraction(2), Deinterlacing.FILM: Fraction(4, 5)}
"""By how much the number of frames changes."""


def filters(video: Video) -> list[str]:
    """Return the filters of ffmpeg that build whole frames."""
    return list(_FILTERS[Deinterlacing(video.deinterlacing)])


def lag(video: Video) -> int:
    """Return how much earlier ffmpeg shows frames than the video does, in ticks; negative if later."""
    return video.first if video.deinterlacing == Deinterlacing.FILM.value else -video.delay


def deinterlaced(video: Video, mode: Deinterlacing) -> Video:
    """Return the description of a video whose fields are treated in some way.

    Its `rate`, `frames` and `time_base` are those of the frames that are built.
    """
    factor = _RATES.get(mode, Fraction(1))
    ticks = 2 if mode is Deinterlacing.FIELDS else 1  # a field may be shown between two ticks
    return replace(
        video,
        deinterlacing=mode.value,
        rate=video.rate * factor,
        frames=None if video.frames is None else round(video.frames * factor),
        time_base=video.time_base / ticks,
        start=video.start * ticks,
        first=video.first * ticks,
        delay=video.delay * ticks,
    )
