"""Properties of every RGT: sizes, scales, training, and equality of fast and plain computation."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgt_cli.network import RGT, RGTConfig, rgt
from rgt_cli.network.attention import recursions
from rgt_cli.network.kernels import STRIP_VALUES
from rgt_cli.network.rgt import reflect_to
from tests.helpers.networks import MICRO, random_rgt


def micro_rgt(**changes: Any) -> RGT:
    """Return the smallest RGT with some hyper-parameters changed."""
    return random_rgt(dataclasses.replace(MICRO, **changes), seed=1)


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare with a tolerance that is relative to the spread of the expected values."""
    spread = (expected - expected.mean()).abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * spread)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (20, 2000), (17, 33), (3, 5), (16, 1024)])
def test_any_size(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = micro_rgt()(torch.rand(1, 3, *size))
    assert output.shape == (1, 3, 2 * size[0], 2 * size[1])
    assert output.isfinite().all()


@pytest.mark.parametrize("side", [1, 16, 20])
def test_gradients_of_any_size(side: int) -> None:
    """An image of a single window has no windows of the other kinds."""
    network = micro_rgt(split_size=(8, 16))
    network(torch.rand(1, 3, side, side)).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("upsampler", ["pixelshuffle", "direct"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_scale_and_channels(scale: int, upsampler: str, channels: int) -> None:
    network = micro_rgt(upscale=scale, upsampler=upsampler, in_chans=channels)
    with torch.inference_mode():
        assert network(torch.rand(2, channels, 18, 20)).shape == (2, channels, 18 * scale, 20 * scale)


@pytest.mark.parametrize("scale", [0, 5, 6])
def test_no_pixel_shuffle_tail_for_other_scales(scale: int) -> None:
    with pytest.raises(ValueError, match=str(scale)):
        RGT(dataclasses.replace(MICRO, upscale=scale, upsampler="pixelshuffle"))


@pytest.mark.parametrize(
    ("side", "times"), [(1, 2), (16, 2), (1023, 2), (1024, 3), (4095, 3), (4096, 4), (20000, 5)]
)
def test_recursions(side: int, times: int) -> None:
    assert recursions(side, 1) == recursions(1, side) == times


def test_reflection() -> None:
    row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    assert reflect_to(row, 2, 8)[0, 0].tolist() == [[1, 2, 3, 2, 1, 2, 3, 2]] * 2


def test_tail_in_strips_equals_whole_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    network = micro_rgt(upscale=4, upsampler="pixelshuffle")
    image = torch.rand(1, 3, 37, 41)
    with torch.inference_mode():
        whole = network(image)
        monkeypatch.setattr(rgt, "TAIL_TOKENS", 41 * 5)
        torch.testing.assert_close(network(image), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_folded_tail_equals_plain_tail(scale: int) -> None:
    """The tail is one convolution without autograd and several under it. The edges are equal, too."""
    network = micro_rgt(upscale=scale, upsampler="pixelshuffle")
    with torch.no_grad():
        for weights in network.upsample.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    image = torch.rand(2, 3, 19, 23)
    plain = network(image).detach()
    with torch.inference_mode():
        assert_close(network(image), plain, 3e-6)


@pytest.mark.parametrize("size", [(40, 61), (64, 32), (33, 97)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_strips_equal_plain_computation(
    size: tuple[int, int], dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without autograd, many strips and fused products; under autograd, the whole image at once."""
    monkeypatch.setitem(STRIP_VALUES, "cpu", 300 * 60)
    config = RGTConfig(upscale=2, embed_dim=60, depth=(4, 4), num_heads=(6, 6), split_size=(4, 8))
    network = random_rgt(config, spread=0.05)
    image = torch.rand(2, 3, *size)
    plain = network(image).detach()
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        assert_close(network(image), plain, tolerance)


def test_cached_weights_follow_training() -> None:
    network = micro_rgt()
    image = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        before = network(image)
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    network(image).square().mean().backward()
    last_of_bias = network.get_parameter("layers.0.blocks.0.attn.attns.0.pos.pos3.2.weight")
    assert last_of_bias.grad is not None
    assert last_of_bias.grad.abs().max() > 0
    assert all(p.grad is not None for p in network.parameters())
    optimizer.step()
    network.eval()
    with torch.no_grad():
        after = network(image)
    never_cached = micro_rgt()
    never_cached.load_state_dict(network.state_dict())
    with torch.no_grad():
        fresh = never_cached(image)
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, fresh, rtol=0, atol=0)


def test_cached_weights_follow_changes_in_place() -> None:
    network, other = micro_rgt(), micro_rgt()
    image = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        network(image)
        for own, new in zip(network.parameters(), other.parameters(), strict=True):
            own.copy_(new.add_(0.05))
        torch.testing.assert_close(network(image), other(image), rtol=0, atol=0)


def test_residual_stream_is_fp32_under_autocast() -> None:
    network = micro_rgt()
    seen: list[torch.dtype] = []
    block = network.get_submodule("layers.0.blocks.0")
    block.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output = network(torch.rand(1, 3, 32, 32))
    assert seen == [torch.float32]
    assert output.dtype == torch.float32


def test_attention_is_fused_at_full_width() -> None:
    """No attention falls back to a matrix of all logits. The fused kernel alone must do."""
    config = RGTConfig(depth=(3, 1), num_heads=(6, 6))
    network = RGT(config).eval()
    with torch.inference_mode(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        network(torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_strips_of_gpus_in_half_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips as wide as on a GPU, batches and half precision, with the kernels of the processor."""
    network = random_rgt(spread=0.02)
    images = torch.rand(3, 3, 40, 56)
    with torch.inference_mode():
        exact = network(images)
        with torch.autocast("cpu", dtype):
            narrow = network(images)
            monkeypatch.setitem(STRIP_VALUES, "cpu", STRIP_VALUES["cuda"])
            wide = network(images)
            single = torch.cat([network(image[None]) for image in images])
    for found in (narrow, wide, single):
        assert found.dtype == torch.float32
        assert_close(found, exact, 0.03)
    assert_close(wide, narrow, 0.02)
    assert_close(single, wide, 0.02)
