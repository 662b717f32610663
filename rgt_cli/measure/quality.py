"""PSNR on luma, and MATLAB's bicubic `imresize`: the two conventions that published scores rest on."""

import numpy as np


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = -0.5 (Keys, 1981)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _resize_rows(image: np.ndarray, rows: int, scale: float) -> np.ndarray:
    """Resize axis 0 of an image of 0..255 to `rows`; the result is rounded and clipped."""
    size = image.shape[0]
    stretch = min(scale, 1.0)  # shrinking widens the kernel, so that it filters as well
    centers = (np.arange(rows) + 0.5) / scale - 0.5
    taps = int(np.ceil(4 / stretch)) + 2
    first = np.floor(centers - 2 / stretch).astype(int)
    positions = first[:, None] + np.arange(taps)
    weights = _cubic((centers[:, None] - positions) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = positions % (2 * size)
    mirrored = np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)
    out = np.zeros((rows, *image.shape[1:]))
    for tap in range(taps):
        weight = weights[:, tap].reshape(-1, *[1] * (image.ndim - 1))
        out += weight * image[mirrored[:, tap]]
    return np.clip(np.floor(out + 0.5), 0, 255)


def bicubic_resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize as MATLAB's `imresize(image, scale, "bicubic")` does, bit for bit when shrinking Set5.

    Args:
        image: (H, W) or (H, W, C), uint8.
        scale: the factor, e.g. 1/4 or 4; the sides become ceil(side * scale).

    Returns:
        uint8, of as many dimensions as `image`. Rows first, rounded and clipped, then columns.
    """
    height, width = (int(np.ceil(side * scale - 1e-9)) for side in image.shape[:2])
    tall = _resize_rows(image.astype(np.float64), height, scale)
    return _resize_rows(tall.swapaxes(0, 1), width, scale).swapaxes(0, 1).astype(np.uint8)


def luma(image: np.ndarray) -> np.ndarray:
    """The Y of YCbCr (ITU-R BT.601, 16..235) of (H, W) gray or (H, W, 3) RGB values of 0..255."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal arrays.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def psnr_luma(a: np.ndarray, b: np.ndarray, border: int) -> float:
    """PSNR in dB on luma, leaving out `border` pixels at every edge: what SR papers report.

    Args:
        a, b: (H, W) or (H, W, 3), values of 0..255.
        border: by convention the scale factor.
    """
    crop = slice(border, -border or None)
    return psnr(luma(a)[crop, crop], luma(b)[crop, crop])
