"""Recognize image files by their content, and open them by Pillow without its limit of pixels."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from rgt_cli.errors import InputError, RGTError
from rgt_cli.media import input_only
from rgt_cli.media.formats import FORMATS, INSTALL_EXTRA, ImageFormat, is_installed, register_plugins

logger = logging.getLogger(__name__)

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF or a BigTIFF begins."""
_HEAD_BYTES = 512
_STARTS = {
    b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif",
    b"BM": "bmp", b"\xff\x0a": "jxl", b"\0\0\0\x0cJXL \r\n\x87\n": "jxl",
    **dict.fromkeys(TIFF, "tiff"),
}  # fmt: skip
"""The first bytes of a file -> the name of its format."""
_BRANDS = {
    "avif": {b"avif", b"avis"},
    "heif": {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"},
}
"""Format -> the brands in the first box of its files."""


def identify(path: Path) -> str | None:
    """Return the name of the format of a file by its content: one of `FORMATS`, "netpbm" or "dpx".

    Returns:
        The name, also if the decoder of the format is not installed; None if the file is not an image.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
        found = {brands[at : at + 4] for at in range(0, len(brands), 4)}
        return next((name for name, known in _BRANDS.items() if known & found), None)
    if input_only.is_dpx(head):
        return "dpx"
    return "netpbm" if input_only.size_of(path) else None


def format_inside(path: Path) -> str:
    """Return the name of the format of a file by its content; "png" if it cannot be written."""
    with suppress(OSError):
        name = identify(path)
        if any(f.name == name and is_installed(f) for f in FORMATS):
            return str(name)
    return "png"


def missing_decoder(path: Path) -> ImageFormat | None:
    """Return the format of an image whose decoder is not installed; None for any other file."""
    with suppress(OSError):
        if not path.is_file():  # opening a pipe would block
            return None
        name = identify(path)
        return next((f for f in FORMATS if f.name == name and not is_installed(f)), None)
    return None


def identified(path: Path) -> str:
    """Return the name of the format of an image that can be decoded.

    Raises:
        InputError: It is not an image of a known format, or its decoder is not installed.
    """
    if path.is_dir():
        os.listdir(path)  # noqa: PTH208 - raises what is wrong, if it is an input for that reason
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{path}: is not a file but a folder, a pipe or a device")
    if missing := missing_decoder(path):
        raise InputError(
            f"{path}: {missing.pillow} images need a decoder that is not installed: {INSTALL_EXTRA}"
        )
    if (name := identify(path)) is None:
        raise _not_an_image(path)
    return name


def _not_an_image(path: Path) -> InputError:
    if not path.stat().st_size:
        return InputError(f"{path}: the file is empty")
    if name := identify(path):
        return InputError(f"{path}: damaged image, or of a kind of {name} that is not supported")
    known = ", ".join((*(f.name for f in FORMATS), *input_only.NAMES))
    return InputError(f"{path}: is not an image of a known format ({known})")


def open_by_pillow(path: Path) -> ImageFile.ImageFile:
    """Open an image of one of `FORMATS` that are installed, whatever its number of pixels.

    Raises:
        Exception: It is damaged, or not an image; see `clear_errors`.
    """
    register_plugins()
    Image.init()
    with no_pixel_limit():
        return Image.open(path, formats=[f.pillow for f in FORMATS if f.pillow in Image.OPEN])


class _PixelLimit:
    """Pillow's limit of pixels, which is one variable for all threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limit: int | None = None

    def lift(self) -> None:
        with self._lock:
            if not self._users:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._users += 1

    def restore(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                Image.MAX_IMAGE_PIXELS = self._limit


_PIXEL_LIMIT = _PixelLimit()


@contextmanager
def no_pixel_limit() -> Iterator[None]:
    """Lift Pillow's limit of pixels for the block: `max_pixels` takes its place here.

    The limit is restored when the last of the blocks that run at the same time ends, so that programs
    that use this package have the limit that they chose.
    """
    _PIXEL_LIMIT.lift()
    try:
        yield
    finally:
        _PIXEL_LIMIT.restore()


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn any error of a decoder into one line. Damaged files can make decoders raise anything.

    Raises:
        InputError: The block raised another error than an `RGTError`.
    """
    try:
        yield
    except RGTError:
        raise
    except UnidentifiedImageError as error:
        raise _not_an_image(path) from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except MemoryError as error:
        raise InputError(f"{path}: does not fit in memory") from error
    except Exception as error:
        logger.debug("%s: the decoder failed", path, exc_info=True)
        reason = " ".join((str(error) or type(error).__name__).split())
        raise InputError(f"{path}: damaged image: {reason}") from error
