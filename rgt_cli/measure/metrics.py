"""PSNR and SSIM on luma, and MATLAB's bicubic `imresize`, on which published scores are based."""

import io

import numpy as np
from PIL import Image

SSIM_WINDOW = 11
"""Side of the window of SSIM, in pixels."""


def _cubic(x: np.ndarray) -> np.ndarray:
    """Return the cubic convolution kernel with a = -0.5 (Keys, 1981)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _resize_rows(image: np.ndarray, rows: int, scale: float) -> np.ndarray:
    """Resize axis 0 of an image of 0..255 to `rows`, and round and clip the result."""
    size = image.shape[0]
    stretch = min(scale, 1.0)  # downscaling widens the kernel, so that it filters as well
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
    """Resize as MATLAB's `imresize(image, scale, "bicubic")` does; equal to it for the inputs of Set5.

    Args:
        image: (H, W) or (H, W, C), uint8.
        scale: The factor, for example 1/4 or 4. The sides become ceil(side * scale).

    Returns:
        uint8, with as many dimensions as `image`. Rows are resized first, rounded and clipped, then
        columns.
    """
    height, width = (int(np.ceil(side * scale - 1e-9)) for side in image.shape[:2])
    tall = _resize_rows(image.astype(np.float64), height, scale)
    return _resize_rows(tall.swapaxes(0, 1), width, scale).swapaxes(0, 1).astype(np.uint8)


def jpeg_roundtrip(image: np.ndarray, quality: int, subsampling: str = "4:2:0") -> np.ndarray:
    """Compress an image as JPEG, and decode it again.

    Args:
        image: (H, W) or (H, W, 3), uint8.
        quality: 1..100, on the scale of libjpeg.
        subsampling: Of the chroma planes, "4:2:0" or "4:4:4".

    Returns:
        The same shape and dtype.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as opened:
        return np.asarray(opened)


def luma(image: np.ndarray) -> np.ndarray:
    """Return the Y of YCbCr (ITU-R BT.601, 16..235) of an image.

    Args:
        image: (H, W) gray or (H, W, 3) RGB, values of 0..255.

    Returns:
        (H, W) float64.
    """
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    y: np.ndarray = image.astype(np.float64) @ weights + 16
    return y


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal arrays.

    Raises:
        ValueError: The shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def psnr_luma(a: np.ndarray, b: np.ndarray, border: int) -> float:
    """Return the PSNR in dB on luma without `border` pixels at each edge, as papers report it.

    Args:
        a, b: (H, W) or (H, W, 3), values of 0..255.
        border: By convention, the upscaling factor.
    """
    crop = slice(border, -border or None)
    return psnr(luma(a)[crop, crop], luma(b)[crop, crop])


def ssim(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    """Return the structural similarity of two planes, 0..1, for Gaussian windows of 11 x 11, sigma 1.5.

    Only windows inside the image count, as in the code of Wang et al. (2004).

    Args:
        a, b: (H, W), values of 0..`peak`.

    Raises:
        ValueError: The shapes differ, or a side is below 11.
    """
    if a.shape != b.shape or min(a.shape) < SSIM_WINDOW:
        raise ValueError(f"shapes differ or are too small: {a.shape} and {b.shape}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x = _blurred(x * x) - mean_x**2
    variance_y = _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(np.mean(numerator / denominator))


def _blurred(plane: np.ndarray) -> np.ndarray:
    """Return the Gaussian means of all windows inside a plane."""
    weights = np.exp(-((np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    for axis in (0, 1):
        size = plane.shape[axis] - SSIM_WINDOW + 1
        blurred = np.zeros_like(np.take(plane, range(size), axis))
        for start, weight in enumerate(weights):
            blurred += weight * np.take(plane, range(start, start + size), axis)
        plane = blurred
    return plane
