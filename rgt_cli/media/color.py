"""Convert pixels to sRGB from color spaces that a format or the network does not support."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms


@cache
def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def space_of(icc: bytes) -> str | None:
    """Return the color space of a profile, such as "RGB", "GRAY" or "CMYK"; None if it is damaged."""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError, AttributeError):
        return None


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert an image of mode L, RGB, CMYK or LAB to RGB, by its profile.

    Raises:
        PyCMSError, OSError: The profile is damaged, or of another color space.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(
        image, source, target, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )  # fmt: skip
    assert converted is not None  # which is only returned by conversions in place
    return converted


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image of mode LAB to RGB."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return to_srgb(image, lab.tobytes())


def pixels_to_srgb(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """Convert (H, W) gray or (H, W, 3) RGB uint8 to (H, W, 3) RGB uint8.

    Raises:
        PyCMSError, OSError: As `to_srgb`.
    """
    return np.asarray(to_srgb(Image.fromarray(pixels), icc))
