"""`NetworkUpscaler`: the kinds of images it accepts and returns, its arguments, and batches."""

from typing import Any

import numpy as np
import pytest
import torch

from rgt_cli.errors import UsageError
from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.resize import shrink
from rgt_cli.measure import psnr
from rgt_cli.size import Dimensions
from tests.helpers.networks import Counting, Nearest, random_rgt, repeated


def test_output_is_of_the_kind_of_the_input(photo: np.ndarray) -> None:
    upscaler = NetworkUpscaler(Nearest(2), device="cpu")
    gray = photo[..., 0]
    for image in (photo, gray, gray[..., None], photo[:1, :1]):
        result = upscaler.upscale(image)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, repeated(image, 2))
    floats = upscaler.upscale(photo / 255.0)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, repeated(photo, 2) / 255, atol=1e-6)
    deep = photo.astype(np.uint16) * 257
    np.testing.assert_array_equal(upscaler.upscale(deep), repeated(deep, 2))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4), np.int32),
    ],
)
def test_other_kinds_are_refused(image: Any) -> None:
    with pytest.raises(UsageError):
        NetworkUpscaler(Nearest(), device="cpu").upscale(image)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"device": "tpu"}, "tpu"),
        ({"device": "cpu:1"}, "cpu:1"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"precision": "int8"}, "int8"),
        ({"scale": 3}, "3"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        NetworkUpscaler(Nearest(2), **arguments)


def test_decisions_are_logged_when_they_change(
    photo: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="rgt_cli.inference"):
        upscaler = NetworkUpscaler(Nearest(2), device="cpu", precision="fp32", tile=256)
        for image in (photo, photo, photo[:40, :40]):
            upscaler.upscale(image)
    device, tiles, whole = (record.getMessage() for record in caplog.records)
    assert "cpu in fp32" in device
    assert "4 tiles of 256 x 256 (--tile 256)" in tiles
    assert "40 x 40: computed whole" in whole


def test_flip_of_the_output_is_the_output_of_the_flip(photo: np.ndarray) -> None:
    upscaler = NetworkUpscaler(Nearest(3), device="cpu", tile=40, overlap=9)
    np.testing.assert_array_equal(upscaler.upscale(photo[:, ::-1]), upscaler.upscale(photo)[:, ::-1])


def test_a_smaller_scale_is_reached_by_lanczos(photo: np.ndarray) -> None:
    upscaler = NetworkUpscaler(Nearest(4), 3, device="cpu")
    result = upscaler.upscale(photo)
    assert result.shape == (900, 1353, 3)
    np.testing.assert_array_equal(result, shrink(repeated(photo, 4), Dimensions(1353, 900)))
    floats = upscaler.upscale(photo / 255.0)
    assert floats.min() >= 0
    assert floats.max() <= 1
    assert psnr(floats * 255, result.astype(float)) > 50


@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_batch_equals_its_images(photo: np.ndarray, channels: int, dtype: type) -> None:
    upscaler = NetworkUpscaler(random_rgt(), device="cpu", batch_size=3)
    crops = [photo[y : y + 40, 60:110] for y in (0, 80, 160)]
    if channels != 3:
        crops = [crop[..., 1] if channels == 0 else crop[..., :1] for crop in crops]
    largest = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    images: list[np.ndarray] = [(crop / 255 * largest).astype(dtype) for crop in crops]
    for one, many in zip(map(upscaler.upscale, images), upscaler.upscale_batch(images), strict=True):
        assert many.shape == one.shape
        assert many.dtype == one.dtype
        np.testing.assert_allclose(many / largest, one / largest, atol=1.01 / 255)
    different = [images[0], images[1][:20]]
    assert [image.shape[0] for image in upscaler.upscale_batch(different)] == [80, 40]


def test_only_images_of_one_size_and_dtype_are_computed_at_once(photo: np.ndarray) -> None:
    network = Counting()
    upscaler = NetworkUpscaler(network, device="cpu", batch_size=2)
    upscaler.upscale_batch([photo, photo])
    upscaler.upscale_batch([photo, photo[:20]])
    upscaler.upscale_batch([photo, photo / 255])
    assert network.seen == [2, 1, 1, 1, 1]
    assert upscaler.batch_size_for(Dimensions(451, 300)) == 2
    assert NetworkUpscaler(network, device="cpu").batch_size_for(Dimensions(451, 300)) == 1


class RoundsByBatch(Counting):
    """The same, with the last bits of its output depending on how many images share a call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 - 1e-7 * len(x))


@pytest.mark.parametrize(("network", "calls"), [(Counting(), 1), (RoundsByBatch(), 3)])
def test_tiny_images_share_the_processor_if_their_results_stay_the_same(
    photo: np.ndarray, network: Counting, calls: int
) -> None:
    upscaler = NetworkUpscaler(network, device="cpu")
    assert upscaler.batch_size_for(Dimensions(64, 64)) == 8
    assert upscaler.batch_size_for(Dimensions(65, 64)) == 1
    images = [photo[y : y + 20, 60:90] for y in (0, 80, 160)]
    expected = [NetworkUpscaler(network, device="cpu").upscale(image) for image in images]
    for _ in range(2):
        del network.seen[:]
        for one, many in zip(expected, upscaler.upscale_batch(images), strict=True):
            np.testing.assert_array_equal(many, one)
    assert len(network.seen) == calls
