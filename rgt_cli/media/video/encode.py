"""Encode frames into segments of a video."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
import numpy as np

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.codecs import Codec, VideoEncoding
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.probe import BT709, UNSPECIFIED, Color, Video
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

_TICK = Fraction(1, 1000)
"""Seconds per tick of the timestamps in segments, as in Matroska. The final timestamps are set later."""
SRGB = 13
"""The code of the transfer of sRGB in ITU-T H.273."""
PQ, HLG = 16, 18
"""The codes of the two transfers of HDR."""
BT2020 = 9
"""The code of the primaries of BT.2020, and of the matrix that belongs to them."""
_ALIGNMENT = 16
"""A number of pixels that a whole number of chroma samples covers in every pixel format."""


def pixel_format_for(video: Video, codec: Codec, encoding: VideoEncoding) -> str:
    """Return the requested pixel format, or the one of the encoder that preserves the most of a video.

    Raises:
        UsageError: There is no such encoder or pixel format, or the encoder does not support it.
    """
    if encoding.pix_fmt:
        if not _is_usable(encoding.pix_fmt):
            raise UsageError(f"--pix-fmt {encoding.pix_fmt}: ffmpeg has no such pixel format")
        # ffmpeg would convert to another one without a word.
        listed = ("pal8",) if codec.encoder == "gif" else ffmpeg.pixel_formats(codec.encoder)
        if listed and encoding.pix_fmt not in listed:
            names = ", ".join(name for name in listed if _is_candidate(codec, name))
            raise UsageError(f"--pix-fmt {encoding.pix_fmt}: {codec.encoder} supports {names}")
        return encoding.pix_fmt
    own = av.VideoFormat(video.pixel_format)
    if codec.encoder == "gif":
        return "pal8"
    supported = [name for name in ffmpeg.pixel_formats(codec.encoder) if _is_candidate(codec, name)]
    if not supported:
        return own.name
    best = min(supported, key=lambda name: _loss(video, codec, name))
    logger.info("%s: pixel format %s, of the input %s", video.path, best, own.name)
    return best


def _loss(video: Video, codec: Codec, name: str) -> float:
    """Return how much worse than the video a pixel format is. Superfluous precision costs a little."""
    own, layout, alpha = av.VideoFormat(video.pixel_format), av.VideoFormat(name), supports_alpha(name)
    # Players expect a chroma sample for four pixels, whatever the video was made from.
    rgb = is_rgb(own.name) and codec.is_lossless
    wanted = (1.0, 1.0) if rgb else _chroma(own) if not is_rgb(own.name) else (0.5, 0.5)
    bits = max(part.bits for part in layout.components)
    loss = 1000.0 * (video.has_alpha and not alpha) + 3 * (alpha and not video.has_alpha)
    loss += 100 * max(0, video.bits - bits) + max(0, bits - video.bits) / 2
    for want, have in zip(wanted, _chroma(layout), strict=True):
        loss += 50 * max(0, want - have) + 2 * max(0, have - want)
    return loss + 10 * (layout.is_rgb != rgb) + 30 * (len(layout.components) < 3)


def _is_candidate(codec: Codec, name: str) -> bool:
    refused = codec.alpha_formats is not None and name not in codec.alpha_formats
    return _is_usable(name) and not (refused and supports_alpha(name))


def _is_usable(name: str) -> bool:
    try:
        layout = av.VideoFormat(name)
    except ValueError:
        return False
    return bool(layout.components) and not name.endswith("be") and not layout.is_bayer


def _chroma(layout: av.VideoFormat) -> tuple[float, float]:
    """Return the chroma samples for each luma sample, horizontally and vertically."""
    return layout.chroma_width(_ALIGNMENT) / _ALIGNMENT, layout.chroma_height(_ALIGNMENT) / _ALIGNMENT


def is_rgb(pix_fmt: str) -> bool:
    """Return whether the samples of a pixel format are RGB, or indices of a palette of RGB."""
    layout = av.VideoFormat(pix_fmt)
    return layout.is_rgb or layout.has_palette


def supports_alpha(pix_fmt: str) -> bool:
    """Return whether a pixel format supports transparency."""
    layout = av.VideoFormat(pix_fmt)
    return layout.has_palette or any(part.is_alpha for part in layout.components)


def fitted_size(size: Dimensions, pix_fmt: str) -> Dimensions:
    """Return the largest size within `size` that a whole number of chroma samples covers."""
    layout = av.VideoFormat(pix_fmt)
    across = _ALIGNMENT // layout.chroma_width(_ALIGNMENT)
    down = _ALIGNMENT // layout.chroma_height(_ALIGNMENT)
    return Dimensions(size.width // across * across, size.height // down * down)


def squared(size: Dimensions, sample_aspect: Fraction) -> Dimensions:
    """Return the size of frames whose pixels become square; no side becomes shorter."""
    if sample_aspect > 1:
        return Dimensions(round(size.width * sample_aspect), size.height)
    return Dimensions(size.width, round(size.height / sample_aspect))


def stretching(arguments: Sequence[str], size: Dimensions) -> list[str]:
    """Return the arguments of an encoder that first scales the frames to a size."""
    scale = f"scale={size.width}:{size.height}:flags=lanczos+accurate_rnd"
    at = list(arguments).index("-vf") + 1
    return [*arguments[:at], f"{scale},{arguments[at]}", *arguments[at + 1 :]]


def encoder_arguments(
    video: Video, codec: Codec, encoding: VideoEncoding, pix_fmt: str, size: Dimensions
) -> list[str]:
    """Return the arguments of ffmpeg that convert and encode RGB frames of a size.

    Raises:
        UsageError: A quality or a preset is requested that the encoder does not have.
    """
    arguments = [
        "-vf", ",".join(_from_rgb(video, codec, pix_fmt, size)),
        "-fps_mode", "passthrough", "-enc_time_base", f"{_TICK.numerator}:{_TICK.denominator}",
        "-c:v", codec.encoder, *codec.arguments,
    ]  # fmt: skip
    is_full = not is_rgb(pix_fmt) and _written_color(video, codec, pix_fmt, size).full_range
    if is_full and codec.encoder == "ffv1":
        # Its streams do not contain the range, but Matroska does. Without this, ffmpeg converts it.
        arguments += ["-color_range", "pc"]
    arguments += _quality_arguments(codec, encoding)
    if encoding.preset:
        if not codec.preset:
            raise UsageError(f"--preset {encoding.preset}: {codec.encoder} has no presets")
        arguments += [codec.preset, encoding.preset]
    if codec.encoder == "libx265":
        arguments += ["-x265-params", ":".join(_x265_parameters(video))]
    if codec.encoder == "prores_ks":
        arguments += ["-profile:v", "4444" if "444" in pix_fmt else "hq"]
    return [*arguments, *encoding.arguments]


def _quality_arguments(codec: Codec, encoding: VideoEncoding) -> list[str]:
    """Return the arguments of ffmpeg that set the quality.

    Raises:
        UsageError: The encoder has no quality option, or its range does not include the requested value.
    """
    wanted = encoding.crf
    if wanted is None:
        return [codec.quality, f"{codec.default:g}"] if codec.quality and codec.default else []
    if codec.quality is None:
        reason = "is lossless, and has no such option" if codec.is_lossless else "has no such option"
        hint = "" if codec.is_lossless or codec.encoder == "gif" else ": use --encoder-args"
        raise UsageError(f"--crf {wanted:g}: {codec.encoder} {reason}{hint}")
    lowest, highest = codec.quality_range or (-math.inf, math.inf)
    if not lowest <= wanted <= highest:
        raise UsageError(f"--crf {wanted:g}: {codec.encoder} accepts {lowest:g} to {highest:g}")
    return [codec.quality, f"{wanted:g}"]


def _x265_parameters(video: Video) -> list[str]:
    parameters, color = ["log-level=error"], video.color
    if color.mastering_display and not ffmpeg.supports_mastering_display():
        parameters.append(f"master-display={color.mastering_display}")
        if color.content_light:
            parameters.append(f"max-cll={color.content_light}")
    return parameters


def _from_rgb(video: Video, codec: Codec, pix_fmt: str, size: Dimensions) -> list[str]:
    """Return the filters that convert 16 bits of RGB to a pixel format and set its color tags."""
    layout, color = av.VideoFormat(pix_fmt), video.color
    aspect = f"setsar={video.sample_aspect.numerator}/{video.sample_aspect.denominator}:max=65535"
    if codec.encoder == "gif":
        palette = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
        return [*(_to_sdr(color) if is_hdr(color) else []), aspect, palette]
    planar = "gbrap16le" if video.has_alpha else "gbrp16le"
    if layout.is_rgb:
        bits = max(part.bits for part in layout.components)
        exact = "gbr" + "a" * video.has_alpha + ("p" if bits == 8 else f"p{bits}le")
        scale = "zscale=rangein=full:range=full"
        return [f"format={planar}", scale, f"format={exact}", f"format={pix_fmt}", aspect]
    if len(layout.components) < 3:
        return [f"format={pix_fmt}", aspect]
    written = _written_color(video, codec, pix_fmt, size)
    matrix = written.matrix_at(video.size.height)
    options = {
        "matrixin": "gbr",
        "rangein": "full",
        "matrix": matrix,
        "range": "full" if written.full_range else "limited",
        "chromal": color.chroma_location or "left",
        "filter": "spline36",
    }
    # An unspecified matrix must be specified if players would assume another one at the larger size.
    is_implied = written.matrix == UNSPECIFIED and color.matrix_at(size.height) == matrix
    color_tags = {
        "color_primaries": written.primaries,
        "color_trc": written.transfer,
        "colorspace": UNSPECIFIED if is_implied else matrix,
        "range": {None: "unknown", False: "tv", True: "pc"}[written.full_range],
    }
    scale = "zscale=" + ":".join(f"{name}={value}" for name, value in options.items())
    tags = "setparams=" + ":".join(f"{name}={value}" for name, value in color_tags.items())
    return [f"format={planar}", scale, f"format={pix_fmt}", tags, aspect]


def is_hdr(color: Color) -> bool:
    """Return whether the transfer is one of HDR: that of SMPTE ST 2084 (PQ) or of HLG."""
    return color.transfer in (PQ, HLG)


def _to_sdr(color: Color) -> list[str]:
    """Return the filters that reduce the range of brightness of HDR to that of sRGB.

    Source: Report ITU-R BT.2408, which places white at 203 cd/m2.
    """
    primaries = BT2020 if color.primaries == UNSPECIFIED else color.primaries
    return [
        "format=gbrp16le",
        f"zscale=matrixin=gbr:rangein=full:primariesin={primaries}:transferin={color.transfer}"
        ":primaries=bt709:transfer=linear:npl=203",
        "format=gbrpf32le",
        "tonemap=mobius:desat=0",
        "zscale=transferin=linear:transfer=iec61966-2-1:matrix=gbr:range=full",
        "format=gbrp",
    ]


def _written_color(video: Video, codec: Codec, pix_fmt: str, size: Dimensions) -> Color:
    """Return the color space of the output.

    It is that of the input. RGB that becomes YUV is written as players expect it: in limited range, with
    all tags, and with the matrix that they assume at the size of the output.
    """
    color = video.color
    if not is_rgb(video.pixel_format) or is_rgb(pix_fmt):
        is_lost = color.full_range and not codec.has_full_range
        return replace(color, full_range=False) if is_lost else color
    return replace(
        color,
        primaries=BT709 if color.primaries == UNSPECIFIED else color.primaries,
        transfer=SRGB if color.transfer == UNSPECIFIED else color.transfer,
        matrix=BT2020 if color.primaries == BT2020 else color.matrix_at(size.height),
        full_range=False,
    )


class SegmentWriter:
    """Encodes one segment of a video, which starts with a keyframe, into a file of its own.

    Use it as a context manager: leaving the block before `close` ends the encoder.

    Args:
        path: The file, in Matroska. It is complete once `close` has returned.
        video: The input.
        arguments: The arguments of the encoder, from `encoder_arguments`.
        size: The size of the frames.

    Raises:
        OutputError: The encoder cannot be started.
    """

    def __init__(self, path: Path, video: Video, arguments: Sequence[str], size: Dimensions) -> None:
        self._path, self._packed = path, "rgba64le" if video.has_alpha else "rgb48le"
        self._time_base, self._last = video.time_base, -1
        self._first: int | None = None
        input_options: list[str] = []
        if video.color.mastering_display and ffmpeg.supports_mastering_display():
            input_options = ["-mastering_display", video.color.mastering_display]
            if video.color.content_light:
                input_options += ["-content_light", video.color.content_light]
        pipe_to_file = ["-f", "nut", "-i", "pipe:0", *arguments, "-f", "matroska", ffmpeg.url(path)]
        self._process = ffmpeg.Process([*input_options, *pipe_to_file], reads=True)
        try:
            self._nut = av.open(self._process.pipe, "w", format="nut")
            stream = self._nut.add_stream("rawvideo", rate=video.rate)
            stream.width, stream.height = size
            stream.pix_fmt = self._packed
            stream.codec_context.time_base = _TICK
            stream.time_base = _TICK
        except OSError:
            self._fail()
        self._stream = stream

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.end(kill=True)

    def add(self, frame: Frame) -> None:
        """Encode one frame.

        Raises:
            OutputError: The encoder fails, or the disk is full.
        """
        if self._first is None:
            self._first = frame.time
        array = frame.pixels if frame.alpha is None else np.dstack([frame.pixels, frame.alpha])
        encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=self._packed)
        # No two frames may share a tick: all that matters here is their order.
        self._last = max(self._last + 1, round((frame.time - self._first) * self._time_base / _TICK))
        encoded.pts, encoded.time_base = self._last, _TICK
        try:
            self._nut.mux(self._stream.encode(encoded))
        except OSError:
            self._fail()

    def close(self) -> None:
        """Complete the segment and flush it to the disk.

        Raises:
            OutputError: As `add`.
        """
        try:
            self._nut.mux(self._stream.encode(None))
            self._nut.close()
        except OSError:
            self._fail()
        code, stderr_lines = self._process.end()
        if code:
            raise self._error(code, stderr_lines)
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _fail(self) -> NoReturn:
        raise self._error(*self._process.end())

    def _error(self, code: int, stderr_lines: list[str]) -> OutputError:
        reason = ffmpeg.in_words(stderr_lines, code)
        return OutputError(f"{self._path.parent}: cannot be written: {reason}")
