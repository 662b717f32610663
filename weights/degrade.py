"""Degrade images as photos on the web are degraded, to train `rgt-tiny-photo`."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter
from PIL.Image import Resampling

from rgt_cli.measure import jpeg_roundtrip

CLEAN_SHARE = 0.25
"""Share of images that are only downscaled, so that the network leaves clean images as they are."""
KERNELS = (
    Resampling.BICUBIC,
    Resampling.BICUBIC,
    Resampling.LANCZOS,
    Resampling.BILINEAR,
    Resampling.BOX,
)
"""Filters to choose from. Bicubic is the most frequent one."""


def degrade(high: np.ndarray, scale: int, random: np.random.Generator) -> np.ndarray:
    """Downscale an image and apply each degradation at random: blur, resampling, noise and JPEG.

    Args:
        high: (H, W, 3) uint8.
        scale: The factor to downscale by.
        random: The source of random numbers.

    Returns:
        (H // scale, W // scale, 3) uint8.
    """
    image = Image.fromarray(high)
    size = (image.width // scale, image.height // scale)
    if random.random() < CLEAN_SHARE:
        return np.asarray(image.resize(size, Resampling.BICUBIC))
    if random.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 0.35) * scale))
    if random.random() < 0.2:
        between = random.uniform(1, scale)
        image = image.resize((round(size[0] * between), round(size[1] * between)), _kernel(random))
    low = np.asarray(image.resize(size, _kernel(random)))
    if random.random() < 0.25:
        low = _add_noise(low, random)
    if random.random() < 0.85:
        low = jpeg_roundtrip(low, int(random.integers(40, 96)), str(random.choice(["4:4:4", "4:2:0"])))
    return low


def _kernel(random: np.random.Generator) -> Resampling:
    return KERNELS[int(random.integers(len(KERNELS)))]


def _add_noise(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of up to 6 code values, either to brightness or to each channel."""
    channels = int(random.choice([1, 3]))
    noise = random.normal(0, random.uniform(1, 6), (*pixels.shape[:2], channels))
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
