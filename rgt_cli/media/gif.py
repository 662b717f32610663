"""Reduce images to the palette of a GIF."""

from __future__ import annotations

import numpy as np
from PIL import Image

_PALETTE_COLORS = 256


def to_palette(image: Image.Image) -> Image.Image:
    """Return an image of mode P with at most 256 colors, one of them transparent if any pixel is.

    The colors are exact if there are few enough, else the nearest ones, dithered. A pixel that is less
    than half opaque becomes transparent, and any other one opaque.

    Args:
        image: An image of mode L, LA, RGB or RGBA.
    """
    array = np.asarray(image.convert("RGBA"))
    visible = array[..., 3] >= 128
    colors = array[..., :3][visible]
    has_transparent = not visible.all()
    available = _PALETTE_COLORS - has_transparent
    out = np.full(visible.shape, available if has_transparent else 0, np.uint8)
    codes = (colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)).astype(np.uint32)
    distinct, indices = np.unique(codes, return_inverse=True)
    if len(distinct) <= available:
        palette = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1)
        out[visible] = indices
    else:
        best = Image.fromarray(colors[None]).quantize(available, Image.Quantize.MEDIANCUT)
        dithered = image.convert("RGB").quantize(palette=best, dither=Image.Dither.FLOYDSTEINBERG)
        palette = np.frombuffer(bytes(best.getpalette() or []), np.uint8).reshape(-1, 3)[:available]
        out[visible] = np.minimum(np.asarray(dithered), available - 1)[visible]
    flat = np.zeros((_PALETTE_COLORS, 3), np.uint8)
    flat[: len(palette)] = palette
    result = Image.frombytes("P", image.size, out.tobytes())
    result.putpalette(flat.tobytes())
    if has_transparent:
        result.info["transparency"] = available
    return result
