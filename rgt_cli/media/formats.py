"""The file formats that are read and written, and what each supports."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rgt_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """A file format of images."""

    name: str
    """The name that `--format` accepts."""
    pillow: str
    """The name that Pillow uses."""
    suffixes: tuple[str, ...]
    """File name suffixes in lower case, the usual one first."""
    longest_side: int = 2**31 - 1
    """The largest width or height, in pixels."""
    modes: tuple[str, ...] = ("L", "LA", "RGB", "RGBA")
    """The supported combinations of gray or color with or without alpha, as Pillow names them."""
    has_quality: bool = False
    """Whether the format is lossy, so that `--quality` has a meaning."""
    has_lossless: bool = True
    """Whether the format can store every pixel exactly."""
    is_deep: bool = False
    """Whether the format supports 16 bits per channel."""
    has_icc: bool = True
    """Whether the format supports ICC profiles."""
    has_metadata: bool = True
    """Whether the format supports EXIF and XMP."""
    has_dpi: bool = False
    """Whether the format stores a resolution in pixels per inch, apart from EXIF."""
    is_animated: bool = False
    """Whether the format supports animations."""
    has_pages: bool = False
    """Whether the format supports several pages."""
    plugin: str | None = None
    """The module that adds the format to Pillow; the extra `rgt-cli[formats]` installs it."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A file format of videos."""

    name: str
    """The name that `--format` accepts."""
    suffixes: tuple[str, ...]
    """File name suffixes in lower case, the usual one first."""
    muxer: str
    """The name that FFmpeg uses."""
    codecs: tuple[str, ...] = ()
    """The supported video encoders, the default first; empty if any is supported."""


Format = ImageFormat | Container

FORMATS = (
    ImageFormat(
        name="png",
        pillow="PNG",
        suffixes=(".png", ".apng"),
        is_deep=True,
        has_dpi=True,
        is_animated=True,
    ),
    ImageFormat(
        name="jpeg",
        pillow="JPEG",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        longest_side=65_500,  # that of libjpeg
        modes=("L", "RGB"),
        has_quality=True,
        has_lossless=False,
        has_dpi=True,
    ),
    ImageFormat(
        name="webp",
        pillow="WEBP",
        suffixes=(".webp",),
        longest_side=16_383,
        modes=("RGB", "RGBA"),
        has_quality=True,
        is_animated=True,
    ),
    ImageFormat(
        name="tiff",
        pillow="TIFF",
        suffixes=(".tif", ".tiff"),
        is_deep=True,
        has_dpi=True,
        has_pages=True,
    ),
    ImageFormat(
        name="bmp",
        pillow="BMP",
        suffixes=(".bmp",),
        modes=("L", "RGB"),
        has_icc=False,
        has_metadata=False,
        has_dpi=True,
    ),
    ImageFormat(
        name="avif",
        pillow="AVIF",
        suffixes=(".avif",),
        longest_side=32_768,  # that of its decoders
        modes=("RGB", "RGBA"),  # Pillow converts the others
        has_quality=True,
        has_lossless=False,
        is_animated=True,
    ),
    ImageFormat(
        name="gif",
        pillow="GIF",
        suffixes=(".gif",),
        longest_side=65_535,
        has_icc=False,
        has_metadata=False,
        has_lossless=False,
        is_animated=True,
    ),
    ImageFormat(
        name="heif",
        pillow="HEIF",
        suffixes=(".heic", ".heif", ".hif"),
        longest_side=16_384,
        has_quality=True,
        plugin="pillow_heif",
    ),
    ImageFormat(
        name="jxl",
        pillow="JXL",
        suffixes=(".jxl",),
        has_quality=True,
        has_icc=False,  # the encoder ignores them
        plugin="pillow_jxl",
    ),
)
"""The image formats that are read and written."""

