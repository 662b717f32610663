"""Write images: fit them to what a format supports, encode them, and replace the target atomically."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms

from rgt_cli.errors import OutOfMemoryError, UsageError
from rgt_cli.files import atomic_write
from rgt_cli.media import png
from rgt_cli.media.color import pixels_to_srgb, space_of
from rgt_cli.media.exif import remove_thumbnail
from rgt_cli.media.formats import FORMATS, ImageFormat, register_plugins
from rgt_cli.media.gif import to_palette
from rgt_cli.media.iptc import photoshop_segments
from rgt_cli.media.picture import ImageSequence, Metadata, Picture
from rgt_cli.media.png_metadata import TEXT_CHUNKS, metadata_chunks
from rgt_cli.media.profiles import hdr_of_png, png_profile

_LONGEST_EXIF = 65_533
_LONGEST_TEXT = 65_500
"""The most bytes of EXIF, and of XMP or a comment, in a JPEG."""
_ENCODER_ERRORS = (ValueError, RuntimeError, OverflowError, SyntaxError, OSError)
"""What Pillow, its plugins and tifffile raise if they refuse an image."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """The options of the image encoders."""

    quality: int = 95
    """1..100, for lossy formats. JPEG and AVIF use full color resolution (4:4:4) at any quality."""
    lossless: bool = False
    """Store every pixel exactly, in formats that offer the choice."""
    background: tuple[int, int, int] | None = None
    """The color, RGB of 0..255, behind transparent pixels in formats without transparency."""


def check_images(
    images: ImageSequence, target: Path, file_format: ImageFormat, encoding: Encoding
) -> None:
    """Refuse images that a format does not support.

    Raises:
        UsageError: The format supports no transparency, and it is needed; or as `check_frames`.
    """
    name = file_format.name
    is_animation = images.durations is not None
    check_frames(len(images.frames), is_animation, target, file_format, encoding)
    flattens = encoding.background is None and not _supports_alpha(file_format)
    if flattens and not all(picture.is_opaque for picture in images.frames):
        raise UsageError(
            f"{target}: {name} does not support transparency; use another format, such as png, or "
            "--background white"
        )


def check_frames(
    count: int, is_animation: bool, target: Path, file_format: ImageFormat, encoding: Encoding
) -> None:
    """Refuse what a format does not support, as far as the header of the input reveals it.

    Args:
        count: Number of frames or pages.
        is_animation: Whether they are frames.
        target: The output.
        file_format: Its format.
        encoding: How it is encoded.

    Raises:
        UsageError: The format supports no animation, no pages or no lossless encoding, and one of these
            is needed.
    """
    name = file_format.name
    if count > 1 and is_animation and not file_format.is_animated:
        raise UsageError(f"{target}: {name} does not support animations; use png, webp or gif")
    if count > 1 and not is_animation and not file_format.has_pages:
        raise UsageError(f"{target}: {name} does not support several pages; use tiff")
    if encoding.lossless and file_format.has_quality and not file_format.has_lossless:
        raise UsageError(f"{target}: {name} does not support --lossless; use png")


def _supports_alpha(file_format: ImageFormat) -> bool:
    return any(mode.endswith("A") for mode in file_format.modes)


def write_images(
    images: ImageSequence, target: Path, file_format: ImageFormat, encoding: Encoding
) -> tuple[str, ...]:
    """Write images to a file that is either complete or left as it was.

    Returns:
        Warnings about what the format does not support and was lost.

    Raises:
        OutputError: The file cannot be written.
        UsageError: The encoder refuses the images, or as `check_images`.
        OutOfMemoryError: There is not enough memory to encode them.
    """
    check_images(images, target, file_format, encoding)
    fitted, lost = _fitted(images, file_format, encoding)
    with replacing(target) as file:
        _encode(fitted, file, file_format, encoding)
    return tuple(f"{target}: {loss}" for loss in lost)


def encode_png(picture: Picture) -> bytes:
    """Return an image, of 8 or 16 bits per channel, as the content of a PNG file."""
    png_format, file = next(f for f in FORMATS if f.name == "png"), io.BytesIO()
    _encode(ImageSequence([picture]), file, png_format, Encoding())
    return file.getvalue()


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a file for an encoder, open for writing and reading, that replaces `target` on success.

    Raises:
        OutputError: The file cannot be written.
        UsageError: The encoder refuses the images; others may succeed.
        OutOfMemoryError: There is not enough memory to encode them.
    """
    with atomic_write(target) as file:
        try:
            yield file
        except _ENCODER_ERRORS as error:
            if isinstance(error, OSError) and error.errno:  # of the disk
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UsageError(
                f"{target}: the encoder refuses it: {reason}; use another --format"
            ) from error
        except MemoryError as error:
            raise OutOfMemoryError(f"{target}: there is not enough memory to encode it") from error


