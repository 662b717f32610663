"""Lanczos in linear light."""

import numpy as np
import pytest

from rgt_cli.inference.resize import lanczos, shrink
from rgt_cli.size import Dimensions


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_brightness_is_preserved(dtype: type) -> None:
    """Half of the pixels white give half of the light, which is 188 of 255, not 128."""
    largest = 1 if dtype is np.float32 else np.iinfo(dtype).max
    stripes: np.ndarray = np.zeros((40, 40), dtype)
    stripes[:, ::2] = largest
    half = Dimensions(20, 20)
    middle = shrink(stripes, half)[5:-5, 5:-5] / largest
    np.testing.assert_allclose(middle, 188 / 255, atol=0.005)
    np.testing.assert_allclose(lanczos(stripes, half)[5:-5, 5:-5] / largest, 0.5, atol=0.01)


def test_an_image_of_the_size_is_returned_as_it_is() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    size = Dimensions(40, 30)
    assert shrink(image, size) is lanczos(image, size) is image
    assert shrink(image, size, image[..., 0]) is image


def test_hidden_colors_do_not_count() -> None:
    pixels, alpha = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    pixels[:, ::2], alpha[:, ::2] = (200, 100, 50), 255
    result = shrink(pixels, Dimensions(20, 20), alpha)
    assert np.abs(result.astype(int) - (200, 100, 50)).max() <= 1


def test_width_and_height_are_not_confused() -> None:
    assert shrink(np.zeros((30, 40, 3), np.uint8), Dimensions(7, 5)).shape == (5, 7, 3)
