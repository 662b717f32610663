"""Tiles cover every pixel, and blending adds nothing of its own."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.inference.tiling import (
    TileGrid,
    blended_rows,
    cosine_ramp,
    smallest_equal_tile,
    tile_starts,
    tiles_of,
)
from rgt_cli.size import Dimensions
from tests.helpers.networks import repeated


@given(st.integers(1, 5000), st.integers(2, 600), st.data())
def test_tiles_cover_the_side_and_overlap(length: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile >= length
    if len(starts) > 1:
        assert starts[-1] + tile == length
        assert all(b - a <= tile - overlap for a, b in pairwise(starts))
        assert len(set(starts)) == len(starts)


@given(st.integers(1, 5000), st.integers(2, 600), st.data())
def test_equal_tiles_are_as_few_and_as_small_as_possible(
    length: int, tile: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    count, side = len(tile_starts(length, tile, overlap)), smallest_equal_tile(length, tile, overlap)
    assert side <= tile
    assert len(tile_starts(length, side, overlap)) == count
    if overlap < side - 1:
        assert side == 1 or len(tile_starts(length, side - 1, overlap)) > count


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 3),
    st.data(),
)
def test_repeated_pixels_are_exact(
    size: tuple[int, int], tile: tuple[int, int], scale: int, data: st.DataObject
) -> None:
    grid = TileGrid(
        Dimensions(*size), Dimensions(*tile), overlap=data.draw(st.integers(0, min(tile) - 1))
    )
    image = np.random.default_rng(0).random((size[1], size[0], 3), np.float32)
    tiles = list(tiles_of(image, grid))
    assert len(tiles) == grid.count
    assert all(tile.shape[0] <= grid.tile.height for tile in tiles)
    assert all(tile.shape[1] <= grid.tile.width for tile in tiles)
    rows = list(blended_rows((repeated(tile, scale) for tile in tiles), grid, scale))
    np.testing.assert_array_equal(np.concatenate(rows), repeated(image, scale))
    assert grid.equalized().count == grid.count


def test_blend_is_smooth() -> None:
    """Two tiles that differ by 1 meet in a monotone raised-cosine ramp, without a step."""
    grid = TileGrid(Dimensions(96, 4), Dimensions(64, 64), overlap=32)
    tiles = (np.full((4, 64, 1), value, np.float32) for value in (0, 1))
    (row,) = blended_rows(tiles, grid, 1)
    line = row[0, :, 0]
    assert line[:32].max() == 0
    assert line[64:].min() == 1
    np.testing.assert_allclose(line[32:64], cosine_ramp(32), atol=1e-6)
    assert np.diff(line).min() >= 0
    assert np.diff(line).max() < 0.05


@pytest.mark.parametrize("length", [1, 2, 31, 32])
def test_ramp_is_symmetric(length: int) -> None:
    np.testing.assert_allclose(cosine_ramp(length) + cosine_ramp(length)[::-1], 1, atol=1e-6)
