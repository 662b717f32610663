"""Look at several places of a video, where its header and its first frames do not reveal enough."""

from __future__ import annotations

import logging
from contextlib import suppress

import av
from av.container import InputContainer

from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.probe import Video, first_frames

logger = logging.getLogger(__name__)

_PLACES = 8
"""Number of places, spread evenly over the video."""
_UNTIMED_FRAMES = 250
"""Number of frames at the start that are checked if a video has no duration."""
_PROGRESSIVE = ("vp8", "vp9", "av1", "libdav1d", "hevc", "gif", "apng", "png", "webp", "theora")
"""Decoders of codecs that have no fields, or no frames with two of them."""


def is_interlaced(video: Video) -> bool:
    """Return whether frames anywhere in a video are interlaced, as far as samples show."""
    if video.is_interlaced or video.codec in _PROGRESSIVE:
        return video.is_interlaced
    with ffmpeg.open_source(video.path) as container:
        stream = container.streams.video[0]
        stream = next((s for s in container.streams.video if s.index == video.index), stream)
        if not container.duration:
            frames = first_frames(container, stream, _UNTIMED_FRAMES)
            return any(frame.interlaced_frame for frame in frames)
        return any(_is_interlaced_at(container, stream, place) for place in range(_PLACES))


def _is_interlaced_at(container: InputContainer, stream: av.VideoStream, place: int) -> bool:
    duration, start = container.duration or 0, container.start_time or 0
    with suppress(av.FFmpegError):  # some places cannot be reached
        container.seek(start + round(duration * (place + 0.5) / _PLACES))
        return any(frame.interlaced_frame for frame in first_frames(container, stream))
    return False


def count_frames(video: Video) -> int:
    """Return the number of frames of a video whose header does not reveal it."""
    with ffmpeg.open_source(video.path) as container:
        packets = container.demux(container.streams[video.index])
        count = 0
        with suppress(av.FFmpegError):  # damage is reported when the frames are read
            for packet in packets:
                count += bool(packet.size)
        return count
