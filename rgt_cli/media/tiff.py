"""TIFF where Pillow is not enough: 16 bits per channel, EXIF with compression, pages, and rows."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from rgt_cli.errors import InputError
from rgt_cli.files import scratch_file
from rgt_cli.media import raw
from rgt_cli.media.exif import ASCII, exif_directories, swapped_comment, type_in
from rgt_cli.media.iptc import photoshop_of_tiff, tiff_of_photoshop
from rgt_cli.media.layout import DEFLATE_RATIO, LZW_RATIO, Header, require
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.size import Dimensions

ROWS_PER_STRIP = 64
"""Rows that are compressed together."""
_XMP, _ICC, _IPTC, _PHOTOSHOP = 700, 34675, 33723, 34377
_RESOLUTION_TAGS = {
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
}
_SUBDIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_PLACEHOLDER = -1
"""Added to the tag of a subdirectory: a tag that no one uses, which tifffile writes in its place."""
_PHOTOMETRIC = {"MINISWHITE", "MINISBLACK", "RGB"}
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
"""Kinds of extra channels that are transparency; scanners store infrared, for example."""
_ONLY_BY_TIFFFILE = {"LERC", "WEBP", "PNG", "JPEGXL", "JPEGXL_DNG", "JPEG2000", "APERIO_JP2000_RGB"}
"""Compressions that Pillow does not decode."""
_RATIOS = {
    "NONE": 1, "ADOBE_DEFLATE": DEFLATE_RATIO, "DEFLATE": DEFLATE_RATIO, "LZW": LZW_RATIO,
    "PACKBITS": 64,
}  # fmt: skip
"""Compression -> the most bytes that a byte of it expands to."""
_CLASSIC_LENGTH = 1 << 32
"""Bytes that an offset of a TIFF can reach; a BigTIFF has longer ones."""
_CLASSIC_BYTES = _CLASSIC_LENGTH - (1 << 26)
"""Bytes of pixels that fit into a TIFF even if compression saves nothing; more need a BigTIFF."""


def read_layout(path: Path) -> Header:
    """Read the header of each page, and compare the bytes of its pixels with its size.

    Raises:
        ValueError: The file is damaged, truncated, or has too little data for its size.
        InputError: It is a raw photo.
    """
    with tifffile.TiffFile(path) as file, path.open("rb") as head:
        if raw.is_raw(file, head):
            raise InputError(f"{path}: {raw.DEVELOP}")
        pages = [_page(file, index) for index in range(len(file.pages))]
        if not pages:
            raise ValueError("it contains no image")
        length = path.stat().st_size
        for page in pages:
            _check_data(page, length)
        kept = [page for index, page in enumerate(pages) if not (index and page.is_reduced)]
    return Header(
        format="tiff",
        size=max((Dimensions(page.imagewidth, page.imagelength) for page in kept), key=math.prod),
        channels=max(_channels(page) for page in kept),
        bits=16 if max(page.bitspersample for page in kept) > 8 else 8,
        frames=len(kept),
        pixels=sum(page.imagewidth * page.imagelength for page in pages),
    )


def _channels(page: tifffile.TiffPage) -> int:
    has_alpha = any(kind in _ALPHA for kind in page.extrasamples)
    is_gray = getattr(page.photometric, "name", "") in ("MINISWHITE", "MINISBLACK")
    return (1 if is_gray else 3) + has_alpha


def _check_data(page: tifffile.TiffPage, length: int) -> None:
    """Refuse a page whose data is outside of the file, or too little for its size.

    Raises:
        ValueError: The data is missing.
    """
    size = Dimensions(page.imagewidth, page.imagelength)
    if min(size) < 1 or not page.dataoffsets:
        raise ValueError("a page has no pixels")
    require(length, max(page.dataoffsets) + 1, "pixels of a page are missing")
    compression = getattr(page.compression, "name", "")
    if ratio := _RATIOS.get(compression):
        values = page.samplesperpixel * page.bitspersample / 8
        if page.is_subsampled:
            values = 1.0
        stored = sum(page.databytecounts)
        require(
            min(stored, length) * ratio,
            math.prod(size) * values,
            f"{stored} bytes are too few for {size} pixels",
        )
        if compression != "NONE":
            ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
            require(length, max(ends), "pixels of a page are missing")


def needs_tifffile(path: Path) -> bool:
    """Return whether a TIFF has more than 8 bits per channel, or a compression that Pillow lacks."""
    with tifffile.TiffFile(path) as file:
        pages = [_page(file, index) for index in range(len(file.pages))]
        compression = getattr(pages[0].compression, "name", "")
        if pages[0].bitspersample > 8 or compression in _ONLY_BY_TIFFFILE:
            return True
        is_plain = all(getattr(page.photometric, "name", "") in _PHOTOMETRIC for page in pages)
        return is_plain and any(page.bitspersample > 8 for page in pages)


def pages_by_tifffile(path: Path) -> Iterator[tuple[Picture, Image.Exif]]:
    """Yield the pages of a TIFF as stored, with the EXIF of each.

    The metadata of the pages does not include EXIF. If any of them has more than 8 bits per channel, all
    have 16.

    Raises:
        InputError: The numbers or the color space are not supported.
    """
    with tifffile.TiffFile(path) as file:
        pages = [_page(file, index) for index in range(len(file.pages))]
        bits = 16 if max(page.bitspersample for page in pages) > 8 else 8
        for page in pages:
            exif = Image.Exif()
            exif.endian, exif.bigtiff = file.byteorder, file.is_bigtiff
            exif.load_from_fp(file.filehandle, page.offset)  # type: ignore[arg-type]
            yield _picture(path, page).with_bits(bits), exif


def _page(file: tifffile.TiffFile, index: int) -> tifffile.TiffPage:
    page = file.pages[index]
    assert isinstance(page, tifffile.TiffPage)
    return page


def _picture(path: Path, page: tifffile.TiffPage) -> Picture:
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric not in _PHOTOMETRIC or page.dtype is None or page.dtype.kind != "u":
        numbers = tifffile.SAMPLEFORMAT(page.sampleformat).name
        kind = f"{photometric}, {page.bitspersample} bits of {numbers}"
        raise InputError(f"{path}: this kind of TIFF is not supported: {kind}")
    array = page.asarray()
    if page.axes.startswith("S"):
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or page.bitspersample not in range(1, 33):
        raise InputError(f"{path}: this kind of TIFF is not supported: axes {page.axes}")
    largest = (1 << page.bitspersample) - 1
    if largest != 65535:
        array = np.rint(array * (65535 / largest)).astype(np.uint16)
    colors = 3 if photometric == "RGB" else 1
    channels = array if array.ndim == 3 else array[..., None]
    if channels.shape[2] < colors:
        raise InputError(f"{path}: damaged image: {channels.shape[2]} channels of {photometric}")
    pixels = channels[..., :colors]
    if photometric == "MINISWHITE":
        pixels = 65535 - pixels
    kinds = page.extrasamples[: channels.shape[2] - colors]
    place = next((place for place, kind in enumerate(kinds) if kind in _ALPHA), None)
    alpha = None if place is None else channels[..., colors + place]
    if place is not None and alpha is not None and kinds[place] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        weights = np.maximum(alpha, 1)[..., None] / 65535
        pixels = np.rint(np.minimum(pixels / weights, 65535)).astype(np.uint16)
    pixels = np.ascontiguousarray(pixels if colors == 3 else pixels[..., 0])
    metadata = Metadata(
        icc=_bytes(page.tags, _ICC), xmp=_bytes(page.tags, _XMP), dpi=_dpi(page), iptc=_photoshop(page)
    )
    return Picture(pixels, None if alpha is None else np.ascontiguousarray(alpha), metadata)


def _bytes(tags: tifffile.TiffTags, code: int) -> bytes | None:
    tag = tags.get(code)
    return bytes(tag.value) if tag is not None and len(tag.value) else None


def photoshop_in(path: Path, index: int) -> bytes | None:
    """Return the Photoshop block of a page, with its IPTC records; None if there is none."""
    with tifffile.TiffFile(path) as file:
        return _photoshop(_page(file, index))


def _photoshop(page: tifffile.TiffPage) -> bytes | None:
    records = b""
    if tag := page.tags.get(_IPTC):  # many files say that it consists of longer numbers than bytes
        handle = page.parent.filehandle
        handle.seek(tag.valueoffset)
        records = handle.read(tag.valuebytecount)
    return photoshop_of_tiff(_bytes(page.tags, _PHOTOSHOP) or b"", records)


def _dpi(page: tifffile.TiffPage) -> tuple[float, float] | None:
    if ExifTags.Base.XResolution not in page.tags or page.resolutionunit not in (2, 3):
        return None
    across, down = page.get_resolution(tifffile.RESUNIT.INCH)
    return (across, down) if across > 0 and down > 0 else None


@contextmanager
def rows_on_disk(path: Path, scratch: Path) -> Iterator[np.ndarray]:
    """Yield the pixels of the first page, (H, W) or (H, W, 3), mapped from the file that contains them.

    Args:
        scratch: A folder for a temporary file, into which compressed pixels are decoded.

    Raises:
        OutputError: The disk has no room for that file.
        InputError: Pixels of this kind cannot be read in rows.
    """
    with tifffile.TiffFile(path) as file:
        page = _page(file, 0)
        photometric = getattr(page.photometric, "name", "")
        channels = {"RGB": ("YXS", 3), "MINISBLACK": ("YX", 1)}.get(photometric)
        if page.dtype not in (np.uint8, np.uint16) or channels != (page.axes, page.samplesperpixel):
            raise InputError(f"{path}: this kind of TIFF cannot be streamed: {photometric}")
        if page.is_memmappable and page.bitspersample == page.dtype.itemsize * 8:
            yield tifffile.memmap(path, page=0, mode="r")
            return
        with scratch_file(scratch, page.nbytes) as decoded:
            array = np.memmap(decoded, page.dtype, "r+", shape=page.shape)
            page.asarray(out=array, maxworkers=1)
            yield array
            del array


def write_pages(file: BinaryIO, pictures: Sequence[Picture]) -> None:
    """Write a TIFF of one or more pages, deflated, with their metadata."""
    is_big = sum(picture.channels().nbytes for picture in pictures) > _CLASSIC_BYTES
    with tifffile.TiffWriter(file, bigtiff=is_big, byteorder="<") as writer:
        for picture in pictures:
            writer.write(
                picture.channels(),
                **_options(picture.mode, picture.metadata, is_big),
                rowsperstrip=ROWS_PER_STRIP,
            )
    _add_directories(file, [picture.metadata for picture in pictures])


def write_rows(
    file: BinaryIO,
    shape: tuple[int, ...],
    dtype: np.dtype,
    strips: Iterable[np.ndarray],
    metadata: Metadata,
) -> None:
    """Write a TIFF of one page from top to bottom, a few rows at a time.

    Args:
        shape: (H, W) or (H, W, 3).
        dtype: uint8 or uint16.
        strips: (rows, W) or (rows, W, 3), each with any number of rows.
    """
    is_big = int(np.prod(shape)) * dtype.itemsize > _CLASSIC_BYTES
    mode = "L" if len(shape) == 2 else "RGB"
    encoded = map(_encoded, _regrouped(strips, ROWS_PER_STRIP))
    with tifffile.TiffWriter(file, bigtiff=is_big, byteorder="<") as writer:
        writer.write(
            encoded,
            shape=shape,
            dtype=dtype,
            rowsperstrip=ROWS_PER_STRIP,
            **_options(mode, metadata, is_big),
        )
    _add_directories(file, [metadata])


def _encoded(strip: np.ndarray) -> bytes:
    """Encode a strip: differences along its rows (predictor 2), deflated."""
    differences = strip.astype(strip.dtype.newbyteorder("<"))
    differences[:, 1:] -= strip[:, :-1]
    return zlib.compress(differences.tobytes(), 6)


def _regrouped(strips: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the same rows in strips of `rows`; the last one is shorter."""
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


