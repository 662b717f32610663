"""A file of pictures, decoded: whatever is stored in it, upright, as gray or RGB of 8 or 16 bits."""

from __future__ import annotations

import math
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

from rgt_cli.errors import InputError, RGTError
from rgt_cli.media import png
from rgt_cli.media.color import lab_to_srgb, space_of, srgb_profile, to_srgb
from rgt_cli.media.formats import FORMATS, register_plugins
from rgt_cli.media.metadata import filter_exif, orientation_of
from rgt_cli.media.picture import ImageSequence, Metadata, Picture

MAX_PIXELS = 300_000_000
"""Pixels of all pictures in a file that are decoded unless a person allows more."""
Image.MAX_IMAGE_PIXELS = None  # the same check with a clear way past it is in here
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_THUMBNAIL_PAGE = 1
"""Bit of NewSubfileType: a smaller copy of another page."""


def read_images(path: Path, max_pixels: int = MAX_PIXELS) -> ImageSequence:
    """Decode every picture of a file, with its orientation applied and its metadata kept.

    Args:
        max_pixels: refuse files that hold more, before they fill the memory.

    Raises:
        InputError: the file cannot be read, is no picture, is damaged, or of a kind that is not
            supported.
    """
    with clear_errors(path):
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: no file but a folder, a pipe or a device")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of decoders, about what is said in our own words
            return _Reader(path, max_pixels).read()


