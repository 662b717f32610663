"""Pictures larger than memory: read, and written, a few rows at a time."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rgt_cli.errors import InputError, RGTError
from rgt_cli.media import png
from rgt_cli.media.formats import Format
from rgt_cli.media.metadata import orientation_of, update_metadata
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.media.read import clear_errors, opened_picture
from rgt_cli.media.write import metadata_chunks, replacing, scratch_file

STREAMABLE = ("png", "tiff")
"""Names of formats that are written from top to bottom."""


def decoded_bytes(path: Path) -> int:
    """How many bytes the pixels of a file take when decoded; 0 where its header does not say."""
    if not path.is_file():  # to open a pipe is to wait for what nobody writes
        return 0
    with suppress(Exception), Image.open(path) as opened:
        deep = 2 if "16" in opened.mode or (opened.format == "PNG" and _png_is_deep(path)) else 1
        frames = getattr(opened, "n_frames", 1)
        return opened.width * opened.height * len(opened.getbands()) * deep * frames
    return 0


def _png_is_deep(path: Path) -> bool:
    with path.open("rb") as file:
        return png.depth(file) == 16


@dataclass(frozen=True)
class RowSource:
    """One picture on disk that gives its rows when they are asked for."""

    shape: tuple[int, ...]
    """(H, W) gray or (H, W, 3) RGB."""
    dtype: np.dtype
    """uint8 or uint16."""
    metadata: Metadata
    source: Any
    """An image of Pillow, or an array that lies in a file."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """(rows, W) or (rows, W, 3)."""
        top, bottom, _ = rows.indices(self.shape[0])
        if isinstance(self.source, Image.Image):
            return np.asarray(self.source.crop((0, top, self.shape[1], bottom)))
        part = np.array(self.source[top:bottom])
        mapped = getattr(self.source, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # or the pages that were read count as memory held
        return part


@contextmanager
def open_rows(path: Path, max_pixels: int, scratch: Path) -> Iterator[RowSource]:
    """Open an upright file of one picture, gray or RGB; the alpha of a PNG may be there if it is opaque.

    A TIFF, and a PNG that is not interlaced, are never in memory as a whole; others are decoded into it.

    Args:
        scratch: a folder for the decoded rows of what is compressed; they are removed in the end.

    Raises:
        InputError: the file is damaged, or of a kind that has to be in memory as a whole.
    """
    with clear_errors(path), opened_picture(path, max_pixels) as (opened, metadata, exif):
        upright = exif is None or orientation_of(exif) == 1
        modes = ("L", "RGB", "I;16", "LA", "RGBA") if opened.format == "PNG" else ("L", "RGB", "I;16")
        plain = opened.mode in modes and "transparency" not in opened.info
        if not plain or not upright or getattr(opened, "n_frames", 1) > 1:
            raise _too_large(path)
        if opened.format == "TIFF":
            from rgt_cli.media import tiff  # which starts for long

            with tiff.rows_on_disk(path, scratch) as array:
                yield RowSource(array.shape, array.dtype, metadata, array)
            return
        if opened.format == "PNG" and (layout := _png_rows(path)):
            with _png_on_disk(path, *layout, scratch) as array:
                yield RowSource(array.shape, array.dtype, metadata, array)
        elif opened.mode in ("L", "RGB") and not (opened.format == "PNG" and _png_is_deep(path)):
            opened.load()
            channels = (3,) if opened.mode == "RGB" else ()
            shape = (opened.height, opened.width, *channels)
            yield RowSource(shape, np.dtype(np.uint8), metadata, opened)
        else:
            raise _too_large(path)


def _png_rows(path: Path) -> tuple[tuple[int, int, int], np.dtype] | None:
    with path.open("rb") as file:
        return png.rows_layout(file)


@contextmanager
def _png_on_disk(
    path: Path, layout: tuple[int, int, int], dtype: np.dtype, scratch: Path
) -> Iterator[np.ndarray]:
    """The pixels of a PNG, (H, W) or (H, W, 3), mapped from a file that they are decoded into."""
    shape = (*layout[:2], 3) if layout[2] > 2 else layout[:2]
    with scratch_file(scratch, math.prod(shape) * dtype.itemsize) as decoded:
        with path.open("rb") as file, decoded.open("r+b") as to:
            for rows in png.read_rows(file):
                to.write(_without_opaque_alpha(path, rows).data)
        yield np.memmap(decoded, dtype, "r", shape=shape)


def _without_opaque_alpha(path: Path, rows: np.ndarray) -> np.ndarray:
    if rows.ndim == 2 or rows.shape[2] == 3:
        return rows
    if (rows[..., -1] != np.iinfo(rows.dtype).max).any():
        raise _too_large(path)
    return np.ascontiguousarray(rows[..., 0] if rows.shape[2] == 2 else rows[..., :3])


def _too_large(path: Path) -> RGTError:
    return InputError(
        f"{path}: too large for the memory there is; what is enlarged in strips is one upright picture, "
        "gray or RGB, without transparency, of 8 bits a channel (in a PNG or TIFF, of 16 too)"
    )


def write_streamed(
    source: RowSource, strips: Iterable[np.ndarray], scale: int, target: Path, file_format: Format
) -> None:
    """Write what `source` became, enlarged by `scale`, so that `target` is whole or not touched.

    Args:
        strips: from top to bottom, (rows, s * W) or (rows, s * W, 3).

    Raises:
        OutputError: it cannot be written.
    """
    height, width = (side * scale for side in source.shape[:2])
    small = Picture(_thumbnail(source), metadata=source.metadata)
    metadata = update_metadata(small, source.metadata, (width, height))
    with replacing(target) as file:
        if file_format.name == "tiff":
            from rgt_cli.media import tiff

            tiff.write_rows(file, (height, width, *source.shape[2:]), source.dtype, strips, metadata)
        else:
            channels = 3 if len(source.shape) == 3 else 1
            bits = source.dtype.itemsize * 8
            chunks = metadata_chunks(metadata)
            png.write_rows(file, (width, height), channels, bits, strips, chunks)


def _thumbnail(source: RowSource) -> np.ndarray:
    """A few rows and columns, for the small picture in EXIF."""
    step = max(1, max(source.shape[:2]) // 640)
    rows = [source[top : top + 1][:, ::step] for top in range(0, source.shape[0], step)]
    return np.concatenate(rows)
