"""The file formats that are read and written, and what each can hold."""

import importlib
import importlib.util
from collections.abc import Callable
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
    longest_side: int = 2**31 - 1
    """The most pixels that a side can have."""
    modes: tuple[str, ...] = ("L", "LA", "RGB", "RGBA")
    """Gray or color, with alpha or without, as Pillow calls them."""
    has_quality: bool = False
    """Whether it is lossy, so that `--quality` means something."""
    has_lossless: bool = True
    """Whether it can keep every pixel as it is."""
    is_deep: bool = False
    """Whether it can hold 16 bits a channel."""
    has_icc: bool = True
    """Whether an ICC profile can go along."""
    has_metadata: bool = True
    """Whether EXIF and XMP can go along."""
    has_dpi: bool = False
    """Whether it says how many pixels an inch has."""
    is_animated: bool = False
    """Whether it can hold frames that follow one another."""
    has_pages: bool = False
    """Whether it can hold several pictures."""
    plugin: str | None = None
    """The package, one of the extra `rgt-cli[formats]`, that reads and writes it."""
    muxer: str | None = None
    """What FFmpeg calls it, if it holds films."""
    codecs: tuple[str, ...] = ()
    """The encoders of films that it takes, the usual one first; empty where it takes any."""


FORMATS = (
    Format("png", "PNG", (".png", ".apng"), is_deep=True, has_dpi=True, is_animated=True),
    Format(
        "jpeg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), 65_535, ("L", "RGB"),
        has_quality=True, has_lossless=False, has_dpi=True,
    ),
    Format("webp", "WEBP", (".webp",), 16_383, ("RGB", "RGBA"), has_quality=True, is_animated=True),
    Format("tiff", "TIFF", (".tif", ".tiff"), is_deep=True, has_dpi=True, has_pages=True),
    Format("bmp", "BMP", (".bmp",), modes=("L", "RGB"), has_icc=False, has_metadata=False, has_dpi=True),
    Format(
        "avif", "AVIF", (".avif",), 65_536, has_quality=True, has_lossless=False, is_animated=True
    ),
    Format(
        "gif", "GIF", (".gif",), 65_535, has_icc=False, has_metadata=False, has_lossless=False,
        is_animated=True, muxer="gif", codecs=("gif",),
    ),
    Format("heif", "HEIF", (".heic", ".heif"), 16_384, has_quality=True, plugin="pillow_heif"),
    Format("jxl", "JXL", (".jxl",), has_quality=True, plugin="pillow_jxl"),
)  # fmt: skip

VIDEO_FORMATS = (
    Format("mp4", "", (".mp4", ".m4v"), muxer="mp4"),
    Format("mkv", "", (".mkv",), muxer="matroska"),
    Format("mov", "", (".mov",), muxer="mov"),
    Format("webm", "", (".webm",), muxer="webm", codecs=("vp9", "av1")),
)
"""The containers of films that are written."""

READABLE = frozenset(suffix for f in FORMATS for suffix in f.suffixes)
"""The file name endings of pictures, in lower case."""
VIDEO_READABLE = frozenset(suffix for f in VIDEO_FORMATS for suffix in f.suffixes) | frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".dv",
        ".flv",
        ".m2ts",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".ogv",
        ".ts",
        ".vob",
        ".wmv",
        ".y4m",
    ]
)
"""The file name endings of films, in lower case."""


def format_named(name: str) -> Format:
    """The format that a person calls `name`.

    Raises:
        UsageError: there is none, or its package is not installed.
    """
    for candidate in (*FORMATS, *VIDEO_FORMATS):
        if name.lower() in (candidate.name, *(suffix[1:] for suffix in candidate.suffixes)):
            return _installed(candidate)
    raise UsageError(
        f"unknown format {name!r}: use {', '.join(f.name for f in (*FORMATS, *VIDEO_FORMATS))}"
    )


def format_of(path: Path) -> Format:
    """The format that the name of a file asks for.

    Raises:
        UsageError: its suffix is that of no format that can be written.
    """
    for candidate in (*FORMATS, *VIDEO_FORMATS):
        if path.suffix.lower() in candidate.suffixes:
            return _installed(candidate)
    known = ", ".join(suffix for f in (*FORMATS, *VIDEO_FORMATS) for suffix in f.suffixes)
    raise UsageError(f"{path}: cannot tell the format from the suffix; known are {known}")


def _installed(wanted: Format) -> Format:
    if wanted.plugin and importlib.util.find_spec(wanted.plugin) is None:
        raise UsageError(f"{wanted.name} needs a package more: pip install 'rgt-cli[formats]'")
    return wanted


def register_plugins() -> None:
    """Teach Pillow the formats whose packages are installed."""
    for candidate in FORMATS:
        if candidate.plugin and importlib.util.find_spec(candidate.plugin):
            module = importlib.import_module(candidate.plugin)
            register: Callable[[], None] = getattr(module, "register_heif_opener", lambda: None)
            register()
