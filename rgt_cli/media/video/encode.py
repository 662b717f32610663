"""Frames into a segment of a film, by an encoder with a name and a quality."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.codecs import Codec, VideoEncoding
from rgt_cli.media.video.probe import UNSPECIFIED, Video

_TICK = Fraction(1, 1000)
"""Of the timestamps of a segment, as Matroska has them; the film's own are set when it is put together."""


def pixel_format_for(video: Video, codec: Codec, encoding: VideoEncoding) -> str:
    """Of the pixel formats of an encoder, the one that keeps the most of what the film has.

    Raises:
        UsageError: there is no such encoder, or no such format.
    """
    if encoding.pix_fmt:
        if not _is_usable(encoding.pix_fmt):
            raise UsageError(f"--pix-fmt {encoding.pix_fmt}: ffmpeg has no such pixel format")
        return encoding.pix_fmt
    own = av.VideoFormat(video.pixel_format)
    if codec.encoder == "gif":
        return "pal8"
    supported = [name for name in ffmpeg.pixel_formats(codec.encoder) if _is_usable(name)]
    if not supported:
        return own.name

    def loss(name: str) -> float:
        layout = av.VideoFormat(name)
        alpha = keeps_alpha(name)
        # What players take has a sample of chroma for four pixels, whatever it was made of.
        rgb = own.is_rgb and codec.is_lossless
        wanted = (1.0, 1.0) if rgb else _chroma(own) if not own.is_rgb else (0.5, 0.5)
        bits, chroma = max(c.bits for c in layout.components), _chroma(layout)
        lost = 1000.0 * (video.has_alpha and not alpha) + 3 * (alpha and not video.has_alpha)
        lost += 100 * max(0, video.bits - bits) + max(0, bits - video.bits) / 2
        for want, have in zip(wanted, chroma, strict=True):
            lost += 50 * max(0, want - have) + 2 * max(0, have - want)
        return lost + 10 * (layout.is_rgb != rgb) + 30 * (len(layout.components) < 3)

    return min(supported, key=loss)


def _is_usable(name: str) -> bool:
    try:
        layout = av.VideoFormat(name)
    except ValueError:
        return False
    return bool(layout.components) and not name.endswith("be") and not layout.is_bayer


def _chroma(layout: av.VideoFormat) -> tuple[float, float]:
    """Samples of chroma for one of luma, across and down."""
    return layout.chroma_width(16) / 16, layout.chroma_height(16) / 16


def keeps_alpha(pix_fmt: str) -> bool:
    """Whether a pixel format can hold transparency."""
    layout = av.VideoFormat(pix_fmt)
    return layout.has_palette or any(part.is_alpha for part in layout.components)


def fitted_size(width: int, height: int, pix_fmt: str) -> tuple[int, int]:
    """The largest size, not above this one, that has whole samples of chroma."""
    layout = av.VideoFormat(pix_fmt)
    across, down = 16 // layout.chroma_width(16), 16 // layout.chroma_height(16)
    return width // across * across, height // down * down


def encoder_arguments(
    video: Video, codec: Codec, encoding: VideoEncoding, pix_fmt: str, size: tuple[int, int]
) -> list[str]:
    """What ffmpeg is to do with RGB frames, and how they are to be encoded."""
    quality = codec.default if encoding.crf is None else encoding.crf
    arguments = [
        "-vf", ",".join(_from_rgb(video, codec, pix_fmt, size)),
        "-fps_mode", "passthrough", "-enc_time_base", f"{_TICK.numerator}:{_TICK.denominator}",
        "-c:v", codec.encoder, *codec.arguments,
    ]  # fmt: skip
    if codec.quality and quality is not None:
        arguments += [codec.quality, f"{quality:g}"]
    if encoding.preset:
        if not codec.preset:
            raise UsageError(f"--preset {encoding.preset}: {codec.encoder} has none")
        arguments += [codec.preset, encoding.preset]
    if codec.encoder == "libx265":
        arguments += ["-x265-params", ":".join(_x265_parameters(video))]
    if codec.encoder == "prores_ks":
        arguments += ["-profile:v", "4444" if "444" in pix_fmt else "hq"]
    return [*arguments, *encoding.arguments]


def _x265_parameters(video: Video) -> list[str]:
    parameters, color = ["log-level=error"], video.color
    if color.mastering_display and not ffmpeg.supports_mastering_display():
        parameters.append(f"master-display={color.mastering_display}")
        if color.content_light:
            parameters.append(f"max-cll={color.content_light}")
    return parameters


