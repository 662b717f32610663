"""EXIF: which tags remain valid for an upscaled image, and how the others are updated or removed."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from rgt_cli.media.location import has_coordinates
from rgt_cli.size import Dimensions

_Base = ExifTags.Base
_IFD = ExifTags.IFD
_DESCRIPTIVE_TAGS = {
    _Base.ImageDescription, _Base.DocumentName, _Base.Make, _Base.Model, _Base.Software, _Base.DateTime,
    _Base.HostComputer, _Base.Artist, _Base.Copyright, _Base.Rating, _Base.RatingPercent, _Base.XPTitle,
    _Base.XPComment, _Base.XPAuthor, _Base.XPKeywords, _Base.XPSubject,
    _Base.XResolution, _Base.YResolution, _Base.ResolutionUnit, _IFD.Exif, _IFD.GPSInfo,
}  # fmt: skip
"""Tags of the first directory that describe the image; the others describe the layout of the file."""
_SUBDIRECTORIES = (_IFD.Exif, _IFD.GPSInfo)
_BYTE, ASCII, UNDEFINED = 1, 2, 7
_TYPES = {
    _IFD.Exif: {
        **dict.fromkeys(
            [
                0x8824, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292, 0xA004, 0xA420,
                *range(0xA430, 0xA432), *range(0xA433, 0xA43D),
            ],
            ASCII,
        ),
        **dict.fromkeys(
            [
                0x8828, 0x9000, 0x9101, 0x927C, 0x9286, 0xA000, 0xA20C, 0xA300, 0xA301, 0xA302, 0xA40B,
                0xA462,
            ],
            UNDEFINED,
        ),
    },
    _IFD.GPSInfo: {0x1B: UNDEFINED, 0x1C: UNDEFINED},
}  # fmt: skip
"""Subdirectory -> the types of tags that Pillow writes as numbers, which programs print as such."""
_THUMBNAIL_SIDE = 160
"""Length of the longer side of a thumbnail in pixels, as the EXIF standard recommends."""


def orientation_of(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1..8, where 1 is upright; 1 if it is missing or invalid."""
    orientation = exif.get(_Base.Orientation, 1)
    return orientation if orientation in range(2, 9) else 1


