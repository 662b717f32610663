"""Pictures with transparency: no fringe of what lies hidden under it, and edges as sharp as the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rgt_cli.inference.resize import lanczos

Enlarge = Callable[[np.ndarray], np.ndarray]
"""(H, W) or (H, W, C) -> the same, larger, of the same dtype."""

_REACH = 2
"""Pixels of the source whose alpha bounds that of an enlarged pixel."""


def upscale_with_alpha(
    pixels: np.ndarray, alpha: np.ndarray, enlarge: Enlarge, by_network: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge colors and transparency.

    Args:
        pixels: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1, not premultiplied.
        alpha: (H, W), of the same dtype; 0 is transparent.
        by_network: enlarge alpha as `enlarge` does a gray picture, or by Lanczos.

    Returns:
        The same two, enlarged. Alpha that is one value costs nothing.
    """
    opaque = 1 if np.issubdtype(alpha.dtype, np.floating) else np.iinfo(alpha.dtype).max
    shown = pixels if (alpha == opaque).all() else bleed_colors(pixels, alpha)
    colors = enlarge(shown)
    height, width = colors.shape[:2]
    if alpha.min() == alpha.max():
        return colors, np.full((height, width), alpha.flat[0])
    larger = enlarge(alpha) if by_network else lanczos(alpha, height, width)
    return colors, clamp_to_neighbors(larger, alpha)


def bleed_colors(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give fully transparent pixels the colors of the visible ones nearby.

    What is hidden there, often black or white, would show at the edges once it is enlarged. Each
    hidden pixel takes the mean, weighted by alpha, of the smallest cell of a pyramid of averages that
    has something visible in it.
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
    """(H, W, C) colors with those of no weight, (H, W), replaced."""
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


def clamp_to_neighbors(enlarged: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Hold (sH, sW) alpha between the least and the greatest of its neighbors in the source, (H, W).

    So there is no ringing, and what was opaque or transparent all around is so to the last bit.
    """
    scale = enlarged.shape[0] / alpha.shape[0], enlarged.shape[1] / alpha.shape[1]
    rows, columns = (
        np.minimum((np.arange(large) + 0.5) / s, small - 1).astype(np.intp)
        for large, s, small in zip(enlarged.shape, scale, alpha.shape, strict=True)
    )
    least, greatest = _extreme(alpha, np.minimum), _extreme(alpha, np.maximum)
    grid = np.ix_(rows, columns)
    return np.clip(enlarged, least[grid], greatest[grid])


def _extreme(alpha: np.ndarray, which: np.ufunc) -> np.ndarray:
    """The least or the greatest in the square around each pixel."""
    for axis in (0, 1):
        padded = np.pad(alpha, [(_REACH, _REACH) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1, axis=axis)
        alpha = which.reduce(windows, axis=-1)
    return alpha
