"""The filters of ffmpeg that convert the pixels of a video to 16 bits of RGB."""

from __future__ import annotations

import av

from rgt_cli.media.video import fields, framelog
from rgt_cli.media.video.probe import Video

_LOGARITHMIC = (9, 10)
"""Codes of transfers in ITU-T H.273 that ffmpeg refuses even where it does not convert them."""


def to_rgb(video: Video) -> list[str]:
    """Return the filters that build whole frames, log each, and convert it to 16 bits of RGB."""
    layout = av.VideoFormat(video.pixel_format)
    packed = "rgba64le" if video.has_alpha else "rgb48le"
    planar = "gbrap16le" if video.has_alpha else "gbrp16le"
    filters = [*fields.filters(video), framelog.FILTER]
    if video.color.transfer in _LOGARITHMIC:
        filters.append("setparams=color_trc=unknown")
    if layout.is_rgb or layout.has_palette:
        exact = "gbr" + "a" * video.has_alpha + ("p" if video.bits == 8 else f"p{video.bits}le")
        scale = "zscale=rangein=full:range=full"
        if layout.is_rgb and max(part.bits for part in layout.components) < 8:
            filters.append("format=rgb24")  # a conversion to planes would not make white of 31
        return [*filters, f"format={exact}", scale, f"format={planar}", f"format={packed}"]
    if not layout.is_planar or len(layout.components) < 3:
        return [*filters, f"format={packed}"]
    if any(layout.chroma_width(side) * 2 != side and layout.chroma_width(side) != side
           for side in video.size):  # fmt: skip
        # The zimg library, which zscale uses, requires whole chroma samples.
        filters += ["scale=flags=bicubic+accurate_rnd+full_chroma_inp", f"format={_full_chroma(video)}"]
    color = video.color
    options = {
        "matrixin": color.matrix_at(video.size.height),
        "rangein": "full" if color.full_range else "limited",
        "chromalin": color.chroma_location or "left",
        "matrix": "gbr",
        "range": "full",
        "filter": "spline36",
    }
    scale = "zscale=" + ":".join(f"{name}={value}" for name, value in options.items())
    return [*filters, scale, f"format={planar}", f"format={packed}"]


def _full_chroma(video: Video) -> str:
    """Return the pixel format of 16-bit YUV with a chroma sample for each pixel."""
    return "yuva444p16le" if video.has_alpha else "yuv444p16le"
