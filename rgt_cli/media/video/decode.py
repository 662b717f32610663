"""The frames of a film, one after the other, as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from rgt_cli.errors import InputError
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.probe import Video

_MARGIN = 10.0
"""Seconds before a frame from which decoding starts, so that all it refers to has been seen."""
_BUFFER = 1 << 20


@dataclass(frozen=True)
class Frame:
    """One picture of a film."""

    time: int
    """When it is shown, in ticks of the film's time base."""
    pixels: np.ndarray
    """(H, W, 3) uint16, RGB in the film's own transfer and primaries, full range."""
    alpha: np.ndarray | None
    """(H, W) uint16; None where the film has none."""


def read_frames(video: Video, after: int | None = None, deinterlace: bool = False) -> Iterator[Frame]:
    """Decode a film, from its first frame or from the one that follows a timestamp.

    YUV becomes RGB by the film's own matrix, range and chroma location, in floating point, and 16
    bits are kept of it.

    Args:
        after: a timestamp in ticks; the frames until then are left out.
        deinterlace: make whole pictures of interlaced fields.

    Raises:
        InputError: after the last frame, where the film is damaged.
    """
    seek: list[str] = []
    seconds = (after - video.start) * video.time_base - _MARGIN if after is not None else 0
    if seconds > 0:
        seek = ["-noaccurate_seek", "-ss", f"{float(seconds):.3f}"]
    # VP8 and VP9 keep alpha where only libvpx looks.
    decoder = ["-c:v", f"libvpx{'-vp9' * (video.codec == 'vp9')}"]
    arguments = [
        *(decoder if video.has_alpha and video.codec in ("vp8", "vp9") else []),
        "-copyts", *seek, *ffmpeg.source_arguments(video.path),
        "-map", f"0:{video.index}", "-fps_mode", "passthrough",
        "-enc_time_base", f"{video.time_base.numerator}:{video.time_base.denominator}",
        "-vf", ",".join(_to_rgb(video, deinterlace)), "-c:v", "rawvideo", "-f", "nut", "pipe:1",
    ]  # fmt: skip
    process, ended = ffmpeg.Process(arguments, reads=False), False
    try:
        yield from _frames(process, video.time_base, after)
        ended = True
    finally:
        code, told = process.end(kill=not ended)
    if seek:  # where decoding starts in the middle, the decoder misses what came before
        told = [line for line in told if video.codec not in line.split("]")[0]]
    if code or told:
        reason = told[0] if told else f"ffmpeg ended with {code}"
        raise InputError(f"{video.path}: is damaged: {reason}")


def _frames(process: ffmpeg.Process, time_base: Fraction, after: int | None) -> Iterator[Frame]:
    try:
        pipe = av.open(process.pipe, "r", format="nut", buffer_size=_BUFFER)
    except av.FFmpegError:
        return  # not a single frame; what ffmpeg told says why
    with pipe:
        for decoded in pipe.decode(video=0):
            # NUT counts in finer ticks, and moves what would coincide by one of them.
            time = round((decoded.pts or 0) * (decoded.time_base or time_base) / time_base)
            if after is not None and time <= after:
                continue
            array = decoded.to_ndarray()
            yield Frame(time, array[..., :3], array[..., 3] if array.shape[2] == 4 else None)


def _to_rgb(video: Video, deinterlace: bool) -> list[str]:
    """The filters from the film's pixels to 16 bits of RGB."""
    layout = av.VideoFormat(video.pixel_format)
    packed = "rgba64le" if video.has_alpha else "rgb48le"
    filters = ["bwdif=mode=send_frame:deint=interlaced"] if deinterlace else []
    planar = "gbrap16le" if video.has_alpha else "gbrp16le"
    if layout.is_rgb or layout.has_palette:
        exact = "gbr" + "a" * video.has_alpha + ("p" if video.bits == 8 else f"p{video.bits}le")
        scale = "zscale=rangein=full:range=full"
        return [*filters, f"format={exact}", scale, f"format={planar}", f"format={packed}"]
    if not layout.is_planar or len(layout.components) < 3:
        return [*filters, f"format={packed}"]
    if any(
        layout.chroma_width(side) * 2 != side and layout.chroma_width(side) != side
        for side in (video.width, video.height)
    ):  # zimg wants whole samples of chroma
        filters += ["scale=flags=bicubic+accurate_rnd+full_chroma_inp", f"format={_full_chroma(video)}"]
    given = video.color
    options = {
        "matrixin": given.matrix_at(video.height),
        "rangein": "full" if given.full_range else "limited",
        "chromalin": given.chroma_location or "left",
        "matrix": "gbr",
        "range": "full",
        "filter": "spline36",
    }
    scale = "zscale=" + ":".join(f"{name}={value}" for name, value in options.items())
    return [*filters, scale, f"format={planar}", f"format={packed}"]


def _full_chroma(video: Video) -> str:
    """The format with 16 bits and a sample of chroma for every pixel."""
    return "yuva444p16le" if video.has_alpha else "yuv444p16le"
