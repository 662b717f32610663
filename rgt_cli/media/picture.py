"""One still picture: its pixels, and the envelope of metadata that goes back out with them."""

import io
import os
import secrets
import stat
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from rgt_cli.errors import OutputError, PictureError, UsageError
from rgt_cli.media.formats import FORMATS, Format

_DESCRIPTIVE_TAGS = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}
"""What of EXIF stays true of an enlarged picture; the rest describes how the file was laid out."""


PARTIAL = ".rgt-{}.part"
"""The name of a picture that is being written, with eight hexadecimal digits."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright."""

    pixels: np.ndarray
    """(H, W) gray or (H, W, 3) RGB, uint8."""
    icc: bytes | None = None
    """The ICC profile that says what the numbers mean; None where the file had none."""
    exif: bytes | None = None
    """EXIF without orientation (it has been applied), thumbnail and layout."""

    def with_pixels(self, pixels: np.ndarray) -> "Picture":
        """The same envelope around other pixels, (H, W) or (H, W, 3) uint8."""
        exif = self.exif
        if exif:
            tags = Image.Exif()
            tags.load(exif)
            details = tags.get_ifd(ExifTags.IFD.Exif)
            sides = (ExifTags.Base.ExifImageHeight, ExifTags.Base.ExifImageWidth)
            for tag, side in zip(sides, pixels.shape, strict=False):
                if tag in details:
                    details[tag] = side
            exif = tags.tobytes()
        return replace(self, pixels=pixels, exif=exif)


def read_picture(path: Path) -> Picture:
    """Decode a picture, apply its EXIF orientation and keep its ICC profile and EXIF.

    Raises:
        PictureError: the file cannot be read, is no picture, or is damaged.
        UsageError: a picture of a kind that is not supported yet.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PictureError(f"{path}: no file but a folder, a pipe or a device")
        with warnings.catch_warnings():
            # Large pictures are what people bring; Pillow still refuses the absurd ones.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _decode(path)
    except UsageError:
        raise
    except Image.UnidentifiedImageError as error:
        known = ", ".join(f.name for f in FORMATS)
        raise PictureError(f"{path}: not a picture of a known format ({known})") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: refused: {error}") from error
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except MemoryError as error:
        raise PictureError(f"{path}: too large to be read into memory") from error
    except PermissionError as error:
        raise PictureError(f"{path}: no permission to read it") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise PictureError(f"{path}: damaged picture: {error}") from error


def _decode(path: Path) -> Picture:
    with Image.open(path, formats=[f.pillow for f in FORMATS]) as opened:
        _refuse_unsupported(path, opened)
        opened.load()
        upright = ImageOps.exif_transpose(opened)
        exif = _descriptive_exif(opened.getexif())
        return Picture(np.asarray(upright), opened.info.get("icc_profile"), exif)


def _refuse_unsupported(path: Path, opened: ImageFile.ImageFile) -> None:
    """Say so where Pillow would silently drop frames, transparency or bits."""
    if getattr(opened, "n_frames", 1) > 1:
        kind = "more than one frame or page"
    elif "transparency" in opened.info or "A" in opened.getbands():
        kind = "transparency"
    elif _bits(path, opened) > 8:
        kind = "more than 8 bits a channel"
    elif opened.mode not in ("L", "RGB"):
        kind = f"colour mode {opened.mode}"
    else:
        return
    raise UsageError(f"{path}: pictures with {kind} are not supported yet (8-bit RGB and gray are)")


def _bits(path: Path, opened: ImageFile.ImageFile) -> int:
    """Bits a channel as stored, which Pillow hides for 16-bit RGB."""
    if opened.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # IHDR: length, name, width, height, bit depth
    if opened.format == "TIFF":
        bits: Any = opened.tag_v2.get(ExifTags.Base.BitsPerSample, 8)  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 16 if opened.mode.startswith(("I", "F")) else 8


def _descriptive_exif(exif: Image.Exif) -> bytes | None:
    for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if group in exif:
            exif.get_ifd(group)  # read it now: the file is about to be closed
    for tag in list(exif):
        if tag not in _DESCRIPTIVE_TAGS:
            del exif[tag]
    return exif.tobytes() if len(exif) else None


def remove_partials(folder: Path) -> None:
    """Remove what processes that died while they wrote a picture left in a folder."""
    for path in folder.glob(PARTIAL.format("?" * 8)):
        with suppress(OSError):
            path.unlink()


def write_picture(picture: Picture, target: Path, file_format: Format, quality: int = 95) -> None:
    """Write a picture so that `target` either is whole or is not touched.

    Args:
        quality: 1..100, for formats that have it. JPEG keeps full colour resolution (4:4:4).

    Raises:
        OutputError: the disk is full, the folder cannot be written, or the format cannot hold it.
    """
    options: dict[str, Any] = {}
    if file_format.has_metadata:
        envelope = {"icc_profile": picture.icc, "exif": picture.exif}
        options = {name: value for name, value in envelope.items() if value}
    if file_format.has_quality:
        options["quality"] = quality
    if file_format.pillow == "JPEG":
        options["subsampling"] = 0
    elif file_format.pillow == "TIFF" and not picture.exif:
        options["compression"] = "tiff_adobe_deflate"  # Pillow cannot write EXIF beside it
    partial = target.with_name(PARTIAL.format(secrets.token_hex(4)))
    try:
        # Given a file, Pillow takes a short write on a full disk for a whole one.
        encoded = io.BytesIO()
        Image.fromarray(picture.pixels).save(encoded, file_format.pillow, **options)
        with partial.open("xb") as file:
            file.write(encoded.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{target}: cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
