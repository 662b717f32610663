"""Read image files: decode any of them to upright gray or RGB images of 8 or 16 bits per channel."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from rgt_cli.errors import InputError
from rgt_cli.files import FileStamp
from rgt_cli.media import heif, input_only, png
from rgt_cli.media.damage import has_damaged_pixels
from rgt_cli.media.exif import orientation_of, plausible_dpi, read_exif
from rgt_cli.media.header import read_header
from rgt_cli.media.identify import TIFF, clear_errors, no_pixel_limit, open_by_pillow
from rgt_cli.media.iptc import joined_photoshop
from rgt_cli.media.layout import Header
from rgt_cli.media.metadata import with_exif
from rgt_cli.media.modes import UPRIGHT_DECODERS, gray_or_rgb, has_color, split_alpha, usable_icc
from rgt_cli.media.picture import ImageSequence, Metadata, Picture, with_same_mode
from rgt_cli.media.png_metadata import PngMetadata, read_png_metadata
from rgt_cli.media.profiles import coded_profile, hdr_name
from rgt_cli.media.xmp import attachments
from rgt_cli.size import Dimensions

MAX_PIXELS = 300_000_000
"""The most pixels that all images of a file may have, unless more are allowed explicitly."""
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_THUMBNAIL_PAGE = 1
"""The bit of NewSubfileType that marks a smaller copy of another page."""


def read_images(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> ImageSequence:
    """Decode every image of a file, with its orientation applied, and read its metadata.

    Args:
        path: The file.
        max_pixels: The most pixels that all images of the file may have. It protects the memory.
        on_frame: Called with (frames or pages decoded, total), if there are several.

    Raises:
        InputError: The file cannot be read, is not an image, is damaged, has too many pixels, or is of
            an unsupported kind.
    """
    stamp = FileStamp.of(path)
    header = read_header(path)
    check_pixels(path, header, max_pixels)
    with clear_errors(path), no_pixel_limit(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn about what is reported here
        images = _Reader(path, max_pixels, on_frame).read()
    if header.bits > images.first.bits:
        deep = f"{path}: has more than 8 bits per channel, of which 8 are used"
        images = replace(images, warnings=(*images.warnings, deep))
    return replace(images, stamp=stamp)


def read_first(path: Path, max_pixels: int, longest: int) -> Picture:
    """Decode the first frame or page of a file, upright; a large JPEG at a fraction of its size.

    Args:
        path: The file.
        max_pixels: The most pixels that are decoded, apart from those of a JPEG.
        longest: The longer side, in pixels, that the result has at least if the file has it.

    Raises:
        InputError: As `read_images`.
    """
    header = read_header(path)
    frame = header.size.width * header.size.height
    if header.format != "jpeg" and frame > max_pixels:
        raise InputError(f"{path}: {header.size} pixels are more than {max_pixels}")
    with clear_errors(path), no_pixel_limit(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn about what is reported here
        reader = _Reader(path, header.pixels)
        if header.bits > 8 or header.format in input_only.NAMES:
            return reader.read().first
        with reader.opened() as opened:
            opened.draft(None, (longest, longest))  # which has an effect on a JPEG alone
            return reader.picture(opened)


def check_pixels(path: Path, header: Header, max_pixels: int) -> None:
    """Refuse a file with too many pixels, by its header.

    Raises:
        InputError: It has more than `max_pixels`.
    """
    if header.pixels > max_pixels:
        kind = "frames" if header.is_animation else "pages"
        raise _too_many_pixels(
            path, header.size, f"{header.frames} {kind} of " * (header.frames > 1), max_pixels
        )


def _too_many_pixels(path: Path, size: Dimensions, count: str, max_pixels: int) -> InputError:
    return InputError(
        f"{path}: {count}{size} pixels are more than {max_pixels}; "
        "use a larger --max-pixels if you trust the file"
    )


@dataclass(frozen=True)
class OpenedImage:
    """An image file whose pixels are not decoded yet."""

    pillow: ImageFile.ImageFile
    metadata: Metadata
    orientation: int
    """As EXIF counts it, 1..8; 1 is upright."""
    warnings: tuple[str, ...]
    """What is left out of the metadata."""


@contextmanager
def open_image(path: Path, max_pixels: int) -> Iterator[OpenedImage]:
    """Open an image file and read its metadata, without decoding its pixels.

    Raises:
        InputError: The image has too many pixels.
        Exception: The file is damaged; see `clear_errors`.
    """
    check_pixels(path, read_header(path), max_pixels)
    reader = _Reader(path, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with reader.opened() as opened:
            exif = reader.exif(opened)
            metadata = usable_icc(reader.metadata(opened, exif), has_color(opened), reader.warn)
            orientation = 1 if exif is None else orientation_of(exif)
            yield OpenedImage(opened, metadata, orientation, tuple(reader.warnings))


@dataclass
class _Reader:
    """Reads one file."""

    path: Path
    max_pixels: int
    on_frame: Callable[[int, int], None] = lambda done, total: None
    warnings: list[str] = field(default_factory=list)
    """What is left out of the images."""
    _png: PngMetadata | None = None

    def warn(self, message: str) -> None:
        if (warning := f"{self.path}: {message}") not in self.warnings:
            self.warnings.append(warning)

    def read(self) -> ImageSequence:
        """Decode the file."""
        with self.path.open("rb") as file:
            start = file.read(8)
            if start == png.SIGNATURE and png.depth(file) == 16:
                return self._sequence([self._deep_png()])
        if input_only.size_of(self.path):
            picture = input_only.read_input_only(self.path)
            if input_only.is_dpx(start):
                self.warn("the header of a DPX is not copied; the encoded colors are not converted")
            return self._sequence([picture])
        if start.startswith(TIFF) and (pages := self._pages_by_tifffile()):
            return self._sequence(pages)
        with self.opened() as opened:
            frames = getattr(opened, "n_frames", 1)
            if frames == 1 or opened.format not in (*_ANIMATED, "TIFF"):
                if frames > 1:
                    self.warn(f"contains {frames} images; only the main one is used")
                picture = self.picture(opened)
                if opened.format in ("JPEG", "MPO") and has_damaged_pixels(self.path):
                    self.warn("its pixels are damaged in part: compare the output with the input")
                return self._sequence([picture])
            if opened.format == "TIFF":
                return self._sequence(list(self._pages(opened)))
            return self._animation(opened, frames)

    def _sequence(self, pictures: list[Picture]) -> ImageSequence:
        return ImageSequence(pictures, warnings=tuple(self.warnings))

    @contextmanager
    def opened(self) -> Iterator[ImageFile.ImageFile]:
        with open_by_pillow(self.path) as opened:
            self.check_size(*opened.size)
            yield opened

    def check_size(self, width: int, height: int, frames: int = 1) -> None:
        """Refuse images with too many pixels.

        Raises:
            InputError: There are more than `max_pixels`.
        """
        if width * height * frames > self.max_pixels:
            count = f"{frames} frames of " * (frames > 1)
            raise _too_many_pixels(self.path, Dimensions(width, height), count, self.max_pixels)

    def _pages(self, opened: ImageFile.ImageFile) -> Iterator[Picture]:
        pages = getattr(opened, "n_frames", 1)
        for index in range(pages):
            self.on_frame(index, pages)
            opened.seek(index)
            if index and _tiff_tag(opened, ExifTags.Base.NewSubfileType, 0) & _THUMBNAIL_PAGE:
                self.warn("contains a reduced copy of a page, which is left out")
                continue
            self.check_size(*opened.size)
            yield self.picture(opened)
        self.on_frame(pages, pages)

    def _animation(self, opened: ImageFile.ImageFile, frames: int) -> ImageSequence:
        pictures, durations = [], []
        metadata: Metadata | None = None
        for index in range(frames):
            self.on_frame(index, frames)
            opened.seek(index)
            # A frame of a GIF may be larger than the first; Pillow extends the image then.
            self.check_size(opened.width, opened.height, frames)
            picture = self.picture(opened, metadata)
            metadata = metadata or picture.metadata  # that of the file, not of a frame
            pictures.append(replace(picture, metadata=metadata))
            durations.append(float(opened.info.get("duration", 0) or 0))
        self.on_frame(frames, frames)
        return ImageSequence(
            with_same_mode(pictures),
            durations=tuple(durations),
            loop=opened.info.get("loop"),
            has_cover=bool(getattr(opened, "default_image", False)),
            warnings=tuple(self.warnings),
        )

    def picture(self, opened: ImageFile.ImageFile, metadata: Metadata | None = None) -> Picture:
        """Decode the current frame or page; `metadata` is that of the file if it has been read."""
        stored = self._orientation(opened)
        opened.load()
        orientation = self._orientation(opened)  # 1 in a TIFF, which Pillow has turned by now
        exif = self.exif(opened)
        if metadata is None:
            metadata = self.metadata(opened, exif)
        image, metadata = self._gray_or_rgb(opened, metadata)
        pixels, alpha = split_alpha(image)
        if orientation == 1 and stored > 1:
            metadata = metadata.turned(stored)
        if opened.format in UPRIGHT_DECODERS:
            metadata = metadata.turned(1)
        return Picture(pixels, alpha, metadata).upright(orientation)

    def _orientation(self, opened: ImageFile.ImageFile) -> int:
        """Return the orientation that the decoder does not apply itself, so far."""
        exif = None if opened.format in UPRIGHT_DECODERS else self.exif(opened)
        return 1 if exif is None else orientation_of(exif)

    def exif(self, opened: ImageFile.ImageFile) -> Image.Exif | None:
        """Return the EXIF of an opened file, or None if it is damaged or missing."""
        try:
            if opened.format != "PNG":
                exif = read_exif(opened)
                exif.get_ifd(ExifTags.IFD.Interop)  # Pillow closes a TIFF before it would read this
                return exif
            exif = Image.Exif()  # Pillow would decode all pixels to find EXIF behind them
            exif.load(self._png_metadata().exif or b"")
            return exif
        except Exception:  # Pillow parses it in Python: damaged data can raise anything
            self.warn("the EXIF is damaged and is left out")
            return None

    def _png_metadata(self) -> PngMetadata:
        if self._png is None:
            with self.path.open("rb") as file:
                self._png = read_png_metadata(file)
        return self._png

    def metadata(self, opened: ImageFile.ImageFile, exif: Image.Exif | None) -> Metadata:
        """Return the metadata of an opened file, with its ICC profile unchecked."""
        info = opened.info
        icc, xmp = info.get("icc_profile"), info.get("xmp")
        if xmp is None and opened.format == "TIFF":
            xmp = _tiff_tag(opened, ExifTags.Base.XMLPacket, None)
        metadata = Metadata(
            icc=icc or None,
            xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
            dpi=plausible_dpi(info.get("dpi")),
        )
        if opened.format in ("JPEG", "MPO", "GIF") and isinstance(info.get("comment"), bytes):
            metadata = replace(metadata, comment=info["comment"])
        if opened.format in ("JPEG", "MPO"):
            segments = [data for name, data in getattr(opened, "applist", []) if name == "APP13"]
            metadata = replace(metadata, iptc=joined_photoshop(segments))
            for attachment in attachments(metadata.xmp) if metadata.xmp else ():
                self.warn(f"contains {attachment}, which is left out")
        if opened.format == "PNG":
            found = self._png_metadata()
            metadata = replace(metadata, xmp=found.xmp, png=found.chunks)
        if opened.format in ("AVIF", "HEIF"):
            metadata = self._with_coding(metadata, heif.read_coding(self.path))
        if opened.format == "TIFF":
            from rgt_cli.media import tiff  # slow to import

            metadata = replace(metadata, iptc=tiff.photoshop_in(self.path, opened.tell()))
        return with_exif(metadata, exif, self.warn)

    def _with_coding(self, metadata: Metadata, coding: heif.Coding) -> Metadata:
        """Return the metadata with the color space that a file names by codes."""
        if coding.bits > 8:
            self.warn(f"has {coding.bits} bits per channel, of which 8 are used")
        if metadata.icc:
            return metadata
        if hdr_name(coding.transfer):
            codes = bytes([coding.primaries & 255, coding.transfer & 255, 0, 1])
            return replace(metadata, png=((b"cICP", codes),))
        return replace(metadata, icc=coded_profile(coding.primaries, coding.transfer))

    def _gray_or_rgb(
        self, opened: ImageFile.ImageFile, metadata: Metadata
    ) -> tuple[Image.Image, Metadata]:
        """Return an image of mode L, LA, RGB or RGBA, and the metadata that suits it."""
        if opened.format == "PNG":
            with self.path.open("rb") as file:
                png.scale_transparent_gray(opened, png.depth(file))
        try:
            return gray_or_rgb(opened, metadata, self.warn)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    def _deep_png(self) -> Picture:
        """Decode a PNG of 16 bits per channel, of which Pillow would return 8."""
        with self.opened() as opened:
            if getattr(opened, "n_frames", 1) > 1:
                raise InputError(f"{self.path}: animations of 16 bits per channel are not supported")
            exif = self.exif(opened)
            metadata = self.metadata(opened, exif)
        with self.path.open("rb") as file:
            array = png.read_deep(file)
        channels = array if array.ndim == 3 else array[..., None]
        alpha = channels[..., -1] if channels.shape[2] in (2, 4) else None
        pixels = channels[..., :3] if channels.shape[2] > 2 else channels[..., 0]
        return self._deep(Picture(pixels, alpha, metadata), exif)

    def _pages_by_tifffile(self) -> list[Picture]:
        """Decode the pages of a TIFF that Pillow does not decode, or not in full; none of any other."""
        from rgt_cli.media import tiff  # slow to import

        if not tiff.needs_tifffile(self.path):
            return []
        pages = []
        for picture, exif in tiff.pages_by_tifffile(self.path):
            metadata = with_exif(picture.metadata, exif, self.warn)
            pages.append(self._deep(replace(picture, metadata=metadata), exif))
        return pages

    def _deep(self, picture: Picture, exif: Image.Exif | None) -> Picture:
        """Return an image that Pillow has not decoded, upright, with a usable profile."""
        metadata = usable_icc(picture.metadata, picture.pixels.ndim == 3, self.warn)
        orientation = 1 if exif is None else orientation_of(exif)
        return replace(picture, metadata=metadata).upright(orientation)


def _tiff_tag(opened: ImageFile.ImageFile, tag: int, default: Any) -> Any:
    assert isinstance(opened, TiffImagePlugin.TiffImageFile)
    return opened.tag_v2.get(tag, default)
