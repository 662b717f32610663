"""An images into a file: what each format can hold, and targets that are whole or not there."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from rgt_cli.errors import OutputError, RGTError, UsageError
from rgt_cli.media import png
from rgt_cli.media.color import pixels_to_srgb, space_of
from rgt_cli.media.formats import Format, register_plugins
from rgt_cli.media.picture import ImageSequence, Metadata, Picture

PARTIAL = ".rgt-{}.part"
"""The name of a file that is being written, with eight hexadecimal digits."""
_LONGEST_SEGMENT = 65_000
"""Bytes of EXIF or XMP that a JPEG can hold."""
_GIF_COLORS = 256


@dataclass(frozen=True)
class Encoding:
    """How pictures are written."""

    quality: int = 95
    """1..100, for formats that have it. JPEG and AVIF keep full color resolution (4:4:4)."""
    lossless: bool = False
    """Keep every pixel as it is, where the format has the choice."""
    background: tuple[int, int, int] | None = None
    """The color, RGB of 0..255, behind what is transparent in formats without alpha."""


def check_images(images: ImageSequence, target: Path, file_format: Format, encoding: Encoding) -> None:
    """Refuse what a format cannot hold, before any of it is computed.

    Raises:
        UsageError: it would be flattened, by time or by transparency.
    """
    name = file_format.name
    if len(images.frames) > 1:
        if images.durations and not file_format.is_animated:
            raise UsageError(f"{target}: {name} cannot hold an animation; use --format png, webp or gif")
        if not images.durations and not file_format.has_pages:
            raise UsageError(f"{target}: {name} cannot hold several pages; use --format tiff")
    flattens = encoding.background is None and not _holds_alpha(file_format)
    if flattens and not all(picture.is_opaque for picture in images.frames):
        raise UsageError(
            f"{target}: {name} cannot hold transparency; use --format png, or --background white"
        )
    if encoding.lossless and file_format.has_quality and not file_format.has_lossless:
        raise UsageError(f"{target}: {name} is never written lossless; use --format png")


def _holds_alpha(file_format: Format) -> bool:
    return any(mode.endswith("A") for mode in file_format.modes)


def write_images(
    images: ImageSequence, target: Path, file_format: Format, encoding: Encoding
) -> tuple[str, ...]:
    """Write an images so that `target` either is whole or is not touched.

    Returns:
        What the format could not hold.

    Raises:
        OutputError: the disk is full, the folder cannot be written, or the format cannot hold it.
        UsageError: as `check_images` says.
    """
    check_images(images, target, file_format, encoding)
    fitted, lost = _fitted(images, file_format, encoding)
    with replacing(target) as file:
        encode(fitted, file, file_format, encoding)
    return tuple(f"{target}: {loss}" for loss in lost)


def new_partial(folder: Path) -> Path:
    """A name for a file that is to be gone when the work is done."""
    return folder / PARTIAL.format(secrets.token_hex(4))


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file to write, and to read again, that takes the place of `target` once all went well.

    Raises:
        OutputError: it cannot be written, or an encoder refused.
    """
    partial = new_partial(target.parent)
    try:
        with partial.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except RGTError:
        raise
    except (OSError, ValueError, RuntimeError, OverflowError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OutputError(f"{target}: cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def scratch_file(folder: Path, size: int) -> Iterator[Path]:
    """A file of `size` bytes, all of which have their place on the disk; it is removed in the end.

    Raises:
        OutputError: there is no room for it.
    """
    path = new_partial(folder)
    try:
        try:
            with path.open("xb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
        except OSError as error:
            what = f"the {size / 1e9:.1f} GB of a decoded picture"
            raise OutputError(f"{folder}: no room for {what}: {error.strerror}") from error
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what processes that died while they wrote a picture left in a folder."""
    for path in folder.glob(PARTIAL.format("?" * 8)):
        with suppress(OSError):
            path.unlink()


def _fitted(
    images: ImageSequence, file_format: Format, encoding: Encoding
) -> tuple[ImageSequence, list[str]]:
    """The images as the format can hold it, and what that costs."""
    lost: list[str] = []

    def lose(what: str) -> None:
        if what not in lost:
            lost.append(what)

    name = file_format.name
    pictures = []
    for picture in images.frames:
        metadata = picture.metadata
        if not _holds_alpha(file_format) and picture.alpha is not None:
            picture = _flattened(picture, encoding.background)
        if picture.bits > 8 and not file_format.is_deep:
            lose(f"{name} holds 8 bits a channel, not 16")
            picture = picture.with_bits(8)
        gray_profile = metadata.icc is not None and space_of(metadata.icc) == "GRAY"
        colors = picture.pixels.ndim == 3 or picture.mode not in file_format.modes
        if metadata.icc and (not file_format.has_icc or (colors and gray_profile)):
            try:
                srgb = pixels_to_srgb(picture.with_bits(8).pixels, metadata.icc)
                picture = replace(picture.with_bits(8), pixels=srgb)
            except (ImageCms.PyCMSError, OSError, ValueError):
                lose("its ICC profile could not be applied and is left out")
            metadata = replace(metadata, icc=None)
        if picture.mode not in file_format.modes:
            picture = replace(picture, pixels=np.repeat(picture.pixels[..., None], 3, axis=2))
        if not file_format.has_metadata and (metadata.exif or metadata.xmp):
            lose(f"{name} cannot hold EXIF and XMP")
            metadata = replace(metadata, exif=None, xmp=None)
        if name == "jpeg":
            metadata = _short_enough(metadata, lose)
        if name != "png" and any(kind in (b"tEXt", b"zTXt", b"iTXt") for kind, _ in metadata.png):
            lose(f"{name} cannot hold the texts of a PNG")
        pictures.append(replace(picture, metadata=metadata))
    return replace(images, frames=pictures), lost


def _short_enough(metadata: Metadata, lose: Any) -> Metadata:
    if len(metadata.exif or b"") > _LONGEST_SEGMENT:
        lose(f"jpeg cannot hold EXIF of more than {_LONGEST_SEGMENT} bytes")
        metadata = replace(metadata, exif=None)
    if len(metadata.xmp or b"") > _LONGEST_SEGMENT:
        lose(f"jpeg cannot hold XMP of more than {_LONGEST_SEGMENT} bytes")
        metadata = replace(metadata, xmp=None)
    return metadata


def _flattened(picture: Picture, background: tuple[int, int, int] | None) -> Picture:
    """The picture without alpha, on a background where it is not opaque."""
    if picture.alpha is None or picture.is_opaque:
        return replace(picture, alpha=None)
    assert background is not None  # or `check_images` had refused
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


def encode(images: ImageSequence, file: BinaryIO, file_format: Format, encoding: Encoding) -> None:
    """Encode an images that the format can hold into a file that is open for reading and writing."""
    first = images.first
    if file_format.name == "tiff":
        from rgt_cli.media import tiff  # which starts for long

        tiff.write_pages(file, images.frames)
        return
    if file_format.name == "png" and first.bits == 16:
        channels = first.channels()
        count = channels.shape[2] if channels.ndim == 3 else 1
        png.write_rows(file, first.size, count, 16, [channels], metadata_chunks(first.metadata))
        return
    register_plugins()
    options = _options(first, file_format, encoding)
    pil_images = [Image.fromarray(picture.channels()) for picture in images.frames]
    if file_format.name == "gif":
        pil_images = [_paletted(image) for image in pil_images]
    if len(pil_images) > 1:
        options |= _animation_options(images, file_format)
        options["append_images"] = pil_images[1:]
    # Given a file, Pillow takes a short write on a full disk for a whole one.
    encoded = io.BytesIO()
    pil_images[0].save(encoded, file_format.pillow, **options)
    file.write(encoded.getbuffer())


def metadata_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG that carry an metadata."""
    return png.metadata_chunks(metadata.icc, metadata.exif, metadata.xmp, metadata.dpi, metadata.png)


def _options(picture: Picture, file_format: Format, encoding: Encoding) -> dict[str, Any]:
    """What Pillow is told."""
    metadata, name = picture.metadata, file_format.name
    options: dict[str, Any] = {}
    if file_format.has_icc and metadata.icc:
        options["icc_profile"] = metadata.icc
    if file_format.has_metadata and name != "png":
        options |= {k: v for k, v in (("exif", metadata.exif), ("xmp", metadata.xmp)) if v}
    if file_format.has_dpi and metadata.dpi:
        options["dpi"] = metadata.dpi
    if metadata.comment and name in ("jpeg", "gif"):
        options["comment"] = metadata.comment
    if file_format.has_quality:
        options["quality"] = encoding.quality
    if name == "png":
        options |= {"pnginfo": _png_info(metadata), "compress_level": 4}  # half the time, 5 % larger
        options |= {"exif": metadata.exif} if metadata.exif else {}
    elif name == "jpeg":
        options["subsampling"] = 0
        if metadata.iptc:
            options["extra"] = b"\xff\xed" + (len(metadata.iptc) + 2).to_bytes(2, "big") + metadata.iptc
    elif name == "avif":
        options["subsampling"] = "4:4:4"
    elif name == "heif":
        options["chroma"] = 444
        options |= {"quality": -1, "matrix_coefficients": 0} if encoding.lossless else {}
    elif encoding.lossless and name in ("webp", "jxl"):
        options["lossless"] = True
        if name == "webp":
            options |= {"quality": 75, "exact": True}  # how hard to try; colors where transparent
    return options


def _png_info(metadata: Metadata) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for kind, data in png.metadata_chunks(None, None, metadata.xmp, None, metadata.png):
        if not (metadata.icc and kind == b"sRGB"):
            info.add(kind, data)
    return info


def _animation_options(images: ImageSequence, file_format: Format) -> dict[str, Any]:
    assert images.durations is not None
    options: dict[str, Any] = {"save_all": True}
    durations: Sequence[float] = images.durations[images.has_cover :]
    loop = images.loop
    if file_format.name == "png":
        options |= {"disposal": 0, "blend": 0, "default_image": images.has_cover}
    elif file_format.name == "gif":
        options |= {"disposal": 2 if any(p.alpha is not None for p in images.frames) else 0}
        options["optimize"] = False
    else:
        durations = [round(d) for d in durations]
    # Nothing said is once: 1 in a PNG or WebP, and nothing in a GIF.
    if loop is not None or file_format.name != "gif":
        options["loop"] = 1 if loop is None else loop
    return options | {"duration": [d if file_format.name == "png" else round(d) for d in durations]}


def _paletted(image: Image.Image) -> Image.Image:
    """In colors of a palette: exactly where there are few enough, else the nearest, dithered.

    What is less than half opaque is transparent.
    """
    array = np.asarray(image.convert("RGBA"))
    visible = array[..., 3] >= 128
    colors = array[..., :3][visible]
    room = _GIF_COLORS - (not visible.all())
    codes = (colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)).astype(np.uint32)
    distinct, indices = np.unique(codes, return_inverse=True)
    out = (
        np.full(visible.shape, room, np.uint8)
        if room < _GIF_COLORS
        else np.zeros(visible.shape, np.uint8)
    )
    if len(distinct) <= room:
        palette = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1).astype(
            np.uint8
        )
        out[visible] = indices
    else:
        rgb = image.convert("RGB")
        best = Image.fromarray(colors[None]).quantize(room, Image.Quantize.MEDIANCUT)
        quantized = rgb.quantize(palette=best, dither=Image.Dither.FLOYDSTEINBERG)
        palette = np.frombuffer(bytes(best.getpalette() or []), np.uint8).reshape(-1, 3)[:room]
        out[visible] = np.minimum(np.asarray(quantized), room - 1)[visible]
    flat = np.zeros((_GIF_COLORS, 3), np.uint8)
    flat[: len(palette)] = palette
    result = Image.frombytes("P", image.size, out.tobytes())
    result.putpalette(flat.tobytes())
    if room < _GIF_COLORS:
        result.info["transparency"] = room
    return result
