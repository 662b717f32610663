"""PSNR and SSIM on luma, and MATLAB's bicubic `imresize`: what published scores rest on."""

import io

import numpy as np
from PIL import Image


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


def jpeg_roundtrip(image: np.ndarray, quality: int, subsampling: str = "4:2:0") -> np.ndarray:
    """What comes back out of a JPEG.

    Args:
        image: (H, W) or (H, W, 3), uint8.
        quality: 1..100, as libjpeg counts it.
        subsampling: of the colors, "4:2:0" or "4:4:4".
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as opened:
        return np.asarray(opened)


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


def ssim(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """Structural similarity of two planes, in 0..1, with a Gaussian window of 11 x 11 and sigma 1.5.

    Only windows that lie within the picture count, as in the code of Wang et al. (2004).

    Args:
        a, b: (H, W), values of 0..`peak`.

    Raises:
        ValueError: the shapes differ, or a side is below 11.
    """
    if a.shape != b.shape or min(a.shape) < _WINDOW:
        raise ValueError(f"shapes differ or are too small: {a.shape} and {b.shape}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    of_x = _blurred(x * x) - mean_x**2
    of_y = _blurred(y * y) - mean_y**2
    of_both = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * of_both + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (of_x + of_y + c2)
    return float(np.mean(above / below))


_WINDOW = 11


def _blurred(plane: np.ndarray) -> np.ndarray:
    """The means of all windows within a plane, weighed by a Gaussian."""
    weights = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    for axis in (0, 1):
        size = plane.shape[axis] - _WINDOW + 1
        parts = (np.take(plane, range(at, at + size), axis) for at in range(_WINDOW))
        plane = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    return plane
