"""Sizes between the factors of networks: Lanczos, down, in linear light."""

from __future__ import annotations

import numpy as np
from PIL import Image


def lanczos(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by Lanczos with 3 lobes, the numbers as they are.

    Args:
        image: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1.

    Returns:
        (height, width) or (height, width, C) of the same dtype.
    """
    return _by_plane(image, height, width, lambda x: x, lambda x: x)


def shrink(image: np.ndarray, height: int, width: int, alpha: np.ndarray | None = None) -> np.ndarray:
    """Resize colors by Lanczos in linear light, as if less of the same light were measured.

    In the numbers as they are, fine light lines on dark ground would lose their brightness. The
    transfer curve is that of sRGB, which those of other photographic profiles come near to.

    Args:
        image: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1.
        alpha: (H, W), of the same dtype, where the picture has any: colors count by how much of
            them is seen.
    """
    if image.shape[:2] == (height, width):
        return image
    if alpha is None:
        return _by_plane(image, height, width, _to_linear, _from_linear)
    weights = np.maximum(_normalized(alpha), 1e-4)
    total = _resized(weights, height, width)

    def weighted(plane: np.ndarray) -> np.ndarray:
        return _to_linear(plane) * weights

    def unweighted(plane: np.ndarray) -> np.ndarray:
        return _from_linear(plane / np.maximum(total, 1e-4))

    return _by_plane(image, height, width, weighted, unweighted)


def _by_plane(image: np.ndarray, height: int, width: int, before, after) -> np.ndarray:  # type: ignore[no-untyped-def]
    floating = np.issubdtype(image.dtype, np.floating)
    largest = 1 if floating else np.iinfo(image.dtype).max
    planes = image if image.ndim == 3 else image[..., None]
    out = np.empty((height, width, planes.shape[2]), np.float32 if floating else image.dtype)
    for index in range(planes.shape[2]):
        plane = after(_resized(before(_normalized(planes[..., index])), height, width))
        scaled = np.clip(plane, 0, 1) * largest  # it overshoots at edges
        out[..., index] = scaled if floating else np.rint(scaled)
    return out if image.ndim == 3 else out[..., 0]


def _normalized(plane: np.ndarray) -> np.ndarray:
    if np.issubdtype(plane.dtype, np.floating):
        return plane.astype(np.float32)
    return plane.astype(np.float32) / np.float32(np.iinfo(plane.dtype).max)


def _resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def _to_linear(x: np.ndarray) -> np.ndarray:
    """The light of sRGB values (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4)


def _from_linear(x: np.ndarray) -> np.ndarray:
    """The sRGB values of light."""
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 0.0031308) ** (1 / 2.4) - 0.055)
