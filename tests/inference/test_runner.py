"""Precision, overflow and self-ensemble of a network on arrays."""

import numpy as np
import pytest
import torch

from rgt_cli.errors import CheckpointError
from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.device import is_emulated
from rgt_cli.inference.ensemble import self_ensemble
from rgt_cli.measure import psnr
from tests.helpers.networks import Nearest, NeverFinite, Overflowing, random_rgt, repeated


def test_bf16_is_close_to_fp32(photo: np.ndarray) -> None:
    image = photo[100:164, 150:214]
    full = NetworkUpscaler("tiny", 2, device="cpu", precision="fp32").upscale(image)
    half = NetworkUpscaler("tiny", 2, device="cpu", precision="bf16").upscale(image)
    assert psnr(full, half) > 45


def test_tiles_that_overflow_are_computed_again_in_fp32(photo: np.ndarray) -> None:
    upscaler = NetworkUpscaler(Overflowing(2), device="cpu", precision="bf16", tile=300)
    np.testing.assert_array_equal(upscaler.upscale(photo), repeated(photo, 2))
    assert upscaler.redone_tiles == 2


def test_fp16_falls_back_to_fp32_without_a_gpu(photo: np.ndarray) -> None:
    upscaler = NetworkUpscaler(Overflowing(2), device="cpu", precision="fp16")
    emulated = is_emulated(torch.float16, torch.device("cpu"))
    assert emulated == any("emulates" in note for note in upscaler.notes)
    np.testing.assert_array_equal(upscaler.upscale(photo), repeated(photo, 2))
    assert upscaler.redone_tiles == 1


def test_an_output_that_is_never_finite_is_an_error(photo: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="finite"):
        NetworkUpscaler(NeverFinite(2), device="cpu").upscale(photo)


@pytest.mark.parametrize("scale", [2, 3])
def test_gray_network_upscales_planes_one_by_one(photo: np.ndarray, scale: int) -> None:
    upscaler = NetworkUpscaler(Nearest(scale, in_chans=1), device="cpu")
    np.testing.assert_array_equal(upscaler.upscale(photo), repeated(photo, scale))


def test_self_ensemble_is_the_mean_over_flips_and_rotations(photo: np.ndarray) -> None:
    """The output of a turned image is the turned output, and it is the mean of the eight passes."""
    network = random_rgt()
    image = np.ascontiguousarray(photo[100:148, 150:198]) / np.float32(255)
    upscaler = NetworkUpscaler(network, device="cpu", self_ensemble=True)
    whole = upscaler.upscale(image)
    np.testing.assert_allclose(upscaler.upscale(np.rot90(image)), np.rot90(whole), atol=2e-5)
    np.testing.assert_allclose(upscaler.upscale(image[:, ::-1].copy()), whole[:, ::-1], atol=2e-5)
    plain, x = NetworkUpscaler(network, device="cpu"), torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        turned = [plain.infer(x.rot90(k, (2, 3))).rot90(-k, (2, 3)) for k in range(4)]
        flipped = [plain.infer(x.rot90(k, (2, 3)).flip(3)).flip(3).rot90(-k, (2, 3)) for k in range(4)]
    mean = torch.stack(turned + flipped).mean(0)[0].permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(mean, whole, atol=2e-5)


def test_self_ensemble_of_an_image_that_is_not_square() -> None:
    x = torch.rand(2, 3, 5, 8)
    torch.testing.assert_close(self_ensemble(Nearest(2), x), Nearest(2)(x))
