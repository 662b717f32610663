"""Any size: which factors are run, in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.errors import UsageError
from rgt_cli.inference.passes import plan_passes, run_passes
from rgt_cli.size import Dimensions
from tests.helpers.networks import repeated


@given(st.floats(1.01, 64), st.sets(st.integers(2, 4), min_size=1))
def test_passes_reach_the_factor_and_no_shorter_sequence_does(factor: float, native: set[int]) -> None:
    passes = plan_passes(factor, sorted(native))
    assert np.prod(passes) >= factor - 1e-6
    assert set(passes) <= native
    assert max(native) ** (len(passes) - 1) < factor


def test_cheap_passes_come_first() -> None:
    assert plan_passes(6, [2, 3, 4]) == (2, 3)
    assert plan_passes(1.5, [2, 3, 4]) == (2,)
    assert plan_passes(3, [4]) == (4,)
    assert plan_passes(1, [2, 3, 4]) == plan_passes(0.5, [4]) == ()


def test_a_factor_that_no_passes_reach_is_refused() -> None:
    with pytest.raises(UsageError, match="x100 is out of reach"):
        plan_passes(100, [2])


def test_passes_run_in_order_and_end_at_the_size() -> None:
    image = np.full((5, 4, 3), 77, np.uint8)
    seen = []

    def upscale(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape[:2])
        return repeated(image, 2)

    alpha = np.full((5, 4), 9, np.uint8)
    pixels, upscaled_alpha = run_passes(image, alpha, [upscale, upscale], Dimensions(13, 17))
    assert seen == [(5, 4), (10, 8)], "alpha of one value needs no pass"
    assert (pixels == 77).all()
    assert pixels.shape == (17, 13, 3)
    assert upscaled_alpha is not None
    assert (upscaled_alpha == np.full((17, 13), 9)).all()
