"""TIFF where Pillow does not do: 16 bits a channel, compression beside EXIF, pages, rows in turn."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from rgt_cli.errors import InputError, UsageError
from rgt_cli.media.metadata import exif_directories
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.media.write import scratch_file

_XMP, _ICC = 700, 34675
_COVERED = {ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit}
_SUB_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_STAND_IN = -1
"""What makes the code of a directory, which tifffile does not write, one that is used by nobody."""
_PHOTOMETRIC = {"MINISWHITE", "MINISBLACK", "RGB"}
ROWS_PER_STRIP = 64
_TOO_LARGE_FOR_CLASSIC = (1 << 32) - (1 << 26)
"""Bytes of pixels from which on a TIFF must be a BigTIFF, compression not counted on."""


def is_deep(path: Path) -> bool:
    """Whether a TIFF has channels of more than 8 bits."""
    with tifffile.TiffFile(path) as file:
        page = _page(file, 0)
        return page.bitspersample > 8


def sizes(path: Path) -> list[tuple[int, int]]:
    """Width and height in pixels of every page of a TIFF."""
    with tifffile.TiffFile(path) as file:
        pages = [_page(file, index) for index in range(len(file.pages))]
        return [(page.imagewidth, page.imagelength) for page in pages]


def deep_pages(path: Path) -> Iterator[tuple[Picture, Image.Exif]]:
    """The pages of a TIFF of more than 8 bits a channel, as stored, with the EXIF of each.

    Raises:
        UsageError: numbers or a color space that are not supported.
    """
    with tifffile.TiffFile(path) as file:
        for index in range(len(file.pages)):
            page = _page(file, index)
            exif = Image.Exif()
            exif.endian = file.byteorder
            exif.load_from_fp(file.filehandle, page.offset)  # type: ignore[arg-type]
            yield _picture(path, page), exif


def _page(file: tifffile.TiffFile, index: int) -> tifffile.TiffPage:
    page = file.pages[index]
    assert isinstance(page, tifffile.TiffPage)
    return page


def _picture(path: Path, page: tifffile.TiffPage) -> Picture:
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric not in _PHOTOMETRIC or page.dtype is None or page.dtype.kind != "u":
        numbers = tifffile.SAMPLEFORMAT(page.sampleformat).name
        what = f"{photometric}, {page.bitspersample} bits of {numbers}"
        raise UsageError(f"{path}: TIFF of this kind is not supported: {what}")
    array = page.asarray()
    if page.axes.startswith("S"):
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or page.bitspersample not in range(9, 33):
        raise UsageError(f"{path}: TIFF of this kind is not supported: axes {page.axes}")
    largest = (1 << page.bitspersample) - 1
    if largest != 65535:
        array = np.rint(array * (65535 / largest)).astype(np.uint16)
    colors = 3 if photometric == "RGB" else 1
    channels = array if array.ndim == 3 else array[..., None]
    if channels.shape[2] < colors:
        raise InputError(f"{path}: damaged picture: {channels.shape[2]} channels of {photometric}")
    pixels = channels[..., :colors]
    if photometric == "MINISWHITE":
        pixels = 65535 - pixels
    alpha = channels[..., colors] if channels.shape[2] > colors and page.extrasamples else None
    if alpha is not None and page.extrasamples[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        weights = np.maximum(alpha, 1)[..., None] / 65535
        pixels = np.rint(np.minimum(pixels / weights, 65535)).astype(np.uint16)
    pixels = np.ascontiguousarray(pixels if colors == 3 else pixels[..., 0])
    tags = page.tags
    metadata = Metadata(
        icc=_bytes(tags, _ICC), xmp=_bytes(tags, _XMP), dpi=_dpi(page)
    )  # EXIF is the caller's
    return Picture(pixels, None if alpha is None else np.ascontiguousarray(alpha), metadata)


def _bytes(tags: tifffile.TiffTags, code: int) -> bytes | None:
    tag = tags.get(code)
    return bytes(tag.value) if tag is not None and len(tag.value) else None


def _dpi(page: tifffile.TiffPage) -> tuple[float, float] | None:
    if ExifTags.Base.XResolution not in page.tags or page.resolutionunit not in (2, 3):
        return None
    across, down = page.get_resolution(tifffile.RESUNIT.INCH)
    return (across, down) if across > 0 and down > 0 else None


@contextmanager
def rows_on_disk(path: Path, scratch: Path) -> Iterator[np.ndarray]:
    """The pixels of the first page, (H, W) or (H, W, 3), mapped from the file that holds them.

    Args:
        scratch: a folder for the file that they are decoded into where they are compressed.

    Raises:
        OutputError: there is no room for that file.
        InputError: pixels of a kind that is not read by rows.
    """
    with tifffile.TiffFile(path) as file:
        page = _page(file, 0)
        photometric = getattr(page.photometric, "name", "")
        channels = {"RGB": ("YXS", 3), "MINISBLACK": ("YX", 1)}.get(photometric)
        if page.dtype not in (np.uint8, np.uint16) or channels != (page.axes, page.samplesperpixel):
            raise InputError(f"{path}: TIFF of this kind is not enlarged in strips: {photometric}")
        if page.is_memmappable and page.bitspersample == page.dtype.itemsize * 8:
            yield tifffile.memmap(path, page=0, mode="r")
            return
        with scratch_file(scratch, page.nbytes) as decoded:
            array = np.memmap(decoded, page.dtype, "r+", shape=page.shape)
            page.asarray(out=array, maxworkers=1)
            yield array
            del array


def write_pages(file: BinaryIO, pictures: Iterable[Picture]) -> None:
    """Write a TIFF of one or more pages, deflated, with their metadata_list."""
    pictures = list(pictures)
    large = sum(p.channels().nbytes for p in pictures) > _TOO_LARGE_FOR_CLASSIC
    with tifffile.TiffWriter(file, bigtiff=large, byteorder="<") as writer:
        for picture in pictures:
            writer.write(
                picture.channels(),
                **_options(picture.mode, picture.metadata),
                rowsperstrip=ROWS_PER_STRIP,
            )
    if not large:
        _add_directories(file, [picture.metadata for picture in pictures])


def write_rows(
    file: BinaryIO,
    shape: tuple[int, ...],
    dtype: np.dtype,
    strips: Iterable[np.ndarray],
    metadata: Metadata,
) -> None:
    """Write a TIFF of one page from top to bottom, holding little of it at a time.

    Args:
        shape: (H, W) or (H, W, 3).
        strips: (rows, W) or (rows, W, 3), of any number of rows.
    """
    large = int(np.prod(shape)) * dtype.itemsize > _TOO_LARGE_FOR_CLASSIC
    mode = "L" if len(shape) == 2 else "RGB"
    encoded = map(_encoded, _regrouped(strips, ROWS_PER_STRIP))
    with tifffile.TiffWriter(file, bigtiff=large, byteorder="<") as writer:
        writer.write(
            encoded,
            shape=shape,
            dtype=dtype,
            rowsperstrip=ROWS_PER_STRIP,
            **_options(mode, metadata),
        )
    if not large:
        _add_directories(file, [metadata])


def _encoded(strip: np.ndarray) -> bytes:
    """A strip as it stands in the file: differences along its rows (predictor 2), deflated."""
    differences = strip.astype(strip.dtype.newbyteorder("<"))
    differences[:, 1:] -= strip[:, :-1]
    return zlib.compress(differences.tobytes(), 6)


def _regrouped(strips: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """The same rows in strips of `rows`, the last one shorter."""
    waiting: list[np.ndarray] = []
    count = 0
    for strip in strips:
        waiting.append(strip)
        count += len(strip)
        if count >= rows:
            joined = np.concatenate(waiting)
            whole = count // rows * rows
            yield from (joined[top : top + rows] for top in range(0, whole, rows))
            waiting, count = [joined[whole:].copy()], count - whole
    if count:
        yield np.concatenate(waiting)


def _options(mode: str, metadata: Metadata) -> dict[str, Any]:
    options: dict[str, Any] = {
        "photometric": "rgb" if mode.startswith("RGB") else "minisblack",
        "compression": "adobe_deflate",
        "predictor": True,
        "metadata": None,
        "software": False,
        "contiguous": False,
    }
    if mode.endswith("A"):
        options["extrasamples"] = ["unassalpha"]
        options["planarconfig"] = "contig"
    if metadata.icc:
        options["iccprofile"] = metadata.icc
    if metadata.dpi:
        options["resolution"], options["resolutionunit"] = metadata.dpi, "INCH"
    options["extratags"] = list(_extra_tags(metadata))
    return options


def _extra_tags(metadata: Metadata) -> Iterator[tuple[int, int, int, Any, bool]]:
    """The tags of the first directory, (code, type, count, value, once); see `_add_directories`."""
    byte, ascii_text, short, long = 1, 2, 3, 4
    if metadata.xmp:
        yield _XMP, byte, len(metadata.xmp), metadata.xmp, True
    if not metadata.exif:
        return
    for code, value in exif_directories(metadata.exif).items():
        if code in _SUB_DIRECTORIES:
            yield code + _STAND_IN, long, 1, 0, True
        elif code in _COVERED:
            continue
        elif isinstance(value, str):
            yield code, ascii_text, len(value) + 1, value.encode("ascii") + b"\0", True
        elif isinstance(value, bytes) and TiffTags.lookup(code).type == ascii_text:
            yield code, ascii_text, len(value) + 1, value + b"\0", True
        elif isinstance(value, bytes):
            yield code, byte, len(value), value, True
        elif isinstance(value, int):
            yield code, short, 1, value, True


def _add_directories(file: BinaryIO, metadata_list: Sequence[Metadata]) -> None:
    """Append the directories of EXIF to a TIFF that has been written, and point to them.

    No library at hand writes them into a compressed TIFF; both kinds of TIFF directory are the same.
    """
    if not any(metadata.exif for metadata in metadata_list):
        return
    header = b"II*\0\x08\0\0\0"
    file.seek(0)
    with tifffile.TiffFile(file) as written:
        tags = [_page(written, index).tags for index in range(len(written.pages))]
        places = [{code: t.get(code + _STAND_IN) for code in _SUB_DIRECTORIES} for t in tags]
    for metadata, place in zip(metadata_list, places, strict=True):
        content = exif_directories(metadata.exif) if metadata.exif else {}
        for code, entry in place.items():
            if entry is None:
                continue
            end = file.seek(0, io.SEEK_END)
            start = end + end % 2
            directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=header, group=code)
            for tag, value in content[code].items():
                directory[tag] = value
            file.write(b"\0" * (start - end) + directory.tobytes(start))
            file.seek(entry.offset)
            file.write(struct.pack("<H", code))
            file.seek(entry.valueoffset)
            file.write(struct.pack("<L", start))
    file.seek(0, io.SEEK_END)
