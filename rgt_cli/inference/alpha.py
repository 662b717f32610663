"""Upscale transparency: no fringes from hidden colors, and edges as sharp as the rest of the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rgt_cli.inference.resize import lanczos
from rgt_cli.size import Dimensions

Upscale = Callable[[np.ndarray], np.ndarray]
"""Upscales (H, W) or (H, W, C) to the same number of dimensions and the same dtype."""

_REACH = 2
"""The alpha of an upscaled pixel is bounded by that of input pixels up to this far away."""


def upscale_with_alpha(
    pixels: np.ndarray, alpha: np.ndarray, upscale: Upscale, by_network: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Upscale colors and transparency.

    Args:
        pixels: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1, not premultiplied.
        alpha: (H, W) of the same dtype; 0 is transparent.
        upscale: Upscales one image.
        by_network: Upscale alpha by `upscale`, as a gray image; otherwise by Lanczos.

    Returns:
        The upscaled pixels and alpha. Alpha that is the same everywhere is not computed.
    """
    opaque = 1 if np.issubdtype(alpha.dtype, np.floating) else np.iinfo(alpha.dtype).max
    colors = upscale(pixels if (alpha == opaque).all() else bleed_colors(pixels, alpha))
    height, width = colors.shape[:2]
    if alpha.min() == alpha.max():
        return colors, np.full((height, width), alpha.flat[0])
    upscaled = upscale(alpha) if by_network else lanczos(alpha, Dimensions(width, height))
    return colors, clamp_to_neighbors(upscaled, alpha)


def bleed_colors(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give fully transparent pixels the colors of visible pixels nearby.

    The colors hidden there, often black or white, would otherwise show at upscaled edges. Each hidden
    pixel gets the mean, weighted by alpha, of the smallest cell of a pyramid of averages that has a
    visible pixel in it.

    Args:
        pixels: (H, W) or (H, W, C).
        alpha: (H, W); 0 is transparent.
    """
    visible = alpha > 0
    if visible.all() or not visible.any():
        return pixels
    planes = pixels if pixels.ndim == 3 else pixels[..., None]
    filled = _filled(planes.astype(np.float32), alpha.astype(np.float32))
    if not np.issubdtype(pixels.dtype, np.floating):
        filled = np.rint(filled)
    out = np.where(visible[..., None], planes, filled.astype(pixels.dtype))
    return out if pixels.ndim == 3 else out[..., 0]


def _filled(colors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Replace the (H, W, C) colors whose (H, W) weight is 0 by those of the next coarser average."""
    hidden = weights == 0
    if not hidden.any():
        return colors
    odd = [(0, side % 2) for side in weights.shape]
    w = np.pad(weights, odd)
    sums = np.pad(colors, [*odd, (0, 0)]) * w[..., None]
    w, sums = (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2] for a in (w, sums))
    coarse = _filled(sums / np.maximum(w, 1e-9)[..., None], w)
    spread = coarse.repeat(2, 0).repeat(2, 1)[: weights.shape[0], : weights.shape[1]]
    return np.where(hidden[..., None], spread, colors)


def clamp_to_neighbors(upscaled: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Clip upscaled alpha between the least and the greatest of its neighbors in the input.

    This removes ringing, and pixels amid opaque or transparent ones become exactly opaque or
    transparent.

    Args:
        upscaled: (s * H, s * W).
        alpha: (H, W), the input.
    """
    scale = upscaled.shape[0] / alpha.shape[0], upscaled.shape[1] / alpha.shape[1]
    rows, columns = (
        np.minimum((np.arange(large) + 0.5) / s, small - 1).astype(np.intp)
        for large, s, small in zip(upscaled.shape, scale, alpha.shape, strict=True)
    )
    least, greatest = _extreme(alpha, np.minimum), _extreme(alpha, np.maximum)
    grid = np.ix_(rows, columns)
    clipped: np.ndarray = np.clip(upscaled, least[grid], greatest[grid])
    return clipped


def _extreme(alpha: np.ndarray, function: np.ufunc) -> np.ndarray:
    """Return the least (`np.minimum`) or the greatest (`np.maximum`) in the square around each pixel."""
    for axis in (0, 1):
        padded = np.pad(alpha, [(_REACH, _REACH) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1, axis=axis)
        alpha = np.asarray(function.reduce(windows, axis=-1))
    return alpha
