"""Find out what a video is before any frame is upscaled."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type

from rgt_cli.errors import InputError
from rgt_cli.media.video import ffmpeg
from rgt_cli.size import Dimensions

_PROBE_FRAMES = 5
"""Number of frames that are checked for interlacing."""
_DEFAULT_RATE = 25
"""Frames a second of a video that does not specify its rate."""
UNSPECIFIED = 2
"""The code of unspecified primaries, transfer or matrix in ITU-T H.273."""
BT709, SMPTE170M = 1, 6
"""Codes of two matrices in ITU-T H.273."""
_HD_HEIGHT = 720
"""Height in pixels from which players assume the matrix of BT.709."""


@dataclass(frozen=True, kw_only=True)
class Color:
    """The color space of a video, in the codes of ITU-T H.273."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool | None = None
    """True for 0..255, False for 16..235, None if unspecified."""
    chroma_location: str | None = None
    """Position of chroma samples among luma samples, as ffmpeg names it: left, center, topleft..."""
    mastering_display: str | None = None
    """SMPTE ST 2086 in the notation of x265: G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)."""
    content_light: str | None = None
    """CTA-861.3, MaxCLL and MaxFALL in cd/m2: "1000,400"."""

    def matrix_at(self, height: int) -> int:
        """Return the matrix, or if it is unspecified, the one that players assume at this height."""
        if self.matrix != UNSPECIFIED:
            return self.matrix
        return BT709 if height >= _HD_HEIGHT else SMPTE170M


class Span(NamedTuple):
    """A part of a video."""

    start: int | None = None
    """Time of its first frame, in ticks of the video's time base; None for the start of the video."""
    end: int | None = None
    """Time of the first frame after it, in ticks; None for the end of the video."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """The properties of a video file."""

    path: Path
    index: int
    """Index of the stream with the frames among all streams of the file."""
    codec: str
    """Name of the decoder."""
    size: Dimensions
    """Size of the frames as shown: the rotation of the file is applied."""
    pixel_format: str
    """Pixel format, as ffmpeg names it."""
    bits: int
    """Bits a channel."""
    has_alpha: bool
    color: Color
    sample_aspect: Fraction
    """Width of a pixel divided by its height, as shown."""
    time_base: Fraction
    """Seconds a tick of the timestamps."""
    start: int
    """Timestamp of the start, in ticks."""
    rate: Fraction
    """Average number of frames a second."""
    frames: int | None
    """Number of frames; None if the file does not reveal it."""
    is_interlaced: bool
    others: tuple[int, ...]
    """Indices of all other streams: audio, subtitles, attachments, data."""


def probe(path: Path) -> Video:
    """Return the properties of a video file. The video is its largest video stream without cover art.

    Raises:
        InputError: The file is not a video, or its frames cannot be decoded.
    """
    try:
        with av.open(ffmpeg.url(path), options=ffmpeg.source_options()) as container:
            streams = [s for s in container.streams.video if not is_cover(s)]
            if not streams:
                raise InputError(f"{path}: there is no video in it, only {_stream_types(container)}")
            streams = [s for s in streams if s.codec_context]
            if not streams:
                raise InputError(f"{path}: the codec of the video is unknown")
            stream = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
            return _describe(path, container, stream)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read as a video: {reason}") from error


def is_cover(stream: av.stream.Stream) -> bool:
    """Return whether a stream is cover art."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _stream_types(container: InputContainer) -> str:
    return ", ".join(sorted({str(stream.type) for stream in container.streams})) or "nothing"


def _describe(path: Path, container: InputContainer, stream: av.VideoStream) -> Video:
    context = stream.codec_context
    # The alpha of VP8 and VP9 is a stream within the stream, which only this tag reveals.
    hidden_alpha = ("alpha_mode", "1") in ((key.lower(), tag) for key, tag in stream.metadata.items())
    length = container.duration / av.time_base if container.duration else 0.0
    rate = Fraction(stream.average_rate or stream.guessed_rate or _DEFAULT_RATE)
    frames = list(islice(container.decode(stream), _PROBE_FRAMES))
    if not frames:
        raise InputError(f"{path}: no frame can be decoded")
    first = frames[0]
    layout = av.VideoFormat(first.format.name)
    # Transparency in a GIF marks pixels that do not change; the decoder has combined its frames already.
    shows_alpha = context.name != "gif" and any(part.is_alpha for part in layout.components)
    is_upright = first.rotation % 180 == 0
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    return Video(
        path=path,
        index=stream.index,
        codec=context.name,
        size=Dimensions(*(first.width, first.height)[:: 1 if is_upright else -1]),
        pixel_format=layout.name,
        bits=8 if layout.has_palette else max(part.bits for part in layout.components),
        has_alpha=hidden_alpha or shows_alpha,
        color=_color(path, stream, first),
        sample_aspect=aspect if is_upright else 1 / aspect,
        time_base=Fraction(stream.time_base or Fraction(1, 1000)),
        start=stream.start_time if stream.start_time is not None else first.pts or 0,
        rate=rate,
        frames=stream.frames or (round(length * rate) or None),
        is_interlaced=any(frame.interlaced_frame for frame in frames),
        others=tuple(s.index for s in container.streams if s.index != stream.index),
    )


def _color(path: Path, stream: av.VideoStream, frame: av.VideoFrame) -> Color:
    context = stream.codec_context
    side_data = cast(Mapping[Type, SideData], frame.side_data)
    mastering = side_data.get(Type.MASTERING_DISPLAY_METADATA)
    light = side_data.get(Type.CONTENT_LIGHT_LEVEL)
    is_full = {1: False, 2: True}
    if frame.format.name.startswith("yuvj"):
        is_full[0] = True
    return Color(
        primaries=int(frame.color_primaries or context.color_primaries or UNSPECIFIED),
        transfer=int(frame.color_trc or context.color_trc or UNSPECIFIED),
        matrix=int(frame.colorspace or UNSPECIFIED),
        full_range=is_full.get(int(frame.color_range)),
        chroma_location=_chroma_location(path, stream.index),
        mastering_display=_mastering_display(bytes(mastering)) if mastering else None,
        content_light="{},{}".format(*struct.unpack_from("II", bytes(light))) if light else None,
    )


def _chroma_location(path: Path, index: int) -> str | None:
    """Return the chroma location from ffmpeg's description of the stream; PyAV does not expose it."""
    _, _, stderr = ffmpeg.run(["-v", "verbose", *ffmpeg.source_arguments(path)])
    line = re.search(rf"Stream #0:{index}\b.*Video: (.*)", stderr)
    found = (
        re.search(r"\([^()]*\b(left|center|topleft|top|bottomleft|bottom)\)", line[1]) if line else None
    )
    return found[1] if found else None


def _mastering_display(data: bytes) -> str | None:
    """Return an AVMasteringDisplayMetadata as x265 writes it, in units of 1/50000 and 1/10000 cd/m2."""
    numbers = struct.unpack_from("20i2i", data)
    values = [n / d if d else 0.0 for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True)]
    if not all(numbers[20:22]):
        return None
    red, green, blue, white = (
        ",".join(str(round(v * 50000)) for v in values[i : i + 2]) for i in (0, 2, 4, 6)
    )
    darkest, brightest = (round(v * 10000) for v in values[8:10])
    return f"G({green})B({blue})R({red})WP({white})L({brightest},{darkest})"
