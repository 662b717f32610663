"""Any size: which passes, and Lanczos down in linear light."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.inference.multipass import plan_passes
from rgt_cli.inference.resize import lanczos, shrink
from rgt_cli.size import Size
from tests.conftest import nearest_upscaler


@given(st.floats(1.01, 64), st.sets(st.integers(2, 4), min_size=1))
def test_passes_reach_the_factor_and_no_shorter_chain_does(factor: float, native: set[int]) -> None:
    chain = plan_passes(factor, sorted(native))
    assert np.prod(chain) >= factor - 1e-6
    assert set(chain) <= native
    assert max(native) ** (len(chain) - 1) < factor


def test_cheap_passes_come_first() -> None:
    assert plan_passes(6, [2, 3, 4]) == (2, 3)
    assert plan_passes(1.5, [2, 3, 4]) == (2,)
    assert plan_passes(3, [4]) == (4,)
    assert plan_passes(1, [2, 3, 4]) == plan_passes(0.5, [4]) == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_light_is_kept(dtype: type) -> None:
    """Half of the pixels white give half of the light, which is 188 of 255, not 128."""
    largest = 1 if dtype is np.float32 else np.iinfo(dtype).max
    stripes = np.zeros((40, 40), dtype)
    stripes[:, ::2] = largest
    middle = shrink(stripes, 20, 20)[5:-5, 5:-5] / largest
    np.testing.assert_allclose(middle, 188 / 255, atol=0.005)
    np.testing.assert_allclose(lanczos(stripes, 20, 20)[5:-5, 5:-5] / largest, 0.5, atol=0.01)
    assert shrink(stripes, 40, 40) is stripes


def test_hidden_colors_do_not_count() -> None:
    pixels, alpha = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    pixels[:, ::2], alpha[:, ::2] = (200, 100, 50), 255
    result = shrink(pixels, 20, 20, alpha)
    assert np.abs(result.astype(int) - (200, 100, 50)).max() <= 1


def test_smaller_than_the_source_needs_no_network() -> None:
    upscaler = nearest_upscaler(Size(width=10))
    pixels, _ = upscaler.enlarge(np.full((40, 20, 3), 77, np.uint8))
    assert pixels.shape == (20, 10, 3)
    assert (pixels == 77).all()
    assert upscaler.upscalers == []