def read_exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF of an image. Call this before its pixels are decoded.

    Pillow adds the orientation in XMP if EXIF has none, and turns a TIFF by it. Programs that turn or
    crop an image often leave it there, and those that show images ignore it.
    """
    exif = image.getexif()
    if not (image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")):
        return exif
    stored = getattr(image, "tag_v2", None)
    if stored is None:
        stored = Image.Exif()
        stored.load(image.info.get("exif") or b"")
    if _Base.Orientation not in stored:
        exif.pop(_Base.Orientation, None)
    return exif


def filter_exif(exif: Image.Exif) -> tuple[bytes | None, bool]:
    """Return the tags that remain valid for an image after its orientation has been applied.

    Returns:
        The EXIF without a thumbnail, or None if nothing is left, and whether there was a thumbnail.
    """
    retained = Image.Exif()  # a new object, since the layout of the file may be that of a BigTIFF
    retained.endian = exif.endian  # on which comments in UTF-16 and maker notes depend
    for tag in _DESCRIPTIVE_TAGS.intersection(exif):
        if tag in _SUBDIRECTORIES:
            retained.get_ifd(tag).update(_directory(exif, tag))
        else:
            retained[tag] = _as_stored(exif[tag])
    exif_bytes = _encoded(retained)
    return (exif_bytes if len(_load(exif_bytes)) else None), bool(exif.get_ifd(_IFD.IFD1))


def exif_directories(exif: bytes) -> dict[int, Any]:
    """Return the tags of EXIF by number, with its two subdirectories as dictionaries."""
    tags = _load(exif)
    return {tag: _directory(tags, tag) if tag in _SUBDIRECTORIES else tags[tag] for tag in tags}


def _directory(exif: Image.Exif, group: int) -> dict[int, Any]:
    """Return the tags of a subdirectory, with that of interoperability in place of its offset."""
    directory = {tag: _as_stored(value, end=b"\0") for tag, value in exif.get_ifd(group).items()}
    if group == _IFD.Exif and _IFD.Interop in directory:
        del directory[_IFD.Interop]
        with suppress(Exception):  # an offset that leads nowhere must not be written again
            if interoperability := exif.get_ifd(_IFD.Interop):
                directory[_IFD.Interop] = dict(interoperability)
    return directory


def exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    """Return the horizontal and vertical resolution in pixels per inch, or None if it is missing."""
    factor = {2: 1.0, 3: 2.54}.get(exif.get(_Base.ResolutionUnit, 2))
    sides = [exif.get(tag) for tag in (_Base.XResolution, _Base.YResolution)]
    if factor is None or None in sides:
        return None
    return plausible_dpi([float(side) * factor for side in sides if side is not None])


def plausible_dpi(dpi: Any) -> tuple[float, float] | None:
    """Return two numbers that a file contains as a resolution, or None if they cannot be one."""
    with suppress(TypeError, ValueError, ZeroDivisionError):
        across, down = (float(d) for d in dpi)
        if all(math.isfinite(d) and 0 < d < 1e6 for d in (across, down)):
            return across, down
    return None


def update_exif(exif: bytes, size: Dimensions, dpi: tuple[float, float] | None) -> bytes:
    """Return EXIF with another image size and resolution, where it contains them.

    Args:
        exif: EXIF as `Metadata` contains it.
        size: The size of the image in pixels.
        dpi: Horizontal and vertical resolution in pixels per inch; None leaves it as it is.
    """
    tags = _load(exif)
    details = tags.get_ifd(_IFD.Exif) if _IFD.Exif in tags else {}
    for tag, side in ((_Base.ExifImageWidth, size.width), (_Base.ExifImageHeight, size.height)):
        if tag in details:
            details[tag] = side
    if dpi and _Base.XResolution in tags:
        tags[_Base.XResolution], tags[_Base.YResolution] = dpi
        tags[_Base.ResolutionUnit] = 2  # inches
    return _encoded(tags)


def add_thumbnail(exif: bytes, pixels: np.ndarray) -> bytes:
    """Return EXIF with a second directory that contains a small JPEG of the image.

    Args:
        exif: EXIF without a thumbnail.
        pixels: (H, W) gray or (H, W, 3) RGB, uint8.
    """
    step = max(1, max(pixels.shape[:2]) // (4 * _THUMBNAIL_SIDE))  # resizing a large image is slow
    small = Image.fromarray(pixels[::step, ::step])
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=75)
    jpeg = encoded.getvalue()
    tiff = bytearray(exif.removeprefix(b"Exif\0\0"))
    tiff += b"\0" * (len(tiff) % 2)
    order, place = _link(tiff)
    struct.pack_into(f"{order}L", tiff, place, len(tiff))
    short, long = 3, 4  # TIFF types
    start = len(tiff) + 2 + 3 * 12 + 4
    tiff += struct.pack(f"{order}H", 3)
    tiff += struct.pack(f"{order}HHLHH", _Base.Compression, short, 1, 6, 0)  # 6: JPEG
    tiff += struct.pack(f"{order}HHLL", _Base.JpegIFOffset, long, 1, start)
    tiff += struct.pack(f"{order}HHLL", _Base.JpegIFByteCount, long, 1, len(jpeg))
    return b"Exif\0\0" + bytes(tiff) + struct.pack(f"{order}L", 0) + jpeg


def remove_thumbnail(exif: bytes) -> bytes:
    """Return EXIF to which `add_thumbnail` has added a thumbnail without it."""
    tiff = bytearray(exif.removeprefix(b"Exif\0\0"))
    order, place = _link(tiff)
    (second,) = struct.unpack_from(f"{order}L", tiff, place)
    if second:
        del tiff[second:]
        struct.pack_into(f"{order}L", tiff, place, 0)
    return b"Exif\0\0" + bytes(tiff)


def _link(tiff: bytes | bytearray) -> tuple[str, int]:
    """Return the byte order of EXIF, and where its first directory has the offset of the second one."""
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}L", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    return order, first + 2 + 12 * count


def strip_exif_gps(exif: bytes) -> bytes | None:
    """Return EXIF without the place where the image was taken, or None if nothing is left.

    Besides the GPS directory, this removes the maker note, which has a private format and may
    contain a position, and text that contains coordinates.
    """
    tags = _load(exif)
    if _IFD.GPSInfo in tags:
        del tags[_IFD.GPSInfo]
    directories = [tags, tags.get_ifd(_IFD.Exif)] if _IFD.Exif in tags else [tags]
    for directory in directories:
        for tag, value in list(directory.items()):
            if tag == _Base.MakerNote or _is_located_text(value):
                del directory[tag]
    return _encoded(tags) if len(tags) else None


def _is_located_text(value: Any) -> bool:
    if isinstance(value, bytes):  # a user comment, or Windows' UTF-16
        value = value.replace(b"\0", b"").decode("latin-1")
    return isinstance(value, str) and has_coordinates(value)


def _load(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    for group in _SUBDIRECTORIES:
        if group in tags:
            directory = tags.get_ifd(group)
            directory.update({tag: _as_stored(value, end=b"\0") for tag, value in directory.items()})
    for tag in set(tags).difference(_SUBDIRECTORIES):
        tags[tag] = _as_stored(tags[tag])
    return tags


def _as_stored(value: Any, end: bytes = b"") -> Any:
    """Return text that is not ASCII as its bytes: Pillow reads it as Latin-1 and cannot write that.

    Args:
        value: Any value.
        end: What Pillow does not add to the bytes of a text, but should.
    """
    return value.encode("latin-1") + end if isinstance(value, str) and not value.isascii() else value


def swapped_comment(comment: Any) -> Any:
    """Return a user comment for EXIF of the other byte order, which is that of its UTF-16."""
    if not isinstance(comment, bytes) or not comment.startswith(b"UNICODE\0") or len(comment) % 2:
        return comment
    code, text = comment[:8], comment[8:]
    return code + np.frombuffer(text, np.uint16).byteswap().tobytes()


def type_in(group: int, tag: int) -> int | None:
    """Return the type of a tag of a subdirectory, if Pillow does not know it."""
    return _TYPES.get(_IFD(group), {}).get(tag)


def _encoded(tags: Image.Exif) -> bytes:
    """Return EXIF with the types of tags that Pillow does not know."""
    exif = bytearray(tags.tobytes())
    start = len(b"Exif\0\0")
    order = "<" if exif[start : start + 2] == b"II" else ">"

    def entries(offset: int) -> Iterator[tuple[int, int]]:
        (count,) = struct.unpack_from(f"{order}H", exif, start + offset)
        for place in range(start + offset + 2, start + offset + 2 + 12 * count, 12):
            yield place, struct.unpack_from(f"{order}H", exif, place)[0]

    for place, group in entries(8):
        if group in _SUBDIRECTORIES:
            (offset,) = struct.unpack_from(f"{order}L", exif, place + 8)
            for below, tag in entries(offset):
                (kind,) = struct.unpack_from(f"{order}H", exif, below + 2)
                if kind == _BYTE and (other := type_in(group, tag)):
                    struct.pack_into(f"{order}H", exif, below + 2, other)
    return bytes(exif)
