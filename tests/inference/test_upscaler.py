"""`Upscaler`: kinds in and out, tiling against the whole, precision, memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import rgt_cli
from rgt_cli.errors import CheckpointError, OutOfMemoryError, UsageError
from rgt_cli.inference import Upscaler
from rgt_cli.measure import psnr
from tests.conftest import Nearest


def enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, 0).repeat(scale, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.sampled_from([2, 3, 4]),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_tiling_is_bit_exact(
    height: int, width: int, scale: int, channels: int, data: st.DataObject
) -> None:
    tile = data.draw(st.integers(1, 40))
    overlap = data.draw(st.integers(0, tile - 1))
    shape = (height, width) if channels == 1 else (height, width, 3)
    image = np.random.default_rng(height * width).integers(0, 256, shape, np.uint8)
    upscaler = Upscaler(Nearest(scale), tile=tile, overlap=overlap, device="cpu")
    np.testing.assert_array_equal(upscaler.upscale(image), enlarged(image, scale))


def test_kinds_in_and_out(photo: np.ndarray) -> None:
    upscaler = rgt_cli.Upscaler(Nearest(2), device="cpu")
    gray = photo[..., 0]
    for image in (photo, gray, photo[:1, :1]):
        result = upscaler.upscale(image)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, enlarged(image, 2))
    floats = upscaler.upscale(photo / 255.0)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, enlarged(photo, 2) / 255, atol=1e-6)
    for mode in ("RGB", "L"):
        picture = upscaler.upscale(Image.fromarray(photo).convert(mode))
        assert picture.mode == mode
        assert picture.size == (902, 600)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4, np.uint8),
     np.zeros((4, 4), np.int32), Image.new("RGBA", (4, 4)), Image.new("P", (4, 4))],
)  # fmt: skip
def test_what_is_no_picture(bad: object) -> None:
    with pytest.raises(UsageError):
        Upscaler(Nearest(), device="cpu").upscale(bad)


def test_gray_network_takes_planes_one_by_one(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(2, in_chans=1), device="cpu")
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))


@pytest.mark.parametrize(
    "arguments",
    [{"device": "tpu"}, {"device": "cpu:1"}, {"device": "cuda:99"}, {"precision": "int8"},
     {"tile": "big"}, {"tile": 32, "overlap": 32}, {"overlap": -1}, {"scale": 3}],
)  # fmt: skip
def test_arguments_that_make_no_sense(arguments: dict) -> None:
    with pytest.raises(UsageError):
        Upscaler(Nearest(2), **arguments)


def test_tiled_equals_whole_on_a_photo(photo: np.ndarray) -> None:
    """With the bundled model at the default overlap: 55 dB or better, and no seam."""
    image = photo[40:240, 100:330]
    whole = Upscaler("tiny", 2, device="cpu", tile="none").upscale(image.astype(np.float32) / 255)
    tiled = Upscaler("tiny", 2, device="cpu", tile=96).upscale(image.astype(np.float32) / 255)
    assert psnr(whole, tiled, peak=1.0) >= 55
    error = np.abs(whole - tiled)
    for axis in (0, 1):
        steps = np.abs(np.diff(tiled - whole, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps.max() < 8 * (steps.mean() + 1e-4), "a line along which the tiles part"
    assert error.max() < 0.06


def test_flip_of_the_upscale_is_the_upscale_of_the_flip(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(3), device="cpu", tile=40, overlap=9)
    np.testing.assert_array_equal(upscaler.upscale(photo[:, ::-1]), upscaler.upscale(photo)[:, ::-1])


def test_lanczos_down(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(4), 3, device="cpu")
    result = upscaler.upscale(photo)
    assert result.shape == (900, 1353, 3)
    expected = Image.fromarray(enlarged(photo, 4)).resize((1353, 900), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(result, np.asarray(expected))
    floats = upscaler.upscale(photo / 255.0)
    assert floats.min() >= 0
    assert floats.max() <= 1
    assert psnr(floats * 255, result.astype(float)) > 50


def test_bf16_is_close_to_fp32(photo: np.ndarray) -> None:
    image = photo[100:164, 150:214]
    full, half = (Upscaler("tiny", 2, "cpu", p).upscale(image) for p in ("fp32", "bf16"))
    assert psnr(full, half) > 45


class Overflowing(Nearest):
    """Not finite in half precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y * float("nan") if torch.is_autocast_enabled("cpu") else y


def test_overflow_is_redone_in_fp32(photo: np.ndarray) -> None:
    upscaler = Upscaler(Overflowing(2), device="cpu", precision="bf16", tile=300)
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))
    assert upscaler.redone_tiles == 2


class NeverFinite(Nearest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / 0 - super().forward(x) / 0


def test_never_finite_is_an_error(photo: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="finite"):
        Upscaler(NeverFinite(2), device="cpu").upscale(photo)


class Hungry(Nearest):
    """Allocates for real more than any machine has, for inputs above `limit` pixels a side."""

    limit = 100

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if max(x.shape[-2:]) > self.limit:
            torch.empty(1 << 50)
        return super().forward(x)


def test_memory_runs_out_and_tiles_shrink(photo: np.ndarray) -> None:
    reports: list[tuple[int, int]] = []
    upscaler = Upscaler(Hungry(2), device="cpu")
    result = upscaler.upscale(photo, lambda done, total: reports.append((done, total)))
    np.testing.assert_array_equal(result, enlarged(photo, 2))
    assert reports[0] == (0, 1)
    assert reports[-1][0] == reports[-1][1] > 9


@pytest.mark.parametrize(("tile", "limit"), [("none", 100), (200, 100), ("auto", 8)])
def test_out_of_memory_is_said(photo: np.ndarray, tile: int | str, limit: int) -> None:
    network: nn.Module = Hungry(2)
    network.limit = limit
    with pytest.raises(OutOfMemoryError, match="--tile"):
        Upscaler(network, device="cpu", tile=tile).upscale(photo)
