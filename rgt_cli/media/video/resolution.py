"""Find out whether and when the frames of a video change their size, as captures of broadcasts do."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import av
from av.container import InputContainer

from rgt_cli.errors import InputError
from rgt_cli.media.video.animation import DEMUXER
from rgt_cli.media.video.probe import Span, Video, first_frames
from rgt_cli.media.video.streams import open_source
from rgt_cli.size import Dimensions

_PLACES = 200
"""Number of places, at most one a second, at which the size is compared."""
_MARGINS = (10, 60, 10**6)
"""Seconds before a time at which decoding starts, so that no frame is missed."""
_UNCHANGING = (DEMUXER, "gif", "apng")
"""Formats in which all frames have one size."""


class FrameSizeError(InputError):
    """The frames of a video change their size, which one output cannot represent."""

    time = Fraction(0)
    """When the first frame of the other size is shown, in seconds."""

    @classmethod
    def at(cls, time: Fraction, video: Video, other: Dimensions) -> FrameSizeError:
        """Return the error for a video whose frames have another size from a time in seconds on."""
        milliseconds = math.floor((time - video.origin) * 1000)  # so that --end excludes the frame
        option = f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")
        error = cls(
            f"{video.name}: the frames change from {video.size} to {other} at {option} s: upscale the "
            f"parts by themselves, with --end {option} and --start {option}"
        )
        error.time = time
        return error


def check_size(video: Video, span: Span) -> Video:
    """Return a video with the size that its frames have in a part of it.

    Samples are compared, so that a change may be missed that lasts for less than a second, or for less
    than half a percent of a long part.

    Raises:
        FrameSizeError: The size changes within the part.
    """
    if video.demuxer in _UNCHANGING:
        return video
    with open_source(video) as container:
        start, end = (None if time is None else time * video.time_base for time in span)
        sampler = _Sampler(container, video)
        if not container.duration or not sampler.size:
            return video
        if start is not None:
            video = sampler.begin(start)
        first = video.start * video.time_base if start is None else start
        last = first + Fraction(container.duration, av.time_base) if end is None else end
        count = max(1, min(_PLACES, int(last - first)))
        before = first
        for number in range(count):
            place = first + (last - first) * (2 * number + 1) / (2 * count)
            if sampler.has_changed(place):
                for frame in sampler.frames(before - _MARGINS[0]):
                    if frame.size != sampler.size and first <= frame.time < last:
                        raise FrameSizeError.at(frame.time, video, frame.size)
            before = place
    return video


class _Frame(NamedTuple):
    time: Fraction
    """Seconds."""
    size: Dimensions


class _Sampler:
    """Compares the sizes of frames at places of a video."""

    def __init__(self, container: InputContainer, video: Video) -> None:
        self._container, self._video = container, video
        streams = container.streams.video
        self._stream = next((s for s in streams if s.index == video.index), streams[0])
        first = next(first_frames(container, self._stream, 1), None)
        self.size = _size_of(first) if first else None
        """The size of the frames, without the cropping of the container."""

    def begin(self, start: Fraction) -> Video:
        """Compare with the frame at a time in seconds from now on; return the video with its size."""
        for margin in _MARGINS:
            is_late = True
            for frame in self.frames(start - margin):
                if frame.time >= start:
                    break
                is_late = False
            else:
                return self._video
            if not is_late:
                break
        if frame.size == self.size:
            return self._video
        self.size = frame.size
        return replace(self._video, size=frame.size)

    def has_changed(self, place: Fraction) -> bool:
        """Return whether a keyframe near a time in seconds has another size."""
        context = self._stream.codec_context
        context.skip_frame = "NONKEY"  # some formats find no keyframe at once
        frame = next(self.frames(place), None)
        context.skip_frame = "DEFAULT"
        return frame is not None and frame.size != self.size

    def frames(self, place: Fraction) -> Iterator[_Frame]:
        """Yield the frames from a keyframe near a time in seconds; some formats find none before it."""
        earliest = Fraction(self._container.start_time or 0, av.time_base)
        with suppress(av.FFmpegError, ValueError):  # some places cannot be reached
            self._container.seek(int(max(place, earliest) * av.time_base))
            for frame in first_frames(self._container, self._stream, sys.maxsize):
                if frame.pts is not None and frame.time_base:
                    yield _Frame(frame.pts * frame.time_base, _size_of(frame))


def _size_of(frame: av.VideoFrame) -> Dimensions:
    """Return the size of a frame as it is shown."""
    is_upright = frame.rotation % 180 == 0
    return Dimensions(*(frame.width, frame.height)[:: 1 if is_upright else -1])