CONTAINERS = (
    Container(name="mp4", suffixes=(".mp4", ".m4v"), muxer="mp4"),
    Container(name="mkv", suffixes=(".mkv",), muxer="matroska"),
    Container(name="mov", suffixes=(".mov",), muxer="mov"),
    Container(name="webm", suffixes=(".webm",), muxer="webm", codecs=("vp9", "av1")),
)
"""The video containers that are written. A video can also become a GIF; see `container_of`."""

INSTALL_EXTRA = 'run pip install "rgt-cli[formats]"'
"""What to do if a format needs a plugin that is not installed."""
_GIF = Container(name="gif", suffixes=(".gif",), muxer="gif", codecs=("gif",))
_IMAGE_INPUT_ONLY = (".dpx", ".mpo", ".pam", ".pbm", ".pgm", ".pnm", ".ppm")
_VIDEO_INPUT_ONLY = (
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265",
    ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".mk3d", ".mod", ".mpeg", ".mpg", ".mts", ".mxf",
    ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".wmv", ".wtv", ".y4m",
)  # fmt: skip
_WRITABLE: tuple[Format, ...] = (*FORMATS, *CONTAINERS)

READABLE = frozenset([*(suffix for f in FORMATS for suffix in f.suffixes), *_IMAGE_INPUT_ONLY])
"""The suffixes of image files, in lower case."""
UNSUPPORTED = frozenset(
    [
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef",
        ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
        ".srw", ".x3f",  # raw photos
        ".dds", ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxr", ".pcd", ".pcx", ".pfm",
        ".psb", ".psd", ".sgi", ".svg", ".tga", ".wdp", ".xcf",
    ]
)  # fmt: skip
"""The suffixes of images that are not read, in lower case: folders of photos contain them too."""
VIDEO_READABLE = frozenset([*(suffix for c in CONTAINERS for suffix in c.suffixes), *_VIDEO_INPUT_ONLY])
"""The suffixes of video files, in lower case."""


def format_named(name: str) -> Format:
    """Return the format whose name or suffix is `name`, in upper or lower case.

    Raises:
        UsageError: There is no such format, or its package is not installed.
    """
    for candidate in _WRITABLE:
        if name.lower() in (candidate.name, *(suffix[1:] for suffix in candidate.suffixes)):
            return _installed(candidate)
    names = ", ".join(candidate.name for candidate in _WRITABLE)
    raise UsageError(f"{name!r} is not a known format: use {names}")


def format_of(path: Path) -> Format:
    """Return the format that the suffix of a file name means.

    Raises:
        UsageError: The suffix is unknown, or the package of its format is not installed.
    """
    for candidate in _WRITABLE:
        if path.suffix.lower() in candidate.suffixes:
            return _installed(candidate)
    known = ", ".join(suffix for candidate in _WRITABLE for suffix in candidate.suffixes)
    raise UsageError(f"{path}: the suffix {path.suffix!r} is not that of a known format: use {known}")


def container_of(file_format: Format) -> Container | None:
    """Return the container that a video is written to, or None if the format supports no videos.

    A `Container` is its own container. The image format GIF has one too.
    """
    if isinstance(file_format, Container):
        return file_format
    return _GIF if file_format.name == _GIF.name else None


def _installed(candidate: Format) -> Format:
    if not is_installed(candidate):
        name = candidate.pillow if isinstance(candidate, ImageFormat) else candidate.name
        raise UsageError(f"{name} support is not installed: {INSTALL_EXTRA}")
    return candidate


def is_installed(candidate: Format) -> bool:
    """Return whether a format can be read and written: its plugin is installed, if it needs one."""
    plugin = candidate.plugin if isinstance(candidate, ImageFormat) else None
    return plugin is None or importlib.util.find_spec(plugin) is not None


@cache
def register_plugins() -> None:
    """Register the installed plugins with Pillow."""
    for candidate in FORMATS:
        if candidate.plugin and is_installed(candidate):
            module = importlib.import_module(candidate.plugin)
            register: Callable[[], None] = getattr(module, "register_heif_opener", lambda: None)
            register()
