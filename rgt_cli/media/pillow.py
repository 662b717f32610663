"""PIL images in memory: convert one of any mode, with its metadata, to a `Picture` and back."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media.exif import orientation_of, plausible_dpi, read_exif
from rgt_cli.media.metadata import with_exif
from rgt_cli.media.modes import UPRIGHT_DECODERS, Warn, gray_or_rgb, has_color, split_alpha, usable_icc
from rgt_cli.media.picture import Metadata, Picture


def from_pillow(image: Image.Image, warn: Warn) -> Picture:
    """Return an image of Pillow, upright, with its metadata; of an animation, the current frame.

    Args:
        image: An image of any mode. Mode I contains 16 bits, and F floating point, whose `Picture` has
            float32 pixels.
        warn: Called with what is left out or changed.

    Raises:
        InputError: The image has no pixels, cannot be decoded, or has values that do not fit into 16
            bits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn about what is reported here
        return _from_pillow(image, warn)


def _from_pillow(image: Image.Image, warn: Warn) -> Picture:
    if 0 in image.size:
        raise InputError("an image without pixels is not supported")
    exif = _exif_of(image, warn)
    try:
        image.load()
    except Exception as error:  # damaged files can make decoders raise anything
        raise InputError(f"damaged image: {' '.join(str(error).split())}") from error
    metadata = _metadata_of(image, exif, warn)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        metadata = usable_icc(metadata, has_color(image), warn)
        pixels, alpha = _single_channel(image), None
        if image.mode == "F":  # thumbnails have 8 bits
            metadata = replace(metadata, has_thumbnail=False)
    else:
        converted, metadata = gray_or_rgb(image, metadata, warn)
        pixels, alpha = split_alpha(converted)
    orientation = 1 if exif is None or image.format in UPRIGHT_DECODERS else orientation_of(exif)
    return Picture(pixels, alpha, metadata).upright(orientation)


def _single_channel(image: Image.Image) -> np.ndarray:
    """Return the pixels of mode I or I;16 as (H, W) uint16, and those of F as float32."""
    array = np.asarray(image)
    if image.mode == "I" and (array.min() < 0 or array.max() > 65535):
        raise InputError(
            f"an image of mode I with values of {array.min()} to {array.max()} is not supported: "
            "use values of 0 to 65535"
        )
    return array if image.mode == "F" else array.astype(np.uint16)


def _exif_of(image: Image.Image, warn: Warn) -> Image.Exif | None:
    try:
        return read_exif(image)
    except Exception:  # Pillow parses it in Python: damaged data can raise anything
        warn("the EXIF is damaged and is left out")
        return None


def _metadata_of(image: Image.Image, exif: Image.Exif | None, warn: Warn) -> Metadata:
    """Return the metadata of an image, with its ICC profile unchecked."""
    info = image.info
    xmp, comment = info.get("xmp"), info.get("comment")
    metadata = Metadata(
        icc=info.get("icc_profile") or None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        dpi=plausible_dpi(info.get("dpi")),
        comment=comment if isinstance(comment, bytes) else None,
    )
    return with_exif(metadata, exif, warn)


def to_pillow(picture: Picture) -> Image.Image:
    """Return an image of Pillow with the pixels of a `Picture`, and its metadata in `info`.

    Returns:
        Mode L, LA, RGB or RGBA; I;16 for gray of 16 bits without alpha, and F for floating point. Other
        images of 16 bits get 8, since Pillow has no mode for them.
    """
    is_gray = picture.pixels.ndim == 2 and picture.alpha is None
    if picture.pixels.dtype == np.uint16 and not is_gray:
        picture = picture.with_bits(8)
    image = Image.fromarray(picture.channels())
    metadata = picture.metadata
    entries = {
        "icc_profile": metadata.icc,
        "exif": metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi,
        "comment": metadata.comment,
    }
    image.info |= {name: value for name, value in entries.items() if value is not None}
    return image
