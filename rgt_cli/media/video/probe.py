"""Find out what a video is before any frame is upscaled."""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type

from rgt_cli.errors import InputError
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.animation import DEMUXER, TIME_BASE, Animation, open_animation
from rgt_cli.media.video.framelog import FILTER, LoggedFrame, LogParser
from rgt_cli.size import Dimensions

_PROBE_FRAMES = 5
"""Number of frames that are checked for interlacing."""
_PROBE_PACKETS = 500
"""Number of packets within which a frame must be found."""
_MICROSECOND = Fraction(1, av.time_base)
RECORDINGS = ("mpegts", "mpeg", "ogg")
"""Formats whose timestamps start anywhere and may jump, because they are received or joined."""
_DEFAULT_RATE = 25
"""Frames per second of a video that does not specify its rate."""
UNSPECIFIED = 2
"""The code of unspecified primaries, transfer or matrix in ITU-T H.273."""
BT709, SMPTE170M = 1, 6
"""Codes of two matrices in ITU-T H.273."""
_LAST_MATRIX = 9
"""The matrices up to this one convert to RGB without linear light."""
_OTHER_MATRICES = {10: "BT.2020 with constant luminance", 14: "ICtCp"}
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
    """Size of the frames as shown: the rotation and the cropping of the file are applied."""
    pixel_format: str
    """Pixel format, as ffmpeg names it."""
    bits: int
    """Bits per channel."""
    has_alpha: bool
    color: Color
    sample_aspect: Fraction
    """Width of a pixel divided by its height, as shown."""
    time_base: Fraction
    """Seconds per tick of the timestamps."""
    start: int
    """Timestamp of the start, in ticks."""
    rate: Fraction
    """Average number of frames per second."""
    frames: int | None
    """Number of frames; None if the file does not reveal it."""
    is_interlaced: bool
    others: tuple[int, ...]
    """Indices of all other streams: audio, subtitles, attachments, data."""
    demuxer: str = ""
    """Name of the format of the file, as ffmpeg names it."""
    deinterlacing: str = "none"
    """What becomes of its fields; see `fields.Deinterlacing`."""
    first: int = 0
    """When its first frame is shown, in ticks."""
    delay: int = 0
    """By how many ticks ffmpeg shows frames later than the file means."""
    origin: Fraction = Fraction(0)
    """When the first of all streams starts, in seconds. The output starts there."""
    end: int | None = None
    """When the last frame ends, in ticks; None as long as the frames are not read."""
    original: Path | None = None
    """The file that the user named, if `path` is a copy of it."""

    @property
    def name(self) -> str:
        """The video as messages call it."""
        return str(self.original or self.path)


def probe(path: Path) -> Video:
    """Return the properties of a video file. The video is its largest video stream without cover art.

    Raises:
        InputError: The file is not a video, or its frames cannot be decoded.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a file but a folder, a pipe or a device")
        if not status.st_size:
            raise InputError(f"{path}: the file is empty")
        if found := open_animation(path):
            return _describe_animation(path, found)
        with ffmpeg.open_source(path) as container:
            streams = [s for s in container.streams.video if not is_cover(s)]
            if is_avif(container):  # besides its tracks, it has a still image for other readers
                streams = [s for s in streams if s.duration] or streams
            if not streams:
                raise InputError(f"{path}: there is no video in it{_contents(container)}")
            streams = [s for s in streams if s.codec_context]
            if not streams:
                raise InputError(f"{path}: the codec of the video is unknown")
            stream = max(streams, key=lambda s: s.codec_context.width * s.codec_context.height)
            return _describe(path, container, stream)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read as a video: {reason}") from error


def is_avif(container: InputContainer) -> bool:
    """Return whether a file is an AVIF image or animation."""
    return container.metadata.get("major_brand") in ("avif", "avis")


def _describe_animation(path: Path, found: Animation) -> Video:
    if not found.frames:
        raise InputError(f"{path}: no frame can be decoded")
    return Video(
        path=path,
        index=0,
        codec=found.codec,
        size=found.size,
        pixel_format="rgba" if found.has_alpha else "rgb24",
        bits=8,
        has_alpha=found.has_alpha,
        color=Color(),
        sample_aspect=Fraction(1),
        time_base=TIME_BASE,
        start=0,
        rate=found.frames / (found.duration * TIME_BASE),
        frames=found.frames,
        is_interlaced=False,
        others=(),
        demuxer=DEMUXER,
    )


def is_cover(stream: av.stream.Stream) -> bool:
    """Return whether a stream is cover art."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _contents(container: InputContainer) -> str:
    kinds = {"cover art" if is_cover(stream) else str(stream.type) for stream in container.streams}
    return f", only {' and '.join(sorted(kinds))}" if kinds else ""


