"""Tiles cover every pixel, and blending adds nothing of its own."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.inference.tiling import blended_rows, cosine_ramp, smallest_equal_tile, tile_starts


@given(st.integers(1, 5000), st.integers(2, 600), st.data())
def test_tiles_cover_and_overlap(size: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    starts = tile_starts(size, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile >= size
    if len(starts) > 1:
        assert starts[-1] + tile == size
        assert all(b - a <= tile - overlap for a, b in pairwise(starts))
        assert len(set(starts)) == len(starts)


@given(st.integers(1, 5000), st.integers(2, 600), st.data())
def test_trimmed_tiles_are_as_few_and_as_small_as_can_be(
    size: int, tile: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    count, side = len(tile_starts(size, tile, overlap)), smallest_equal_tile(size, tile, overlap)
    assert side <= max(tile, 1)
    assert len(tile_starts(size, side, overlap)) == count
    if overlap < side - 1:
        assert side == 1 or len(tile_starts(size, side - 1, overlap)) > count


@given(
    st.integers(1, 60), st.integers(1, 60), st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 3), st.data(),
)  # fmt: skip
def test_nearest_is_exact(
    height: int, width: int, tile: tuple[int, int], scale: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, min(tile) - 1))
    image = np.random.default_rng(height * 61 + width).random((height, width, 3), np.float32)

    def enlarge(part: np.ndarray) -> np.ndarray:
        assert part.shape[0] <= tile[0]
        assert part.shape[1] <= tile[1]
        return part.repeat(scale, 0).repeat(scale, 1)

    rows = list(blended_rows(image, scale, tile, overlap, enlarge))
    np.testing.assert_array_equal(np.concatenate(rows), image.repeat(scale, 0).repeat(scale, 1))


def test_blend_is_smooth() -> None:
    """Two tiles that disagree by 1 meet in a monotone raised-cosine ramp, without a step."""
    values = iter([0.0, 1.0])

    def enlarge(part: np.ndarray) -> np.ndarray:
        return np.full((*part.shape[:2], 1), next(values), np.float32)

    (row,) = blended_rows(np.zeros((4, 96, 1), np.float32), 1, (64, 64), 32, enlarge)
    line = row[0, :, 0]
    assert line[:32].max() == 0
    assert line[64:].min() == 1
    np.testing.assert_allclose(line[32:64], cosine_ramp(32), atol=1e-6)
    assert np.diff(line).min() >= 0
    assert np.diff(line).max() < 0.05


@pytest.mark.parametrize("length", [1, 2, 31, 32])
def test_fade_is_symmetric(length: int) -> None:
    np.testing.assert_allclose(cosine_ramp(length) + cosine_ramp(length)[::-1], 1, atol=1e-6)
