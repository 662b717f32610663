"""Resize to sizes between the factors of networks: Lanczos in linear light."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from rgt_cli.size import Dimensions

PlaneFunction = Callable[[np.ndarray], np.ndarray]
"""(H, W) float32 of 0..1 -> the same shape."""


def lanczos(image: np.ndarray, size: Dimensions) -> np.ndarray:
    """Resize by Lanczos with 3 lobes, in the values as they are.

    Args:
        image: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1.
        size: The size of the result.

    Returns:
        The same number of dimensions and dtype; floating point becomes float32. An image that has
        this size already is returned as it is.
    """
    return _by_plane(image, size, lambda plane: plane, lambda plane: plane)


def shrink(image: np.ndarray, size: Dimensions, alpha: np.ndarray | None = None) -> np.ndarray:
    """Resize colors by Lanczos in linear light, as a sensor with fewer pixels would measure them.

    Resized in their encoded values, thin light lines on dark ground would lose brightness. The transfer
    curve is that of sRGB, which the curves of other photographic profiles resemble.

    Args:
        image: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1.
        size: The size of the result.
        alpha: (H, W) of the same dtype, if the image has transparency: each color is weighted by it.

    Returns:
        As `lanczos`.
    """
    if alpha is None:
        return _by_plane(image, size, _to_linear, _from_linear)
    weights = np.maximum(_normalized(alpha), 1e-4)
    total = np.maximum(_resized(weights, size), 1e-4)
    return _by_plane(
        image,
        size,
        lambda plane: _to_linear(plane) * weights,
        lambda plane: _from_linear(plane / total),
    )


def _by_plane(
    image: np.ndarray, size: Dimensions, before: PlaneFunction, after: PlaneFunction
) -> np.ndarray:
    """Resize each channel, between the functions `before` and `after`."""
    if image.shape[:2] == (size.height, size.width):
        return image
    floating = np.issubdtype(image.dtype, np.floating)
    largest = 1 if floating else np.iinfo(image.dtype).max
    planes = image if image.ndim == 3 else image[..., None]
    out = np.empty((size.height, size.width, planes.shape[2]), np.float32 if floating else image.dtype)
    for index in range(planes.shape[2]):
        plane = after(_resized(before(_normalized(planes[..., index])), size))
        scaled = np.clip(plane, 0, 1) * largest  # Lanczos overshoots at edges
        out[..., index] = scaled if floating else np.rint(scaled)
    return out if image.ndim == 3 else out[..., 0]


def _normalized(plane: np.ndarray) -> np.ndarray:
    """Return a plane as float32 of 0..1."""
    if np.issubdtype(plane.dtype, np.floating):
        return plane.astype(np.float32)
    return plane.astype(np.float32) / np.float32(np.iinfo(plane.dtype).max)


def _resized(plane: np.ndarray, size: Dimensions) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _to_linear(x: np.ndarray) -> np.ndarray:
    """Return the linear light of sRGB values (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4)


def _from_linear(x: np.ndarray) -> np.ndarray:
    """Return the sRGB values of linear light (IEC 61966-2-1)."""
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 0.0031308) ** (1 / 2.4) - 0.055)
