"""Cut an image into overlapping tiles and blend the enlarged tiles back into one image.

Rows of tiles are finished one after another, so that only one row is held in floating point.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np


class Rows(Protocol):
    """A picture that gives its rows: an array, or something on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C)."""

    @property
    def dtype(self) -> np.dtype:
        """Of its numbers."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """(rows, W) or (rows, W, C)."""


Tile = tuple[int, int]
"""Height and width of a tile, in pixels of the input."""

TileFunction = Callable[[np.ndarray], np.ndarray]
"""(h, w, C) of one tile -> (s * h, s * w, C) float32."""


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side of `size` pixels: evenly spread, with `overlap` or more."""
    if tile >= size:
        return [0]
    count = -(-(size - overlap) // (tile - overlap))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def smallest_equal_tile(size: int, tile: int, overlap: int) -> int:
    """The least side of tiles that cover `size` pixels in no more pieces than tiles of side `tile`."""
    count = len(tile_starts(size, tile, overlap))
    return -(-(size + (count - 1) * overlap) // count)


def count_tiles(height: int, width: int, tile: Tile, overlap: int) -> int:
    """How many tiles cover an image of `height` x `width` pixels."""
    return len(tile_starts(height, tile[0], overlap)) * len(tile_starts(width, tile[1], overlap))


def cosine_ramp(length: int) -> np.ndarray:
    """A raised-cosine ramp from near 0 to near 1: the share of the newer tile along an overlap."""
    phase = (np.arange(length, dtype=np.float32) + 0.5) / max(length, 1)
    return ((1 - np.cos(np.pi * phase)) / 2).astype(np.float32)


def blended_rows(
    image: Rows, scale: int, tile: Tile, overlap: int, enlarge: TileFunction
) -> Iterator[np.ndarray]:
    """Yield the enlarged image from top to bottom, as (rows, s * W, C) float32 strips.

    Args:
        image: (H, W) or (H, W, C); slices of its rows are taken.
        scale: how much `enlarge` enlarges.
        tile: sides of a tile; smaller images are one tile.
        overlap: input pixels that neighboring tiles share at least, below both sides of `tile`.

    Tiles that agree on the pixels they share come out untouched, bit for bit.
    """
    height, width = image.shape[:2]
    tops, lefts = tile_starts(height, tile[0], overlap), tile_starts(width, tile[1], overlap)
    carried: np.ndarray | None = None
    for top, next_top in zip(tops, [*tops[1:], height], strict=True):
        row = _blended_row(image[top : top + tile[0]], lefts, scale, tile[1], enlarge)
        if carried is not None:
            _fade_in(carried, row[: len(carried)], axis=0)
        finished = (next_top - top) * scale
        yield row[:finished]
        carried = row[finished:]


def _blended_row(
    band: np.ndarray, lefts: list[int], scale: int, tile_width: int, enlarge: TileFunction
) -> np.ndarray:
    height, width = band.shape[:2]
    row = np.empty((0,))
    done = 0
    for left in lefts:
        new = enlarge(band[:, left : left + tile_width])
        if not done:
            row = np.empty((height * scale, width * scale, new.shape[2]), np.float32)
        shared = done - left * scale
        if shared > 0:
            _fade_in(row[:, left * scale : done], new[:, :shared], axis=1)
        end = left * scale + new.shape[1]
        row[:, left * scale : end] = new
        done = end
    return row


def _fade_in(old: np.ndarray, new: np.ndarray, axis: int) -> None:
    """Turn the overlap `new`, in place, into the cross-fade from `old` to it."""
    share = cosine_ramp(new.shape[axis]).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    new[...] = old + share * (new - old)