def _fitted(
    images: ImageSequence, file_format: ImageFormat, encoding: Encoding
) -> tuple[ImageSequence, list[str]]:
    """Return the images as the format supports them, and what is lost."""
    lost: dict[str, None] = {}  # an ordered set: the frames of an animation lose the same
    frames = []
    for picture in images.frames:
        if not _supports_alpha(file_format):
            picture = _flattened(picture, encoding.background)
        if picture.bits > 8 and not file_format.is_deep:
            lost[f"{file_format.name} supports 8 bits per channel, not 16"] = None
            picture = picture.with_bits(8)
        has_color = picture.pixels.ndim == 3
        metadata, hdr = with_profile(picture.metadata, file_format, has_color=has_color)
        picture = replace(picture, metadata=metadata)
        lost |= dict.fromkeys(hdr)
        if _needs_srgb(picture, file_format):
            picture, failure = _as_srgb(picture)
            lost |= dict.fromkeys(failure)
        if picture.mode not in file_format.modes:
            picture = replace(picture, pixels=np.repeat(picture.pixels[..., None], 3, axis=2))
        metadata, unsupported = fitted_metadata(picture.metadata, file_format)
        lost |= dict.fromkeys(unsupported)
        frames.append(replace(picture, metadata=metadata))
    return replace(images, frames=frames), list(lost)


def with_profile(
    metadata: Metadata, file_format: ImageFormat, *, has_color: bool
) -> tuple[Metadata, list[str]]:
    """Return metadata with a profile if only a PNG describes the colors otherwise, and what is lost."""
    if file_format.name == "png" or metadata.icc:
        return metadata, []
    hdr = hdr_of_png(metadata.png)
    lost = f"{file_format.name} does not support HDR ({hdr}), so its colors look wrong: use --format png"
    profile = png_profile(metadata.png, has_color=has_color)
    return replace(metadata, icc=profile), [lost] if hdr else []


def fitted_metadata(metadata: Metadata, file_format: ImageFormat) -> tuple[Metadata, list[str]]:
    """Return the metadata that a format supports, and what is lost. The ICC profile is not checked."""
    name = file_format.name
    lost: list[str] = []
    if not file_format.has_metadata and (metadata.exif or metadata.xmp):
        lost.append(f"{name} does not support EXIF and XMP")
        metadata = replace(metadata, exif=None, xmp=None)
    if name == "jpeg":
        exif = metadata.exif
        if exif and metadata.has_thumbnail and len(exif) > _LONGEST_EXIF:
            exif = remove_thumbnail(exif)
        metadata = replace(
            metadata,
            exif=_short_enough("EXIF", exif, _LONGEST_EXIF, lost),
            xmp=_short_enough("XMP", metadata.xmp, _LONGEST_TEXT, lost),
            comment=_short_enough("comments", metadata.comment, _LONGEST_TEXT, lost),
        )
    if name not in ("jpeg", "tiff") and metadata.iptc:
        lost.append(f"{name} does not support IPTC")
        metadata = replace(metadata, iptc=None)
    if name != "png" and any(kind in TEXT_CHUNKS for kind, _ in metadata.png):
        lost.append(f"{name} does not support the text chunks of a PNG")
    return metadata, lost


def _short_enough(kind: str, data: bytes | None, longest: int, lost: list[str]) -> bytes | None:
    """Return the data if it fits into a segment of a JPEG, else None, and add the loss to `lost`."""
    if data is None or len(data) <= longest:
        return data
    lost.append(f"jpeg does not support {kind} of more than {longest} bytes")
    return None


def _needs_srgb(picture: Picture, file_format: ImageFormat) -> bool:
    """Return whether the format does not support the ICC profile, or not together with the pixels."""
    icc = picture.metadata.icc
    if icc is None:
        return False
    becomes_rgb = picture.pixels.ndim == 3 or picture.mode not in file_format.modes
    return not file_format.has_icc or (becomes_rgb and space_of(icc) == "GRAY")


def _as_srgb(picture: Picture) -> tuple[Picture, list[str]]:
    """Return an image of 8 bits in sRGB, without a profile, and what is lost."""
    assert picture.metadata.icc
    metadata = replace(picture.metadata, icc=None)
    try:
        pixels = pixels_to_srgb(picture.with_bits(8).pixels, picture.metadata.icc)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return replace(picture, metadata=metadata), ["the ICC profile cannot be applied and is left out"]
    return replace(picture.with_bits(8), pixels=pixels, metadata=metadata), []


def _flattened(picture: Picture, background: tuple[int, int, int] | None) -> Picture:
    """Return an image without alpha, its transparent pixels on a background."""
    if picture.alpha is None or picture.is_opaque:
        return replace(picture, alpha=None)
    assert background is not None  # `check_images` refuses it otherwise
    largest = np.iinfo(picture.pixels.dtype).max
    color = np.array(background, np.float32) / 255 * largest
    pixels = picture.pixels
    if pixels.ndim == 2:
        if len(set(background)) == 1:
            color = color[0]
        else:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
    share = picture.alpha.astype(np.float32) / largest
    share = share if pixels.ndim == 2 else share[..., None]
    mixed = np.rint(pixels * share + color * (1 - share)).astype(pixels.dtype)
    return replace(picture, pixels=mixed, alpha=None)


