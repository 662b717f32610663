"""What happens to photos on their way through the web, for the training of `rgt-tiny-photo`."""

import numpy as np
from PIL import Image, ImageFilter
from PIL.Image import Resampling

from rgt_cli.measure import jpeg_roundtrip

CLEAN = 0.25
"""The share of pictures that are only reduced, so that the network keeps what is clean as it is."""
KERNELS = (
    Resampling.BICUBIC,
    Resampling.BICUBIC,
    Resampling.LANCZOS,
    Resampling.BILINEAR,
    Resampling.BOX,
)


def degraded(high: np.ndarray, scale: int, random: np.random.Generator) -> np.ndarray:
    """Reduce (H, W, 3) uint8 by `scale`: mild blur, other resampling, noise and JPEG, each by chance."""
    picture = Image.fromarray(high)
    size = (picture.width // scale, picture.height // scale)
    if random.random() < CLEAN:
        return np.asarray(picture.resize(size, Resampling.BICUBIC))
    if random.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 0.35) * scale))
    if random.random() < 0.2:
        between = random.uniform(1, scale)
        picture = picture.resize((round(size[0] * between), round(size[1] * between)), _kernel(random))
    low = np.asarray(picture.resize(size, _kernel(random)))
    if random.random() < 0.25:
        low = _noisy(low, random)
    if random.random() < 0.85:
        low = jpeg_roundtrip(low, int(random.integers(40, 96)), str(random.choice(["4:4:4", "4:2:0"])))
    return low


def _kernel(random: np.random.Generator) -> Resampling:
    return KERNELS[int(random.integers(len(KERNELS)))]


def _noisy(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of up to 6 code values, of brightness alone or of every channel."""
    channels = int(random.choice([1, 3]))
    noise = random.normal(0, random.uniform(1, 6), (*pixels.shape[:2], channels))
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
