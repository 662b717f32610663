"""The file formats that are read and written, and what each can hold."""

from dataclasses import dataclass
from pathlib import Path

from rgt_cli.errors import UsageError


@dataclass(frozen=True)
class Format:
    """One file format."""

    name: str
    """As a person types it after `--format`."""
    pillow: str
    """What Pillow calls it."""
    suffixes: tuple[str, ...]
    """File name endings, the usual one first."""
    longest_side: int
    """The most pixels that a side can have."""
    has_quality: bool = False
    """Whether `--quality` means anything."""
    has_gray: bool = True
    """Whether it stores gray as gray, not as three equal channels."""
    has_metadata: bool = True
    """Whether an ICC profile and EXIF can go along."""


FORMATS = (
    Format("png", "PNG", (".png",), 2**31 - 1),
    Format("jpeg", "JPEG", (".jpg", ".jpeg"), 65_535, has_quality=True),
    Format("webp", "WEBP", (".webp",), 16_383, has_quality=True, has_gray=False),
    Format("tiff", "TIFF", (".tif", ".tiff"), 2**31 - 1),
    Format("bmp", "BMP", (".bmp",), 2**31 - 1, has_metadata=False),
)

READABLE = frozenset(suffix for f in FORMATS for suffix in f.suffixes)
"""The file name endings of pictures, in lower case."""


def format_named(name: str) -> Format:
    """The format that a person calls `name`.

    Raises:
        UsageError: there is none.
    """
    for candidate in FORMATS:
        if name.lower() in (candidate.name, *(suffix[1:] for suffix in candidate.suffixes)):
            return candidate
    raise UsageError(f"unknown format {name!r}: use {', '.join(f.name for f in FORMATS)}")


def format_of(path: Path) -> Format:
    """The format that the name of a file asks for.

    Raises:
        UsageError: its suffix is that of no format that can be written.
    """
    for candidate in FORMATS:
        if path.suffix.lower() in candidate.suffixes:
            return candidate
    known = ", ".join(suffix for f in FORMATS for suffix in f.suffixes)
    raise UsageError(f"{path}: cannot tell the format from the suffix; known are {known}")
