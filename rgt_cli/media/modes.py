"""The modes of PIL images: convert any of them to gray or RGB, with or without alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from rgt_cli.errors import InputError
from rgt_cli.media.color import lab_to_srgb, space_of, srgb_profile, to_srgb
from rgt_cli.media.picture import Metadata

Warn = Callable[[str], None]
"""Called with what is left out or changed."""

UPRIGHT_DECODERS = ("HEIF", "JXL")
"""Formats, as Pillow calls them, whose decoders apply the orientation."""
_MODES = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA",
    "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "RGBA": "RGBA", "RGBa": "RGBA",
}  # fmt: skip
"""Mode of the image -> mode of the result; transparency, such as that of a palette, adds an A."""


def has_color(image: Image.Image) -> bool:
    """Return whether the mode of an image has color."""
    return image.mode not in ("1", "L", "LA", "La", "I", "F") and not image.mode.startswith("I;16")


def split_alpha(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the colors, (H, W) or (H, W, 3), and the alpha, (H, W), of mode L, LA, RGB or RGBA."""
    array = np.asarray(image)
    if not image.mode.endswith("A"):
        return array, None
    return array[..., :-1] if image.mode == "RGBA" else array[..., 0], array[..., -1]


def gray_or_rgb(image: Image.Image, metadata: Metadata, warn: Warn) -> tuple[Image.Image, Metadata]:
    """Return an image of mode L, LA, RGB or RGBA, and the metadata that suits it.

    Raises:
        InputError: The mode is not supported.
    """
    if image.mode in ("CMYK", "LAB"):
        return _converted(image, metadata, warn)
    metadata = usable_icc(metadata, has_color(image), warn)
    wanted = _MODES.get(image.mode)
    if wanted is None:
        raise InputError(f"images of mode {image.mode} are not supported")
    if "transparency" in image.info and not wanted.endswith("A"):
        wanted += "A"
    return (image if image.mode == wanted else image.convert(wanted)), metadata


def usable_icc(metadata: Metadata, has_color: bool, warn: Warn) -> Metadata:
    """Return the metadata without an ICC profile that is damaged, or for another color space."""
    if metadata.icc is None:
        return metadata
    space = space_of(metadata.icc)
    if space == "RGB" or (space == "GRAY" and not has_color):
        return metadata
    flaw = "is damaged" if space is None else f"is for {space}"
    warn(f"the ICC profile {flaw} and is left out")
    return replace(metadata, icc=None)


def _converted(image: Image.Image, metadata: Metadata, warn: Warn) -> tuple[Image.Image, Metadata]:
    """Convert CMYK or Lab to sRGB."""
    warn(f"{image.mode} is converted to sRGB")
    try:
        if image.mode == "LAB":
            converted = lab_to_srgb(image)
        elif metadata.icc and space_of(metadata.icc) == "CMYK":
            converted = to_srgb(image, metadata.icc)
        else:
            return image.convert("RGB"), replace(metadata, icc=None)
    except (ImageCms.PyCMSError, OSError):
        warn("the ICC profile is damaged and is left out")
        return image.convert("RGB"), replace(metadata, icc=None)
    return converted, replace(metadata, icc=srgb_profile())
