"""Cut an image into overlapping tiles, and blend the upscaled tiles into one image.

Rows of tiles are finished from top to bottom: at most two of them are in memory in floating point.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rgt_cli.size import Dimensions

ProgressCallback = Callable[[int, int], None]
"""Called with (tiles done, tiles in total), first with 0 done. If memory runs out and an image is
computed again in smaller tiles, the count starts again at 0."""

TileSize = int | Literal["auto", "none"]
"""Side of a tile in pixels of the input; "auto": what fits in memory; "none": always the whole image."""


class Rows(Protocol):
    """An image whose rows can be sliced: an array, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C)."""

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the pixels."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return these rows: (rows, W) or (rows, W, C)."""


@dataclass(frozen=True)
class TileGrid:
    """How an image is cut into tiles. All lengths are in pixels of the input."""

    image: Dimensions
    """Size of the image."""
    tile: Dimensions
    """Size of a tile. Tiles of a smaller image are cut off at its size."""
    overlap: int
    """The least number of pixels that neighboring tiles share; below both sides of `tile`."""

    @functools.cached_property
    def tops(self) -> list[int]:
        """The first row of each row of tiles."""
        return tile_starts(self.image.height, self.tile.height, self.overlap)

    @functools.cached_property
    def lefts(self) -> list[int]:
        """The first column of each column of tiles."""
        return tile_starts(self.image.width, self.tile.width, self.overlap)

    @property
    def count(self) -> int:
        """The number of tiles."""
        return len(self.tops) * len(self.lefts)

    def equalized(self) -> TileGrid:
        """Return the grid of as many tiles that are as small as possible, and so of about equal size."""
        width = smallest_equal_tile(self.image.width, self.tile.width, self.overlap)
        height = smallest_equal_tile(self.image.height, self.tile.height, self.overlap)
        return TileGrid(self.image, Dimensions(width, height), self.overlap)


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles start along `length` pixels: evenly spread, sharing at least `overlap`."""
    if tile >= length:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def smallest_equal_tile(length: int, tile: int, overlap: int) -> int:
    """Return the smallest side of tiles of which no more cover `length` pixels than of side `tile`."""
    count = len(tile_starts(length, tile, overlap))
    return -(-(length + (count - 1) * overlap) // count)


def cosine_ramp(length: int) -> np.ndarray:
    """Return a raised cosine from near 0 to near 1: the weight of the newer tile along an overlap."""
    phase = (np.arange(length, dtype=np.float32) + 0.5) / max(length, 1)
    return ((1 - np.cos(np.pi * phase)) / 2).astype(np.float32)


def tiles_of(image: Rows, grid: TileGrid) -> Iterator[np.ndarray]:
    """Yield the tiles of an image, row by row from left to right: (h, w) or (h, w, C).

    Args:
        image: The image, of the size `grid.image`. Its rows are sliced once for each row of tiles.
        grid: Its tiles.
    """
    for top in grid.tops:
        band = image[top : top + grid.tile.height]
        for left in grid.lefts:
            yield band[:, left : left + grid.tile.width]


def blended_rows(upscaled: Iterator[np.ndarray], grid: TileGrid, scale: int) -> Iterator[np.ndarray]:
    """Yield the upscaled image from top to bottom, as (rows, s * W, C) strips.

    Tiles that agree on the pixels they share come out unchanged, bit for bit. The caller may overwrite a
    strip.

    Args:
        upscaled: The results of `tiles_of`: (s * h, s * w, C), which are overwritten. They are float32,
            but a single one can have any dtype.
        grid: The tiles of the input.
        scale: The factor s.
    """
    carried: np.ndarray | None = None
    for top, next_top in zip(grid.tops, [*grid.tops[1:], grid.image.height], strict=True):
        row = _blended_row(upscaled, grid, scale)
        if carried is not None:
            _fade_in(carried, row[: len(carried)], axis=0)
        finished = (next_top - top) * scale
        yield row[:finished]
        carried = row[finished:]


def _blended_row(upscaled: Iterator[np.ndarray], grid: TileGrid, scale: int) -> np.ndarray:
    """Return one upscaled row of tiles."""
    if len(grid.lefts) == 1:
        return next(upscaled)
    row = np.empty((0,))
    done = 0
    for left in grid.lefts:
        new = next(upscaled)
        if not done:
            row = np.empty((len(new), grid.image.width * scale, new.shape[2]), np.float32)
        shared = done - left * scale
        if shared > 0:
            _fade_in(row[:, left * scale : done], new[:, :shared], axis=1)
        end = left * scale + new.shape[1]
        row[:, left * scale : end] = new
        done = end
    return row


def _fade_in(old: np.ndarray, new: np.ndarray, axis: int) -> None:
    """Turn the overlap `new`, in place, into the cross-fade from `old` to `new`."""
    weight = cosine_ramp(new.shape[axis]).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    new[...] = old + weight * (new - old)
