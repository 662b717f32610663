"""The metadata of an upscaled image: updated, without the place, or removed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from rgt_cli.media.color import pixels_to_srgb
from rgt_cli.media.exif import add_thumbnail, exif_dpi, filter_exif, strip_exif_gps, update_exif
from rgt_cli.media.iptc import strip_photoshop_gps
from rgt_cli.media.location import has_coordinates
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.media.png_metadata import strip_png_gps
from rgt_cli.media.profiles import png_profile
from rgt_cli.media.xmp import strip_xmp_gps, update_xmp
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)


def with_exif(metadata: Metadata, exif: Image.Exif | None, warn: Callable[[str], None]) -> Metadata:
    """Return metadata with the EXIF that remains valid after the orientation has been applied.

    Args:
        metadata: The metadata without EXIF.
        exif: What was read; None if there is none.
        warn: Called if it is damaged and left out.
    """
    if exif is None:
        return metadata
    try:
        if metadata.dpi is None:
            metadata = replace(metadata, dpi=exif_dpi(exif))
        retained, has_thumbnail = filter_exif(exif)
    except Exception:  # opening it parsed only the first directory
        warn("the EXIF is damaged and is left out")
        return metadata
    return replace(metadata, exif=retained, has_thumbnail=has_thumbnail)


def update_metadata(picture: Picture, metadata: Metadata, size: Dimensions | None = None) -> Metadata:
    """Return the metadata of an image with the sizes, resolution and thumbnail of its upscaled version.

    Args:
        picture: The upscaled image, or a smaller copy of it.
        metadata: The metadata of the input, with the resolution of the output.
        size: The size of the upscaled image; None if it is that of `picture`.
    """
    size = size or picture.size
    exif, xmp = metadata.exif, metadata.xmp
    if exif:
        exif = update_exif(exif, size, metadata.dpi)
        if metadata.has_thumbnail:
            exif = add_thumbnail(exif, picture.with_bits(8).pixels)
    if xmp:
        xmp = update_xmp(xmp, size)
    return replace(metadata, exif=exif, xmp=xmp)


def strip_gps(metadata: Metadata) -> Metadata:
    """Return the metadata without the place where the image was taken.

    Positions and places are removed from EXIF, XMP, IPTC, comments and the text chunks of a PNG.
    Metadata that may contain a place and cannot be read, such as maker notes or damaged XMP, is removed
    as a whole.
    Descriptions and keywords are kept, unless they contain coordinates.
    """
    xmp = strip_xmp_gps(metadata.xmp) if metadata.xmp else None
    if metadata.xmp and not xmp:
        logger.info("XMP is left out, since it cannot be parsed")
    comment = metadata.comment
    if comment and has_coordinates(comment.decode("utf-8", "replace")):
        comment = None
    return replace(
        metadata,
        exif=strip_exif_gps(metadata.exif) if metadata.exif else None,
        xmp=xmp,
        iptc=strip_photoshop_gps(metadata.iptc) if metadata.iptc else None,
        png=strip_png_gps(metadata.png),
        comment=comment,
    )


def strip_metadata(picture: Picture) -> Picture:
    """Return the pixels of an image in sRGB, without any metadata.

    Pixels of 16 bits retain their ICC profile, since they cannot be converted without loss.
    """
    metadata = picture.metadata
    icc = metadata.icc or png_profile(metadata.png, has_color=picture.pixels.ndim == 3)
    if icc is None or picture.bits == 16:
        return replace(picture, metadata=Metadata(icc=icc))
    try:
        converted = pixels_to_srgb(picture.pixels, icc)
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, which no program could apply
        return replace(picture, metadata=Metadata())
    if picture.pixels.ndim == 2 and (converted == converted[..., :1]).all():
        converted = converted[..., 0]  # gray stays gray
    return replace(picture, pixels=np.ascontiguousarray(converted), metadata=Metadata())