def decoder_arguments(codec: str, has_alpha: bool) -> list[str]:
    """Return the arguments that select the decoder of a video."""
    # Only libvpx decodes the alpha of VP8 and VP9.
    if has_alpha and codec in ("vp8", "vp9"):
        return ["-c:v", "libvpx-vp9" if codec == "vp9" else "libvpx"]
    return []


def _describe(path: Path, container: InputContainer, stream: av.VideoStream) -> Video:
    context = stream.codec_context
    # The alpha of VP8 and VP9 is a stream within the stream, which only this tag reveals.
    hidden_alpha = ("alpha_mode", "1") in ((key.lower(), tag) for key, tag in stream.metadata.items())
    length = container.duration / av.time_base if container.duration else 0.0
    rate = _rate(stream)
    frames = list(first_frames(container, stream))
    if not frames:
        raise InputError(f"{path}: no frame can be decoded")
    first, description = frames[0], _describe_by_ffmpeg(path, stream.index)
    if first.rotation % 90:
        raise InputError(
            f"{path}: is rotated by {first.rotation} degrees: only quarter turns are supported"
        )
    layout = av.VideoFormat(first.format.name)
    color = _color(stream, first, description.chroma_location)
    if color.matrix > _LAST_MATRIX and not layout.is_rgb:
        name = _OTHER_MATRICES.get(color.matrix, f"{color.matrix} of ITU-T H.273")
        raise InputError(
            f"{path}: the color space {name} is not supported: convert the video to BT.2020"
        )
    shows_alpha = any(part.is_alpha for part in layout.components)
    if context.name == "gif":  # where transparency may only mark pixels that do not change
        shows_alpha = _shows_background(path)
    is_upright = first.rotation % 180 == 0
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    size = Dimensions(*(first.width, first.height)[:: 1 if is_upright else -1])
    base = Fraction(stream.time_base or Fraction(1, 1000))
    logged = description.first
    shown = round((logged.pts or 0) * logged.time_base / base) if logged else 0
    delay = _delay(path, stream, shown)
    start = shown if stream.start_time is None else stream.start_time
    start = min(start, shown - delay) if delay else start
    return Video(
        path=path,
        index=stream.index,
        codec=context.name,
        # PyAV ignores the cropping that the container asks for; ffmpeg applies it.
        size=description.first.size if description.first else size,
        pixel_format=layout.name,
        bits=8 if layout.has_palette else max(8, *(part.bits for part in layout.components)),
        has_alpha=hidden_alpha or shows_alpha,
        color=color,
        sample_aspect=aspect if is_upright else 1 / aspect,
        time_base=base,
        start=start,
        first=shown - delay,
        delay=delay,
        rate=rate,
        frames=stream.frames or (round(length * rate) or None),
        is_interlaced=any(frame.interlaced_frame for frame in frames),
        others=tuple(
            s.index
            for s in container.streams
            if s.index != stream.index and not (s.type == "video" and is_avif(container))
        ),
        demuxer=container.format.name,
        origin=_origin(container, start * base),
    )


def _shows_background(path: Path) -> bool:
    """Return whether any frame of a GIF is transparent anywhere, after it is combined with others."""
    with (
        ffmpeg.open_source(path) as container,
        suppress(av.FFmpegError),  # damage is reported when the frames are read
    ):
        for frame in container.decode(video=0):
            if (frame.to_ndarray(format="bgra")[..., 3] < 255).any():
                return True
    return False


