"""Stream images that do not fit in memory: read and write a few rows at a time."""

from __future__ import annotations

import logging
import math
import mmap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from rgt_cli.errors import InputError
from rgt_cli.files import scratch_file
from rgt_cli.media import png
from rgt_cli.media.formats import ImageFormat
from rgt_cli.media.identify import clear_errors, no_pixel_limit
from rgt_cli.media.metadata import update_metadata
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.media.png_metadata import metadata_chunks
from rgt_cli.media.read import OpenedImage, open_image
from rgt_cli.media.write import fitted_metadata, replacing, with_profile
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

STREAMABLE = ("png", "tiff")
"""The names of the formats that can be written from top to bottom."""


def _png_is_deep(path: Path) -> bool:
    with path.open("rb") as file:
        return png.depth(file) == 16


@dataclass(frozen=True, kw_only=True)
class RowSource:
    """An image on disk from which rows are read on demand."""

    shape: tuple[int, ...]
    """(H, W) gray or (H, W, 3) RGB."""
    dtype: np.dtype
    """uint8 or uint16."""
    metadata: Metadata
    pixels: Image.Image | np.ndarray
    """A decoded image, or an array that is mapped from a file."""
    warnings: tuple[str, ...] = ()
    """What the file contains that is left out here."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return rows as an array, (rows, W) or (rows, W, 3)."""
        top, bottom, _ = rows.indices(self.shape[0])
        if isinstance(self.pixels, Image.Image):
            with no_pixel_limit():
                return np.asarray(self.pixels.crop((0, top, self.shape[1], bottom)))
        part = np.array(self.pixels[top:bottom])
        mapped = getattr(self.pixels, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # else the pages that were read count as used memory
        return part


class RowsPlan(NamedTuple):
    """How `open_rows` would open a file."""

    metadata: Metadata
    in_memory: bool
    """Whether the pixels are decoded as a whole."""


def check_rows(path: Path, max_pixels: int) -> RowsPlan:
    """Refuse a file that `open_rows` would refuse, as far as its header shows it.

    Raises:
        InputError: As `open_rows`.
    """
    with clear_errors(path), open_image(path, max_pixels) as image:
        return RowsPlan(image.metadata, _is_decoded_at_once(path, image))


@contextmanager
def open_rows(path: Path, max_pixels: int, scratch: Path) -> Iterator[RowSource]:
    """Open a file of one image that is upright, gray or RGB, and opaque, to read it in rows.

    A TIFF, and a PNG that is not interlaced, are never in memory as a whole. Other files are decoded at
    once. A PNG may have an alpha channel if no pixel is transparent.

    Args:
        path: The file.
        max_pixels: The most pixels that it may have.
        scratch: A folder for a temporary file, into which compressed pixels are decoded.

    Raises:
        InputError: The file is damaged, or of a kind that cannot be streamed.
        OutputError: The disk has no room for the temporary file.
    """
    with ExitStack() as stack:
        with clear_errors(path):
            image = stack.enter_context(open_image(path, max_pixels))
            _is_decoded_at_once(path, image)
            pixels = stack.enter_context(_open_pixels(path, image.pillow, scratch))
        if isinstance(pixels, Image.Image):
            channels = (3,) if pixels.mode == "RGB" else ()
            shape, dtype = (pixels.height, pixels.width, *channels), np.dtype(np.uint8)
        else:
            shape, dtype = pixels.shape, pixels.dtype
        yield RowSource(
            shape=shape,
            dtype=dtype,
            metadata=image.metadata,
            pixels=pixels,
            warnings=image.warnings,
        )


def _is_streamable(image: OpenedImage) -> bool:
    """Return whether an image is upright, single, and gray or RGB; PNGs may have an alpha channel."""
    opened = image.pillow
    modes = ("L", "RGB", "I;16", "LA", "RGBA") if opened.format == "PNG" else ("L", "RGB", "I;16")
    is_plain = opened.mode in modes and "transparency" not in opened.info
    return is_plain and image.orientation == 1 and getattr(opened, "n_frames", 1) == 1


def _is_decoded_at_once(path: Path, image: OpenedImage) -> bool:
    """Return whether the pixels of a file must be in memory as a whole.

    Raises:
        InputError: They cannot be read at all.
    """
    opened = image.pillow
    if not _is_streamable(image):
        raise _cannot_stream(path)
    if opened.format == "TIFF" or (opened.format == "PNG" and _png_rows(path)):
        return False
    if opened.mode not in ("L", "RGB") or (opened.format == "PNG" and _png_is_deep(path)):
        raise _cannot_stream(path)
    return True


@contextmanager
def _open_pixels(
    path: Path, opened: ImageFile.ImageFile, scratch: Path
) -> Iterator[Image.Image | np.ndarray]:
    """Yield the pixels of a file, on disk if that is possible, else decoded.

    Raises:
        InputError, OutputError: As `open_rows`.
    """
    if opened.format == "TIFF":
        from rgt_cli.media import tiff  # slow to import

        with tiff.rows_on_disk(path, scratch) as array:
            yield array
    elif opened.format == "PNG" and (layout := _png_rows(path)):
        with _png_on_disk(path, *layout, scratch) as array:
            yield array
    else:
        logger.info("%s: decoded as a whole, since %s cannot be read in rows", path, opened.format)
        with no_pixel_limit():
            opened.load()
        yield opened


def _png_rows(path: Path) -> tuple[tuple[int, int, int], np.dtype] | None:
    with path.open("rb") as file:
        return png.rows_layout(file)


@contextmanager
def _png_on_disk(
    path: Path, layout: tuple[int, int, int], dtype: np.dtype, scratch: Path
) -> Iterator[np.ndarray]:
    """Decode a PNG into a temporary file, and yield its pixels from there, (H, W) or (H, W, 3)."""
    shape = (*layout[:2], 3) if layout[2] > 2 else layout[:2]
    with scratch_file(scratch, math.prod(shape) * dtype.itemsize) as decoded:
        with path.open("rb") as file, decoded.open("r+b") as output:
            for rows in png.read_rows(file):
                output.write(_without_opaque_alpha(path, rows).data)
        yield np.memmap(decoded, dtype, "r", shape=shape)


def _without_opaque_alpha(path: Path, rows: np.ndarray) -> np.ndarray:
    if rows.ndim == 2 or rows.shape[2] == 3:
        return rows
    if (rows[..., -1] != np.iinfo(rows.dtype).max).any():
        raise _cannot_stream(path)
    return np.ascontiguousarray(rows[..., 0] if rows.shape[2] == 2 else rows[..., :3])


def _cannot_stream(path: Path) -> InputError:
    return InputError(
        f"{path}: does not fit in memory and cannot be streamed: streaming needs a single, upright gray "
        "or RGB image without transparency, of 8 bits per channel (or of 16 in a PNG or TIFF)"
    )


def write_streamed(
    source: RowSource, strips: Iterable[np.ndarray], scale: int, target: Path, file_format: ImageFormat
) -> tuple[str, ...]:
    """Write an upscaled image to a file that is either complete or left as it was.

    The metadata of the source is updated.

    Args:
        source: The image that was upscaled.
        strips: Its upscaled rows from top to bottom, (rows, s * W) or (rows, s * W, 3).
        scale: The factor s.
        target: The file.
        file_format: One of `STREAMABLE`.

    Returns:
        Warnings about what the format does not support and was lost.

    Raises:
        OutputError: The file cannot be written.
    """
    height, width = source.shape[0] * scale, source.shape[1] * scale
    size = Dimensions(width, height)
    small = Picture(_sampled(source))
    metadata = update_metadata(small, source.metadata, size)
    metadata, hdr = with_profile(metadata, file_format, has_color=len(source.shape) == 3)
    metadata, lost = fitted_metadata(metadata, file_format)
    with replacing(target) as file:
        if file_format.name == "tiff":
            from rgt_cli.media import tiff

            tiff.write_rows(file, (height, width, *source.shape[2:]), source.dtype, strips, metadata)
        else:
            channels = 3 if len(source.shape) == 3 else 1
            bits = source.dtype.itemsize * 8
            png.write_rows(file, size, channels, bits, strips, metadata_chunks(metadata))
    return tuple(f"{target}: {loss}" for loss in (*hdr, *lost))


def _sampled(source: RowSource) -> np.ndarray:
    """Return some of the rows and columns, for the thumbnail in EXIF."""
    step = max(1, max(source.shape[:2]) // 640)
    rows = [source[top : top + 1][:, ::step] for top in range(0, source.shape[0], step)]
    return np.concatenate(rows)
