"""What a film is, before any of it is computed."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.sidedata.sidedata import Type

from rgt_cli.errors import InputError
from rgt_cli.media.video import ffmpeg

_PROBE_FRAMES = 5
"""Frames that tell whether a film is interlaced."""
UNSPECIFIED = 2
"""In ITU-T H.273: primaries, transfer or matrix are not told."""
BT709, SMPTE170M = 1, 6
"""Two matrices of ITU-T H.273."""


@dataclass(frozen=True)
class Color:
    """How the numbers of a film mean colors; the numbers of ITU-T H.273."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool | None = None
    """0..255 rather than 16..235; None where it is not told."""
    chroma_location: str | None = None
    """Where chroma samples lie among those of luma: left, center, topleft..."""
    mastering_display: str | None = None
    """SMPTE ST 2086, as x265 writes it: G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)."""
    content_light: str | None = None
    """CTA-861.3, MaxCLL and MaxFALL in cd/m2: "1000,400"."""

    def matrix_at(self, height: int) -> int:
        """The matrix, or what players take it for at that height where it is not told."""
        if self.matrix != UNSPECIFIED:
            return self.matrix
        return BT709 if height >= 720 else SMPTE170M


@dataclass(frozen=True)
class Video:
    """A film: its pictures, and what is known of them."""

    path: Path
    index: int
    """Of the stream with the pictures among all streams of the file."""
    codec: str
    width: int
    """Pixels, as shown: the rotation of the file is applied."""
    height: int
    """Pixels, as shown."""
    pixel_format: str
    bits: int
    """Of a channel."""
    has_alpha: bool
    color: Color
    sample_aspect: Fraction
    """Width of a pixel over its height, as shown."""
    time_base: Fraction
    """Seconds of a tick of its timestamps."""
    start: int
    """The timestamp at which the film begins, in ticks."""
    rate: Fraction
    """Frames a second, on average."""
    frames: int | None
    """How many, as far as the file tells."""
    is_interlaced: bool
    others: tuple[int, ...]
    """The indices of its other streams: sound, subtitles, attachments, data."""


def probe(path: Path) -> Video:
    """Find out what a film is.

    Raises:
        InputError: it is no film, or its pictures cannot be decoded.
    """
    try:
        with av.open(ffmpeg.url(path), options=ffmpeg.source_options()) as container:
            streams = [s for s in container.streams.video if not _is_cover(s)]
            if not streams:
                raise InputError(f"{path}: has no pictures, only {_kinds(container)}")
            streams = [s for s in streams if s.codec_context]
            if not streams:
                raise InputError(f"{path}: its pictures are in a codec that is unknown here")
            stream = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
            return _described(path, container, stream)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read as a film: {reason}") from error


def _kinds(container: av.container.InputContainer) -> str:
    return ", ".join(sorted({str(stream.type) for stream in container.streams})) or "nothing"


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _described(path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> Video:
    context = stream.codec_context
    others = tuple(s.index for s in container.streams if s.index != stream.index)
    # The alpha of VP8 and VP9 is a stream within the stream, of which only the tag tells.
    hidden_alpha = stream.metadata.get("alpha_mode") == "1"
    length = container.duration / av.time_base if container.duration else 0.0
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    first = list(islice(container.decode(stream), _PROBE_FRAMES))
    if not first:
        raise InputError(f"{path}: none of its pictures can be decoded")
    layout = av.VideoFormat(first[0].format.name)
    # A GIF's transparency says what a frame leaves of the one before; its decoder has put them together.
    shows_alpha = context.name != "gif" and any(part.is_alpha for part in layout.components)
    upright = first[0].rotation % 180 == 0
    width, height = (first[0].width, first[0].height)[:: 1 if upright else -1]
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    start = stream.start_time if stream.start_time is not None else first[0].pts or 0
    return Video(
        path=path,
        index=stream.index,
        codec=context.name,
        width=width,
        height=height,
        pixel_format=layout.name,
        bits=8 if layout.has_palette else max(c.bits for c in layout.components),
        has_alpha=hidden_alpha or shows_alpha,
        color=_color(path, stream, first[0]),
        sample_aspect=aspect if upright else 1 / aspect,
        time_base=Fraction(stream.time_base or Fraction(1, 1000)),
        start=start,
        rate=rate,
        frames=stream.frames or (round(length * rate) or None),
        is_interlaced=any(frame.interlaced_frame for frame in first),
        others=others,
    )


def _color(path: Path, stream: av.VideoStream, frame: av.VideoFrame) -> Color:
    context = stream.codec_context
    sides = {side.type: bytes(side) for side in frame.side_data}  # type: ignore[attr-defined, arg-type]
    mastering, light = sides.get(Type.MASTERING_DISPLAY_METADATA), sides.get(Type.CONTENT_LIGHT_LEVEL)
    ranges = {1: False, 2: True}
    if frame.format.name.startswith("yuvj"):
        ranges[0] = True
    return Color(
        int(frame.color_primaries or context.color_primaries or UNSPECIFIED),
        int(frame.color_trc or context.color_trc or UNSPECIFIED),
        int(frame.colorspace or UNSPECIFIED),
        ranges.get(int(frame.color_range)),
        _chroma_location(path, stream.index),
        _mastering_display(mastering) if mastering else None,
        "{},{}".format(*struct.unpack_from("II", light)) if light else None,
    )


def _chroma_location(path: Path, index: int) -> str | None:
    """What PyAV does not tell, of the line in which ffmpeg describes the stream."""
    _, _, said = ffmpeg.run(["-v", "verbose", *ffmpeg.source_arguments(path)])
    line = re.search(rf"Stream #0:{index}\b.*Video: (.*)", said)
    found = (
        re.search(r"\([^()]*\b(left|center|topleft|top|bottomleft|bottom)\)", line[1]) if line else None
    )
    return found[1] if found else None


def _mastering_display(data: bytes) -> str | None:
    """An AVMasteringDisplayMetadata as x265 writes it, in 1/50000 and 1/10000 cd/m2."""
    numbers = struct.unpack_from("20i2i", data)
    values = [n / d if d else 0.0 for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True)]
    if not all(numbers[20:22]):
        return None
    red, green, blue, white = (
        ",".join(str(round(v * 50000)) for v in values[i : i + 2]) for i in (0, 2, 4, 6)
    )
    darkest, brightest = (round(v * 10000) for v in values[8:10])
    return f"G({green})B({blue})R({red})WP({white})L({brightest},{darkest})"