def _rate(stream: av.VideoStream) -> Fraction:
    """Return the average number of frames per second."""
    average, base = stream.average_rate, stream.base_rate
    if average and base and average > 2 * base:  # raw DV counts its frames in ticks
        average = stream.guessed_rate or base
    return Fraction(average or stream.guessed_rate or _DEFAULT_RATE)


def _delay(path: Path, stream: av.VideoStream, shown: int) -> int:
    """Return by how many ticks ffmpeg shows the frames of a video later than the file means.

    AVI stores frames in the order in which they are decoded, and no times, and so does Matroska in its
    mode for AVI. ffmpeg shows a frame when those are decoded that come before it, but the file means the
    time that its number means.

    Args:
        path: The file.
        stream: The video in it.
        shown: When ffmpeg shows the first frame, in ticks.
    """
    with ffmpeg.open_source(path) as container:
        is_avi, is_matroska = (container.format.name.startswith(name) for name in ("avi", "matroska"))
        is_mode_for_avi = is_matroska and stream.codec_context.codec_tag.strip("\0 ")
        if not (is_avi or is_mode_for_avi):
            return 0
        packets = container.demux(container.streams[stream.index])
        first = next((packet.dts for packet in packets if packet.size), None)
        return 0 if first is None else max(0, shown - first)


def _origin(container: InputContainer, start: Fraction) -> Fraction:
    """Return when the first of all streams starts, in seconds."""
    if container.start_time is None:
        return max(start, Fraction(0))
    earliest = Fraction(container.start_time, av.time_base)
    starts = [
        s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base
    ]
    # FFmpeg rounds it to microseconds.
    origin = min((time for time in starts if abs(time - earliest) < _MICROSECOND), default=earliest)
    # Encoders of sound may start before zero, and players know; recordings have no zero.
    return origin if origin > 0 or container.format.name in RECORDINGS else Fraction(0)


def first_frames(
    container: InputContainer, stream: av.VideoStream, most: int = _PROBE_FRAMES
) -> Iterator[av.VideoFrame]:
    """Yield the first frames that can be decoded at the current position.

    Raises:
        ValueError: They are encrypted.
    """
    count = 0
    for number, packet in enumerate(container.demux(stream)):
        if not packet.size and packet.dts is not None:
            continue  # repeats a frame
        if packet.has_sidedata("encryption_info"):
            raise ValueError("it is encrypted")
        with suppress(av.error.InvalidDataError):  # a recording may begin between keyframes
            for frame in packet.decode():
                yield frame
                count += 1
                if count == most:
                    return
        if number > _PROBE_PACKETS and not count:
            return


class _Description(NamedTuple):
    """What ffmpeg finds in a video."""

    first: LoggedFrame | None
    """The first frame as it is shown; None if there is none."""
    chroma_location: str | None


def _describe_by_ffmpeg(path: Path, index: int) -> _Description:
    """Return what PyAV does not reveal about a video."""
    _, _, stderr = ffmpeg.run(
        ["-nostats", "-v", "verbose", "-copyts", *ffmpeg.source_arguments(path), "-map", f"0:{index}",
         "-vf", FILTER, "-frames:v", "1", "-f", "null", "-"]
    )  # fmt: skip
    parser = LogParser()
    first = next((frame for line in stderr.splitlines() if (frame := parser.parse(line))), None)
    line = re.search(rf"Stream #0:{index}\b.*Video: (.*)", stderr)
    found = (
        re.search(r"\([^()]*\b(left|center|topleft|top|bottomleft|bottom)\)", line[1]) if line else None
    )
    return _Description(first, found[1] if found else None)


def _color(stream: av.VideoStream, frame: av.VideoFrame, chroma_location: str | None) -> Color:
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
        chroma_location=chroma_location,
        mastering_display=_mastering_display(bytes(mastering)) if mastering else None,
        content_light="{},{}".format(*struct.unpack_from("II", bytes(light))) if light else None,
    )


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