def format_inside(path: Path) -> str:
    """The name of the format that a file is in, "png" where it cannot be told; it is not decoded."""
    register_plugins()
    with suppress(Exception), Image.open(path, formats=_registered()) as opened:
        pillow = "JPEG" if opened.format == "MPO" else opened.format
        return next(f.name for f in FORMATS if f.pillow == pillow)
    return "png"


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn whatever decoders raise, which is anything, into one line."""
    try:
        yield
    except RGTError:
        raise
    except Image.UnidentifiedImageError as error:
        known = ", ".join(f.name for f in FORMATS)
        raise InputError(f"{path}: not a picture of a known format ({known})") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except MemoryError as error:
        raise InputError(f"{path}: too large to be read into memory") from error
    except Exception as error:
        raise InputError(f"{path}: damaged picture: {error or type(error).__name__}") from error


@contextmanager
def opened_picture(
    path: Path, max_pixels: int
) -> Iterator[tuple[ImageFile.ImageFile, Metadata, Image.Exif | None]]:
    """Open a file without decoding it: Pillow's image, its metadata, and its EXIF as stored."""
    reader = _Reader(path, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with reader.opened() as opened:
            exif = reader.exif(opened)
            yield opened, reader.metadata(opened, exif), exif


@dataclass
class _Reader:
    """The reading of one file."""

    path: Path
    max_pixels: int
    warnings: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Note what is left out of the images."""
        if (warning := f"{self.path}: {message}") not in self.warnings:
            self.warnings.append(warning)

    def read(self) -> ImageSequence:
        """Decode the file."""
        with self.path.open("rb") as file:
            start = file.read(8)
            if start.startswith(_TIFF):
                if pictures := self._deep_tiff():
                    return ImageSequence(pictures, warnings=tuple(self.warnings))
            elif start == png.SIGNATURE and png.depth(file) == 16:
                return self._deep_png()
        with self.opened() as opened:
            frames = getattr(opened, "n_frames", 1)
            if frames == 1 or opened.format not in (*_ANIMATED, "TIFF"):
                if frames > 1:
                    self.warn(f"only the main one of its {frames} pictures is taken")
                return ImageSequence([self._picture(opened)], warnings=tuple(self.warnings))
            self._check_size(opened.width * frames, opened.height, f"{frames} frames of ")
            if opened.format == "TIFF":
                return ImageSequence(list(self._pages(opened)), warnings=tuple(self.warnings))
            return self._animation(opened, frames)

    @contextmanager
    def opened(self) -> Iterator[ImageFile.ImageFile]:
        register_plugins()
        with Image.open(self.path, formats=_registered()) as opened:
            self._check_size(*opened.size)
            yield opened

    def _check_size(self, width: int, height: int, what: str = "") -> None:
        if width * height > self.max_pixels:
            raise InputError(
                f"{self.path}: refused: {what}{width} x {height} pixels; "
                "if that is what it should be, pass a larger --max-pixels"
            )

    def _pages(self, opened: ImageFile.ImageFile) -> Iterator[Picture]:
        for index in range(getattr(opened, "n_frames", 1)):
            opened.seek(index)
            if index and opened.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & _THUMBNAIL_PAGE:  # type: ignore[attr-defined]
                self.warn("its reduced copy of a page is left out")
                continue
            self._check_size(*opened.size)
            yield self._picture(opened)

    def _animation(self, opened: ImageFile.ImageFile, frames: int) -> ImageSequence:
        pictures, durations = [], []
        metadata: Metadata | None = None
        for index in range(frames):
            opened.seek(index)
            # A frame of a GIF may be larger than its screen, which grows with it.
            self._check_size(opened.width * frames, opened.height, f"{frames} frames of ")
            picture = self._picture(opened, metadata)
            metadata = picture.metadata  # of the file, not of a frame
            pictures.append(picture)
            durations.append(float(opened.info.get("duration", 0) or 0))
        return ImageSequence(
            _alike(pictures),
            durations=tuple(durations),
            loop=opened.info.get("loop"),
            has_cover=bool(getattr(opened, "default_image", False)),
            warnings=tuple(self.warnings),
        )

    def _picture(self, opened: ImageFile.ImageFile, metadata: Metadata | None = None) -> Picture:
        """The frame that `opened` stands at."""
        opened.load()
        exif = self.exif(opened)
        # HEIF and JPEG XL are turned by their decoders.
        orientation = 1 if exif is None or opened.format in ("HEIF", "JXL") else orientation_of(exif)
        if metadata is None:
            metadata = self.metadata(opened, exif)
        image, metadata = self._gray_or_rgb(opened, metadata)
        array = _upright(np.asarray(image), orientation)
        alpha = np.ascontiguousarray(array[..., -1]) if image.mode.endswith("A") else None
        pixels = array if alpha is None else array[..., :-1]
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        if orientation >= 5 and metadata.dpi:
            metadata = replace(metadata, dpi=metadata.dpi[::-1])
        return Picture(np.ascontiguousarray(pixels), alpha, metadata)

    def exif(self, opened: ImageFile.ImageFile) -> Image.Exif | None:
        try:
            return opened.getexif()
        except Exception:  # it is decoded by hand, and damaged in every way
            self.warn("its EXIF is damaged and left out")
            return None

    def metadata(self, opened: ImageFile.ImageFile, exif: Image.Exif | None) -> Metadata:
        info = opened.info
        icc, xmp = info.get("icc_profile"), info.get("xmp")
        if xmp is None and opened.format == "TIFF":
            xmp = opened.tag_v2.get(700)  # type: ignore[attr-defined]
        metadata = Metadata(
            icc=icc or None, xmp=xmp.encode() if isinstance(xmp, str) else xmp or None, dpi=_dpi(info)
        )
        if opened.format in ("JPEG", "MPO", "GIF") and isinstance(info.get("comment"), bytes):
            metadata = replace(metadata, comment=info["comment"])
        if opened.format in ("JPEG", "MPO"):
            blocks = [data for name, data in getattr(opened, "applist", []) if name == "APP13"]
            metadata = replace(metadata, iptc=blocks[0] if len(blocks) == 1 else None)
        if opened.format == "PNG":
            with self.path.open("rb") as file:
                metadata = replace(metadata, png=png.kept_chunks(file))
        return self._with_exif(metadata, exif)

    def _with_exif(self, metadata: Metadata, exif: Image.Exif | None) -> Metadata:
        if exif is None:
            return metadata
        try:
            if metadata.dpi is None:
                metadata = replace(metadata, dpi=_exif_dpi(exif))
            kept, has_thumbnail = filter_exif(exif)
        except Exception:
            self.warn("its EXIF is damaged and left out")
            return metadata
        return replace(metadata, exif=kept, has_thumbnail=has_thumbnail)

    def _gray_or_rgb(
        self, opened: ImageFile.ImageFile, metadata: Metadata
    ) -> tuple[Image.Image, Metadata]:
        """A picture of mode L, LA, RGB or RGBA, and the metadata that fits it."""
        space = space_of(metadata.icc) if metadata.icc else ""
        if opened.mode in ("CMYK", "LAB"):
            return self._converted(opened, metadata, space)
        if (
            space is None
            or (space not in ("", "RGB", "GRAY"))
            or (space == "GRAY" and _has_color(opened))
        ):
            self.warn("its ICC profile is damaged and left out" if space is None else
                      f"its ICC profile is for {space} and left out")  # fmt: skip
            metadata = replace(metadata, icc=None)
        wanted = _WANTED.get(opened.mode)
        if wanted is None:
            raise InputError(f"{self.path}: pictures of mode {opened.mode} are not supported")
        if "transparency" in opened.info and not wanted.endswith("A"):
            wanted += "A"
        return (opened if opened.mode == wanted else opened.convert(wanted)), metadata

    def _converted(
        self, opened: Image.Image, metadata: Metadata, space: str | None
    ) -> tuple[Image.Image, Metadata]:
        """From the space of printers to sRGB."""
        self.warn(f"{opened.mode} is converted to sRGB")
        try:
            if opened.mode == "LAB":
                image = lab_to_srgb(opened)
            elif metadata.icc and space == "CMYK":
                image = to_srgb(opened, metadata.icc)
            else:
                return opened.convert("RGB"), replace(metadata, icc=None)
        except (ImageCms.PyCMSError, OSError):
            self.warn("its ICC profile is damaged and left out")
            return opened.convert("RGB"), replace(metadata, icc=None)
        return image, replace(metadata, icc=srgb_profile())

    def _deep_png(self) -> ImageSequence:
        import imageio.v3 as imageio  # which starts for long, and few pictures need it

        with self.opened() as opened:  # for the metadata, and for the checks of what is in it
            if getattr(opened, "n_frames", 1) > 1:
                raise InputError(f"{self.path}: animations of 16 bits a channel are not supported")
            opened.load()
            exif = self.exif(opened)
            metadata = self.metadata(opened, exif)
        array = imageio.imread(self.path, plugin="pyav", index=0, format=None)
        channels = array.astype(np.uint16).reshape(*array.shape[:2], -1)
        alpha = channels[..., -1] if channels.shape[2] in (2, 4) else None
        pixels = channels[..., : 3 if channels.shape[2] > 2 else 1]
        return self._deep(
            [(Picture(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels, alpha, metadata), exif)]
        )

    def _deep_tiff(self) -> list[Picture]:
        """The pages of a TIFF of more than 8 bits; none if it is one of 8 or fewer."""
        from rgt_cli.media import tiff  # which starts for long, and few pictures need it

        sizes = tiff.sizes(self.path)
        for width, height in sizes:
            self._check_size(width, height)
        if not tiff.is_deep(self.path):
            return []
        self._check_size(sum(width * height for width, height in sizes), 1)
        pages = [(p, exif) for p, exif in tiff.deep_pages(self.path)]
        return list(
            self._deep(
                [(replace(p, metadata=self._with_exif(p.metadata, e)), e) for p, e in pages]
            ).frames
        )

    def _deep(self, found: list[tuple[Picture, Image.Exif | None]]) -> ImageSequence:
        pictures = []
        for picture, exif in found:
            turn = 1 if exif is None else orientation_of(exif)
            alpha = None if picture.alpha is None else _upright(picture.alpha, turn)
            pictures.append(replace(picture, pixels=_upright(picture.pixels, turn), alpha=alpha))
        return ImageSequence(pictures, warnings=tuple(self.warnings))


_WANTED = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA",
    "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "RGBA": "RGBA", "RGBa": "RGBA",
}  # fmt: skip
"""Mode of Pillow -> mode that is computed in; P with transparency and the like add an A."""


def _registered() -> list[str]:
    Image.init()
    return [f.pillow for f in FORMATS if f.pillow in Image.OPEN]


def _has_color(image: Image.Image) -> bool:
    return image.mode not in ("1", "L", "LA", "La")


def _alike(pictures: list[Picture]) -> list[Picture]:
    """Frames of one mode: with alpha if any has, in color if any is."""
    color = any(p.pixels.ndim == 3 for p in pictures)
    alpha = any(p.alpha is not None for p in pictures)

    def widened(picture: Picture) -> Picture:
        if color and picture.pixels.ndim == 2:
            picture = replace(picture, pixels=np.repeat(picture.pixels[..., None], 3, axis=2))
        if alpha and picture.alpha is None:
            picture = replace(picture, alpha=np.full(picture.pixels.shape[:2], 255, np.uint8))
        return picture

    return [widened(picture) for picture in pictures]


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of (H, W) or (H, W, C)."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _dpi(info: dict) -> tuple[float, float] | None:
    with suppress(TypeError, ValueError, ZeroDivisionError):
        across, down = (float(d) for d in info.get("dpi", ()))
        if all(math.isfinite(d) and 0 < d < 1e6 for d in (across, down)):
            return across, down
    return None


def _exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    factor = {2: 1.0, 3: 2.54}.get(exif.get(ExifTags.Base.ResolutionUnit, 2))
    sides = [exif.get(tag) for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution)]
    if factor is None or None in sides:
        return None
    return _dpi({"dpi": [float(side) * factor for side in sides if side is not None]})
