"""EXIF and XMP: what of them stays true of an enlarged picture, and bringing the rest up to date."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from rgt_cli.media.color import pixels_to_srgb
from rgt_cli.media.picture import Metadata, Picture

_Base = ExifTags.Base
_ABOUT_THE_PICTURE = {
    _Base.ImageDescription, _Base.DocumentName, _Base.Make, _Base.Model, _Base.Software, _Base.DateTime,
    _Base.HostComputer, _Base.Artist, _Base.Copyright, _Base.Rating, _Base.RatingPercent, _Base.XPTitle,
    _Base.XPComment, _Base.XPAuthor, _Base.XPKeywords, _Base.XPSubject,
    _Base.XResolution, _Base.YResolution, _Base.ResolutionUnit, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo,
}  # fmt: skip
"""What of the first directory of EXIF says what is seen; the rest is how the file was laid out."""
_GROUPS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
"""Directories inside of the first."""
_THUMBNAIL_SIDE = 160
"""Pixels of its longer side, as EXIF recommends."""
_XMP_SIZES = {
    b"tiff:ImageWidth": 0, b"tiff:ImageLength": 1,
    b"exif:PixelXDimension": 0, b"exif:PixelYDimension": 1,
}  # fmt: skip


def orientation_of(exif: Image.Exif) -> int:
    """How the stored picture is turned and mirrored, 1..8 as EXIF counts; 1 is upright."""
    orientation = exif.get(_Base.Orientation, 1)
    return orientation if orientation in range(2, 9) else 1


def filter_exif(exif: Image.Exif) -> tuple[bytes | None, bool]:
    """What of EXIF goes on, as a picture whose orientation has been applied.

    Returns:
        The EXIF, or None if nothing is left, and whether it had a thumbnail, which is not in it.
    """
    kept = Image.Exif()  # or it would go on in the layout of its file, be it a BigTIFF
    for tag in _ABOUT_THE_PICTURE.intersection(exif):
        if tag in _GROUPS:
            kept.get_ifd(tag).update({k: _as_stored(v) for k, v in exif.get_ifd(tag).items()})
        else:
            kept[tag] = _as_stored(exif[tag])
    exif_bytes = kept.tobytes()
    return (exif_bytes if len(_loaded(exif_bytes)) else None), bool(exif.get_ifd(ExifTags.IFD.IFD1))


def update_metadata(
    picture: Picture, metadata: Metadata, size: tuple[int, int] | None = None
) -> Metadata:
    """The metadata of an enlarged picture, from that of its source: sizes, resolution, thumbnail.

    Args:
        size: its width and height in pixels, where `picture` is a smaller copy of it.
    """
    exif, xmp = metadata.exif, metadata.xmp
    size = size or picture.size
    if exif:
        exif = _with_sizes(exif, size, metadata.dpi)
        if metadata.has_thumbnail:
            exif = _with_thumbnail(exif, picture)
    if xmp:
        for name, axis in _XMP_SIZES.items():
            xmp = _with_xmp(xmp, name, str(size[axis]).encode())
        xmp = _with_xmp(xmp, b"tiff:Orientation", b"1")
    return replace(metadata, exif=exif, xmp=xmp)


def strip_gps(metadata: Metadata) -> Metadata:
    """The metadata without where the picture was taken."""
    exif, xmp = metadata.exif, metadata.xmp
    if exif:
        tags = _loaded(exif)
        if ExifTags.IFD.GPSInfo in tags:
            del tags[ExifTags.IFD.GPSInfo]
        exif = tags.tobytes()
    if xmp:
        xmp = re.sub(rb'\sexif:GPS\w+\s*=\s*("[^"]*"|\'[^\']*\')', b"", xmp)
        xmp = re.sub(rb"<(exif:GPS\w+)\b.*?(/>|</\1\s*>)", b"", xmp, flags=re.DOTALL)
    return replace(metadata, exif=exif, xmp=xmp)


def _loaded(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    for group in _GROUPS:
        if group in tags:
            directory = tags.get_ifd(group)
            directory.update({tag: _as_stored(value) for tag, value in directory.items()})
    for tag in set(tags).difference(_GROUPS):
        tags[tag] = _as_stored(tags[tag])
    return tags


def _as_stored(value: Any) -> Any:
    """A text that is not ASCII as its bytes: Pillow reads it as Latin-1 and cannot write that."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _with_sizes(exif: bytes, size: tuple[int, int], dpi: tuple[float, float] | None) -> bytes:
    tags = _loaded(exif)
    details = tags.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in tags else {}
    for tag, side in zip((_Base.ExifImageWidth, _Base.ExifImageHeight), size, strict=True):
        if tag in details:
            details[tag] = side
    if dpi and _Base.XResolution in tags:
        tags[_Base.XResolution], tags[_Base.YResolution] = dpi
        tags[_Base.ResolutionUnit] = 2  # inches
    return tags.tobytes()


def _with_thumbnail(exif: bytes, picture: Picture) -> bytes:
    """EXIF with a second directory that holds a small JPEG of the picture."""
    pixels = picture.with_bits(8).pixels
    step = max(1, max(picture.size) // (4 * _THUMBNAIL_SIDE))  # or a large one takes its time
    small = Image.fromarray(pixels[::step, ::step])
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=75)
    jpeg = encoded.getvalue()
    tiff = bytearray(exif.removeprefix(b"Exif\0\0"))
    tiff += b"\0" * (len(tiff) % 2)
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}L", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    struct.pack_into(f"{order}L", tiff, first + 2 + 12 * count, len(tiff))  # the next directory
    short, long = 3, 4  # types of TIFF
    start = len(tiff) + 2 + 3 * 12 + 4
    tiff += struct.pack(f"{order}H", 3)
    tiff += struct.pack(f"{order}HHLHH", _Base.Compression, short, 1, 6, 0)  # 6: JPEG
    tiff += struct.pack(f"{order}HHLL", _Base.JpegIFOffset, long, 1, start)
    tiff += struct.pack(f"{order}HHLL", _Base.JpegIFByteCount, long, 1, len(jpeg))
    return b"Exif\0\0" + bytes(tiff) + struct.pack(f"{order}L", 0) + jpeg


def _with_xmp(xmp: bytes, name: bytes, value: bytes) -> bytes:
    """Replace a simple property of XMP, be it an attribute or an element, where it is."""
    xmp = re.sub(rb'(\b%s\s*=\s*["\'])[^"\']*' % name, rb"\g<1>" + value, xmp)
    return re.sub(rb"(<%s\s*>)[^<]*" % name, rb"\g<1>" + value, xmp)


def exif_directories(exif: bytes) -> dict[int, Any]:
    """The tags of EXIF by number, with the two directories inside of it as dictionaries."""
    tags = _loaded(exif)
    return {tag: tags.get_ifd(tag) if tag in _GROUPS else value for tag, value in tags.items()}


def strip_metadata(picture: Picture) -> Picture:
    """The picture with nothing but its pixels, in sRGB.

    Pixels of 16 bits keep their ICC profile, since nothing at hand converts them without loss.
    """
    icc = picture.metadata.icc
    if icc is None or picture.bits == 16:
        return replace(picture, metadata=Metadata(icc=icc))
    try:
        converted = pixels_to_srgb(picture.pixels, icc)
    except (ImageCms.PyCMSError, OSError):  # damaged: nobody could apply it
        return replace(picture, metadata=Metadata())
    if picture.pixels.ndim == 2 and (converted == converted[..., :1]).all():
        converted = converted[..., 0]  # gray stays gray
    return replace(picture, pixels=np.ascontiguousarray(converted), metadata=Metadata())
