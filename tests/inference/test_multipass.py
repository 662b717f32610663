"""`MultiPassUpscaler`: any size, with the factors of a model that are loaded when they are needed."""

import numpy as np
import pytest

from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.size import Dimensions, Size
from tests.helpers.networks import Counting, Nearest, nearest_upscaler, repeated


def test_a_smaller_output_needs_no_network() -> None:
    upscaler = nearest_upscaler(Size(width=10))
    pixels, alpha = upscaler.upscale(np.full((40, 20, 3), 77, np.uint8))
    assert pixels.shape == (20, 10, 3)
    assert (pixels == 77).all()
    assert alpha is None
    assert upscaler.upscalers == []


def test_factors_are_loaded_when_they_are_needed() -> None:
    upscaler = nearest_upscaler(Size(width=60))
    assert upscaler.upscalers == []
    pixels, _ = upscaler.upscale(np.zeros((5, 10, 3), np.uint8))
    assert pixels.shape == (30, 60, 3)
    assert [u.scale for u in upscaler.upscalers] == [2, 3]
    assert upscaler.name == "network and network"
    assert [u.scale for u in nearest_upscaler(Size(scale=5)).upscalers] == [2, 3]


@pytest.mark.parametrize("native", [[], [3]])
def test_no_size_is_the_factor_of_the_model(native: list[int]) -> None:
    asked: list[int | None] = []

    def load(scale: int | None) -> NetworkUpscaler:
        asked.append(scale)
        return NetworkUpscaler(Nearest(3), device="cpu")

    upscaler = MultiPassUpscaler(None, load, native)
    assert upscaler.size == Size(scale=3)
    assert upscaler.upscale(np.zeros((2, 3), np.uint8))[0].shape == (6, 9)
    assert asked == [None if not native else 3], "the model is loaded once"


def test_progress_is_that_of_each_pass() -> None:
    reports: list[tuple[int, int]] = []
    upscaler = nearest_upscaler(Size(scale=6))
    upscaler.upscale(
        np.zeros((4, 4, 3), np.uint8), on_progress=lambda done, total: reports.append((done, total))
    )
    assert reports == [(0, 1), (1, 1)] * 2


def test_batches_are_computed_at_once_and_have_the_results_of_one_by_one(photo: np.ndarray) -> None:
    network = Counting()
    upscaler = MultiPassUpscaler(
        Size(scale=3), lambda scale: NetworkUpscaler(network, device="cpu", batch_size=3), [2]
    )
    assert upscaler.batch_size_for(Dimensions(40, 30)) == 3
    crops = [photo[y : y + 30, 50:90] for y in (0, 40, 80)]
    results = upscaler.upscale_batch([(crop, None) for crop in crops])
    assert network.seen == [3, 3], "two passes of three images"
    for crop, (pixels, alpha) in zip(crops, results, strict=True):
        assert alpha is None
        np.testing.assert_array_equal(pixels, upscaler.upscale(crop)[0])
    opaque = np.full((30, 40), 255, np.uint8)
    network.seen.clear()
    with_alpha = upscaler.upscale_batch([(crop, opaque) for crop in crops])
    assert network.seen == [1] * 6, "images with alpha are computed one by one"
    assert all((alpha == 255).all() for _, alpha in with_alpha if alpha is not None)
    np.testing.assert_array_equal(with_alpha[0][0], results[0][0])


def test_no_passes_no_batches() -> None:
    assert nearest_upscaler(Size(width=10)).batch_size_for(Dimensions(40, 20)) == 1


def test_upscaled_pixels_are_repeated(photo: np.ndarray) -> None:
    np.testing.assert_array_equal(nearest_upscaler().upscale(photo)[0], repeated(photo, 2))


def test_free_memory_respects_the_limit() -> None:
    def load(scale: int | None) -> NetworkUpscaler:
        return NetworkUpscaler(Nearest(2), device="cpu", memory=1)

    assert MultiPassUpscaler(Size(scale=2), load, [2]).free_memory() == 0
    assert nearest_upscaler().free_memory() > 0
    assert nearest_upscaler().peak_memory() > 0