def _encode(images: ImageSequence, file: BinaryIO, file_format: ImageFormat, encoding: Encoding) -> None:
    """Encode images that the format supports into a file that is open for writing and reading."""
    first = images.first
    if file_format.name == "tiff":
        from rgt_cli.media import tiff  # slow to import

        tiff.write_pages(file, images.frames)
        return
    if file_format.name == "png" and first.bits == 16:
        channels = first.channels()
        count = channels.shape[2] if channels.ndim == 3 else 1
        png.write_rows(file, first.size, count, 16, [channels], metadata_chunks(first.metadata))
        return
    register_plugins()
    options = _pillow_options(first.metadata, file_format, encoding)
    pil_images = [Image.fromarray(picture.channels()) for picture in images.frames]
    if file_format.name == "gif":
        pil_images = [to_palette(image) for image in pil_images]
    if len(pil_images) > 1:
        options |= _animation_options(images, file_format)
        options["append_images"] = pil_images[1:]
    encoded = io.BytesIO()  # on a full disk, Pillow does not notice that a file is incomplete
    pil_images[0].save(encoded, file_format.pillow, **options)
    if file_format.name == "png":
        png.write_with_chunks(file, encoded.getbuffer(), metadata_chunks(first.metadata))
    else:
        file.write(encoded.getbuffer())


def _pillow_options(metadata: Metadata, file_format: ImageFormat, encoding: Encoding) -> dict[str, Any]:
    """Return the options of Pillow's encoders, apart from those of animations."""
    options: dict[str, Any] = {}
    if file_format.name != "png":  # the metadata of a PNG is written as chunks
        if file_format.has_icc and metadata.icc:
            options["icc_profile"] = metadata.icc
        if file_format.has_metadata:
            options |= {k: v for k, v in (("exif", metadata.exif), ("xmp", metadata.xmp)) if v}
        if file_format.has_dpi and metadata.dpi:
            options["dpi"] = metadata.dpi
    if file_format.has_quality:
        options["quality"] = encoding.quality
    extra = _EXTRA_OPTIONS.get(file_format.name)
    return options | extra(metadata, encoding) if extra else options


def _png_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    return {"compress_level": 4}  # half the time of the default, 5 % larger


def _jpeg_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    options: dict[str, Any] = {"subsampling": 0}
    if metadata.iptc:
        segments = photoshop_segments(metadata.iptc)
        options["extra"] = b"".join(b"\xff\xed" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return options | _comment_options(metadata, encoding)


def _comment_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    return {"comment": metadata.comment} if metadata.comment else {}


def _avif_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    return {"subsampling": "4:4:4"}


def _heif_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    options = {"chroma": 444}
    return options | {"quality": -1, "matrix_coefficients": 0} if encoding.lossless else options


def _webp_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    if not encoding.lossless:
        return {}
    # Here, quality is the effort. `exact` preserves the colors of transparent pixels.
    return {"lossless": True, "quality": 75, "exact": True}


def _jxl_options(metadata: Metadata, encoding: Encoding) -> dict[str, Any]:
    # The encoder refuses the highest quality of its lossy mode.
    return {"lossless": True} if encoding.lossless or encoding.quality == 100 else {}


_EXTRA_OPTIONS: dict[str, Callable[[Metadata, Encoding], dict[str, Any]]] = {
    "png": _png_options,
    "jpeg": _jpeg_options,
    "webp": _webp_options,
    "avif": _avif_options,
    "gif": _comment_options,
    "heif": _heif_options,
    "jxl": _jxl_options,
}
"""What a format needs besides what `ImageFormat` describes, by name."""


def _animation_options(images: ImageSequence, file_format: ImageFormat) -> dict[str, Any]:
    """Return the options of Pillow's encoders for an animation."""
    assert images.durations is not None
    options: dict[str, Any] = {"save_all": True}
    durations: Sequence[float] = images.durations[images.has_cover :]
    if file_format.name == "png":
        options |= {"disposal": 0, "blend": 0, "default_image": images.has_cover}
    else:
        durations = [round(duration) for duration in durations]
    if file_format.name == "gif":
        has_alpha = any(picture.alpha is not None for picture in images.frames)
        options |= {"disposal": 2 if has_alpha else 0, "optimize": False}
    # To play once, PNG and WebP need a 1, and GIF needs no loop at all.
    if images.loop is not None or file_format.name != "gif":
        options["loop"] = 1 if images.loop is None else images.loop
    return options | {"duration": list(durations)}
