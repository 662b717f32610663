"""Read the header of an image file: what it contains, and how much memory it fills when decoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from PIL import ImageFile

from rgt_cli.errors import InputError
from rgt_cli.media import gif, input_only, jpeg, jxl, png, webp
from rgt_cli.media.exif import orientation_of, read_exif
from rgt_cli.media.identify import clear_errors, identified, open_by_pillow
from rgt_cli.media.layout import Header, one_image, require
from rgt_cli.media.modes import UPRIGHT_DECODERS
from rgt_cli.size import Dimensions

_READERS: dict[str, Callable[[BinaryIO], Header]] = {
    "png": png.read_layout,
    "jpeg": jpeg.read_layout,
    "gif": gif.read_layout,
    "webp": webp.read_layout,
    "jxl": jxl.read_layout,
}
"""The formats whose headers are read without their decoders, which would do much more than that."""


def read_header(path: Path) -> Header:
    """Read what a file contains, without decoding its pixels.

    A truncated file is refused here as far as its format shows it: its parts are incomplete, or it has
    fewer bytes than the pixels need at the best possible compression.

    Raises:
        InputError: The file cannot be read, is not an image, is damaged, or has no decoder here.
    """
    with clear_errors(path):
        file_format = identified(path)
        found = path.stat()
        return _read(path, file_format, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1024)
def _read(path: Path, file_format: str, modified: int, length: int) -> Header:
    """Read the header of a file; read it again only if the file has changed."""
    if reader := _READERS.get(file_format):
        with path.open("rb") as file:
            return reader(file)
    if file_format == "tiff":
        from rgt_cli.media import tiff  # slow to import

        return tiff.read_layout(path)
    if file_format in input_only.NAMES:
        return input_only.read_layout(path, file_format)
    if file_format != "bmp":
        with path.open("rb") as file:
            list(jxl.boxes(file))  # refuses an incomplete one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn about what is reported here
        with open_by_pillow(path) as opened:
            return _of_pillow(file_format, opened, length)


def _of_pillow(file_format: str, opened: ImageFile.ImageFile, length: int) -> Header:
    """Return the header of an image that Pillow opens without decoding it: BMP, AVIF or HEIF."""
    size = Dimensions(*opened.size)
    for tile in opened.tile:
        if tile.codec_name == "raw":
            bytes_per_row = tile.args[1] if isinstance(tile.args, tuple) else 0
            require(
                length,
                tile.offset + bytes_per_row * size.height,
                f"{length} bytes are too few for {size} pixels",
            )
    channels = 3 if opened.mode == "P" else len(opened.getbands())
    bits = 16 if "16" in opened.mode else 8
    frames = getattr(opened, "n_frames", 1) if file_format == "avif" else 1
    return one_image(file_format, size, channels, bits, frames)


def decoded_bytes(path: Path) -> int:
    """Return the size of the decoded pixels of a file in bytes, by its header; 0 if that is unknown."""
    with suppress(InputError):
        return read_header(path).decoded_bytes
    return 0


def frames_in(path: Path) -> int:
    """Return the number of frames or pages of a file, by its header; 1 if that is unknown."""
    with suppress(InputError):
        return read_header(path).frames
    return 1


def shown_size(path: Path) -> Dimensions:
    """Return the size of an image after its EXIF orientation has been applied.

    Raises:
        InputError: As `read_header`.
    """
    header = read_header(path)
    if header.format in input_only.NAMES:
        return header.size
    with clear_errors(path), open_by_pillow(path) as opened:
        turned = opened.format not in UPRIGHT_DECODERS and orientation_of(read_exif(opened)) >= 5
    return Dimensions(header.size.height, header.size.width) if turned else header.size