def _options(mode: str, metadata: Metadata, is_big: bool) -> dict[str, Any]:
    """Return the options of tifffile for a page."""
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
    options["extratags"] = list(_extra_tags(metadata, is_big))
    return options


def _extra_tags(metadata: Metadata, is_big: bool) -> Iterator[tuple[int, int, int, Any, bool]]:
    """Yield other tags, (code, type, count, value, write once), with placeholders for directories."""
    byte, ascii_text, short, undefined, offset = 1, 2, 3, 7, 16 if is_big else 4
    if metadata.xmp:
        yield _XMP, byte, len(metadata.xmp), metadata.xmp, True
    iptc = tiff_of_photoshop(metadata.iptc) if metadata.iptc else ()
    for code, data in zip((_IPTC, _PHOTOSHOP), iptc, strict=False):
        yield from [(code, undefined, len(data), data, True)] if data else []
    if not metadata.exif:
        return
    for code, value in exif_directories(metadata.exif).items():
        if code in _SUBDIRECTORIES:
            yield code + _PLACEHOLDER, offset, 1, 0, True
        elif code in _RESOLUTION_TAGS:
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
    """Append the subdirectories of EXIF to a TIFF that has been written, and point to them.

    tifffile does not write them, and Pillow does not write them into a compressed TIFF. EXIF and TIFF
    use the same structure for directories.
    """
    if not any(metadata.exif for metadata in metadata_list):
        return
    file.seek(0)
    with tifffile.TiffFile(file) as written:
        is_big = written.is_bigtiff
        tags = [_page(written, index).tags for index in range(len(written.pages))]
        entries = [{code: t.get(code + _PLACEHOLDER) for code in _SUBDIRECTORIES} for t in tags]
    header = b"II+\0\x08\0\0\0" + bytes(8) if is_big else b"II*\0\x08\0\0\0"
    for metadata, places in zip(metadata_list, entries, strict=True):
        content = exif_directories(metadata.exif) if metadata.exif else {}
        for code, entry in places.items():
            if entry is None:
                continue
            end = file.seek(0, io.SEEK_END)
            start = end + end % 2
            directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=header, group=code)
            for tag, value in content[code].items():
                if tag == ExifTags.Base.UserComment and metadata.exif and b"MM" in metadata.exif[:8]:
                    value = swapped_comment(value)
                if isinstance(value, bytes) and (kind := type_in(code, tag)):
                    directory.tagtype[tag] = kind
                    value = value.rstrip(b"\0") if kind == ASCII else value
                if not isinstance(value, dict) or end < _CLASSIC_LENGTH:  # Pillow writes short offsets
                    directory[tag] = value
            file.write(b"\0" * (start - end) + directory.tobytes(start))
            file.seek(entry.offset)
            file.write(struct.pack("<H", code))
            file.seek(entry.valueoffset)
            file.write(struct.pack("<Q" if is_big else "<L", start))
    file.seek(0, io.SEEK_END)