def _from_rgb(video: Video, codec: Codec, pix_fmt: str, size: tuple[int, int]) -> list[str]:
    """The filters from 16 bits of RGB to the pixels that are encoded, and what these mean."""
    layout, color = av.VideoFormat(pix_fmt), video.color
    aspect = f"setsar={video.sample_aspect.numerator}/{video.sample_aspect.denominator}"
    if codec.encoder == "gif":
        return [aspect, "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"]
    planar = "gbrap16le" if video.has_alpha else "gbrp16le"
    if layout.is_rgb:
        bits = max(part.bits for part in layout.components)
        exact = "gbr" + "a" * video.has_alpha + ("p" if bits == 8 else f"p{bits}le")
        scale = "zscale=rangein=full:range=full"
        return [f"format={planar}", scale, f"format={exact}", f"format={pix_fmt}", aspect]
    if len(layout.components) < 3:
        return [f"format={pix_fmt}", aspect]
    matrix = color.matrix_at(video.height)
    full = bool(color.full_range)
    options = {
        "matrixin": "gbr",
        "rangein": "full",
        "matrix": matrix,
        "range": "full" if full else "limited",
        "chromal": color.chroma_location or "left",
        "filter": "spline36",
    }
    told = {"color_primaries": color.primaries, "color_trc": color.transfer}
    # What was not told is told now if players would take the larger film for something else.
    guessed = color.matrix == UNSPECIFIED and color.matrix_at(size[1]) == matrix
    told["colorspace"] = UNSPECIFIED if guessed else matrix
    marks = [f"{name}={value}" for name, value in told.items()]
    marks.append("range=" + {None: "unknown", False: "tv", True: "pc"}[color.full_range])
    scale = "zscale=" + ":".join(f"{name}={value}" for name, value in options.items())
    return [f"format={planar}", scale, f"format={pix_fmt}", "setparams=" + ":".join(marks), aspect]


def try_encoder(arguments: list[str], size: tuple[int, int], has_alpha: bool) -> None:
    """Encode one black frame, so that what the encoder refuses is known before the start.

    Raises:
        UsageError: it refuses.
    """
    width, height = size
    black = f"color=black:size={width}x{height}:rate=25,format={'rgba64le' if has_alpha else 'rgb48le'}"
    code, _, said = ffmpeg.run(
        ["-v", "error", "-f", "lavfi", "-i", black, "-frames:v", "1", *arguments, "-f", "null", "-"]
    )
    if code:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        raise UsageError(f"the encoder refuses: {'; '.join(lines[:2]) or code}")


class SegmentWriter:
    """One segment of a film, which begins with a keyframe, in a file of its own.

    Args:
        path: the file, Matroska; it is whole once `close` has returned.
        arguments: of `encoder_arguments`.
        size: width and height of the frames in pixels.
    """

    def __init__(self, path: Path, video: Video, arguments: list[str], size: tuple[int, int]) -> None:
        self._path, self._packed = path, "rgba64le" if video.has_alpha else "rgb48le"
        self._time_base, self._last = video.time_base, -1
        self._first: int | None = None
        before: list[str] = []
        if video.color.mastering_display and ffmpeg.supports_mastering_display():
            before = ["-mastering_display", video.color.mastering_display]
            if video.color.content_light:
                before += ["-content_light", video.color.content_light]
        self._process = ffmpeg.Process(
            [*before, "-f", "nut", "-i", "pipe:0", *arguments, "-f", "matroska", ffmpeg.url(path)],
            reads=True,
        )
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

    def add(self, time: int, pixels: np.ndarray, alpha: np.ndarray | None) -> None:
        """Encode one frame.

        Args:
            time: in ticks of the film's time base.
            pixels: (H, W, 3) uint16.
            alpha: (H, W) uint16, where the film has alpha.

        Raises:
            OutputError: the encoder or the disk refuses.
        """
        if self._first is None:
            self._first = time
        whole = pixels if alpha is None else np.dstack([pixels, alpha])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(whole), format=self._packed)
        # No two in one tick: the order of the timestamps is what counts in the end.
        self._last = max(self._last + 1, round((time - self._first) * self._time_base / _TICK))
        frame.pts, frame.time_base = self._last, _TICK
        try:
            self._nut.mux(self._stream.encode(frame))
        except OSError:
            self._fail()

    def close(self) -> None:
        """Finish the segment, through to the disk.

        Raises:
            OutputError: as `add`.
        """
        try:
            self._nut.mux(self._stream.encode(None))
            self._nut.close()
        except OSError:
            self._fail()
        code, told = self._process.end()
        if code:
            raise self._refusal(code, told)
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def abandon(self) -> None:
        """End the encoder; what there is of the segment is of no use."""
        self._process.end(kill=True)

    def _fail(self) -> None:
        raise self._refusal(*self._process.end())

    def _refusal(self, code: int, told: list[str]) -> OutputError:
        reason = "; ".join(told[:2]) or f"ffmpeg ended with {code}"
        return OutputError(f"{self._path.parent}: cannot be written: {reason}")
