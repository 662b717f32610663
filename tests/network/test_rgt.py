"""What holds for any RGT: every size, training, and memory that is linear in pixels."""

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgt_cli.network import RGT, RGTConfig, rgt
from rgt_cli.network.attention import recursions
from rgt_cli.network.kernels import STRIP_VALUES
from rgt_cli.network.rgt import reflect_to
from tests.conftest import MICRO


def make(**changes: object) -> RGT:
    torch.manual_seed(1)
    return RGT(dataclasses.replace(MICRO, **changes)).eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (20, 2000), (17, 33), (3, 5), (16, 1024)])
def test_any_size(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = make()(torch.rand(1, 3, *size))
    assert output.shape == (1, 3, 2 * size[0], 2 * size[1])
    assert output.isfinite().all()


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("upsampler", ["pixelshuffle", "direct"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_scale_and_channels(scale: int, upsampler: str, channels: int) -> None:
    network = make(upscale=scale, upsampler=upsampler, in_chans=channels)
    with torch.inference_mode():
        assert network(torch.rand(2, channels, 18, 20)).shape == (2, channels, 18 * scale, 20 * scale)


def test_no_tail_for_scale_five() -> None:
    with pytest.raises(ValueError, match="5"):
        RGT(dataclasses.replace(MICRO, upscale=5, upsampler="pixelshuffle"))


@pytest.mark.parametrize(
    ("side", "times"), [(1, 2), (16, 2), (1023, 2), (1024, 3), (4095, 3), (4096, 4), (20000, 5)]
)
def test_recursions(side: int, times: int) -> None:
    assert recursions(side, 1) == recursions(1, side) == times


def test_reflection() -> None:
    row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    assert reflect_to(row, 2, 8)[0, 0].tolist() == [[1, 2, 3, 2, 1, 2, 3, 2]] * 2


def test_tail_in_strips_equals_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make(upscale=4, upsampler="pixelshuffle")
    image = torch.rand(1, 3, 37, 41)
    with torch.inference_mode():
        whole = network(image)
        monkeypatch.setattr(rgt, "TAIL_TOKENS", 41 * 5)
        torch.testing.assert_close(network(image), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_folded_tail_equals_plain_one_to_the_last_pixel(scale: int) -> None:
    """Without autograd the convolutions of the tail are one; under it they are what they are."""
    network = make(upscale=scale, upsampler="pixelshuffle")
    with torch.no_grad():
        for weights in network.upsample.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    image = torch.rand(2, 3, 19, 23)
    plain = network(image).detach()
    with torch.inference_mode():
        folded = network(image)
    spread = (plain - plain.mean()).abs().max().item()
    assert (folded - plain).abs().max().item() < 3e-6 * spread


@pytest.mark.parametrize("size", [(40, 61), (64, 32), (33, 97)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strips_and_fused_products_equal_plain_ones(
    size: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs without autograd, in many strips, against what runs under it, whole and plain."""
    monkeypatch.setitem(STRIP_VALUES, "cpu", 300 * 60)
    torch.manual_seed(0)
    config = RGTConfig(upscale=2, embed_dim=60, depth=(4, 4), num_heads=(6, 6), split_size=(4, 8))
    network = RGT(config).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn_like(weights))
    image = torch.rand(2, 3, *size)
    plain = network(image).detach()
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        fast = network(image)
    spread = (plain - plain.mean()).abs().max().item()
    assert (fast - plain).abs().max().item() < spread * (1e-5 if dtype == torch.float32 else 0.05)


def test_fold_follows_training() -> None:
    network = make()
    image = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        before = network(image)
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    network(image).square().mean().backward()
    bias = network.layers[0].blocks[0].attn.attns[0].pos.pos3[2].weight
    assert bias.grad is not None
    assert bias.grad.abs().max() > 0
    assert all(p.grad is not None for p in network.parameters())
    optimizer.step()
    network.eval()
    with torch.no_grad():
        folded = network(image)
    never_folded = make()
    never_folded.load_state_dict(network.state_dict())
    with torch.no_grad():
        fresh = never_folded(image)
    assert (folded - before).abs().max() > 1e-4
    torch.testing.assert_close(folded, fresh, rtol=0, atol=0)


def test_fold_follows_weights_changed_in_place() -> None:
    network, other = make(), make()
    image = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        network(image)
        for own, new in zip(network.parameters(), other.parameters(), strict=True):
            own.copy_(new.add_(0.05))
        torch.testing.assert_close(network(image), other(image), rtol=0, atol=0)


def test_residual_stream_stays_fp32_under_autocast() -> None:
    network = make()
    seen = []
    network.layers[0].blocks[0].register_forward_hook(lambda m, args, out: seen.append(out.dtype))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output = network(torch.rand(1, 3, 32, 32))
    assert seen == [torch.float32]
    assert output.dtype == torch.float32


def test_attention_is_fused_and_nothing_is_larger_than_linear() -> None:
    """At full width, no attention falls back to a matrix of pixels x reduced pixels."""
    config = RGTConfig(depth=(3, 1), num_heads=(6, 6))
    network = RGT(config).eval()
    with torch.inference_mode(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        network(torch.rand(1, 3, 64, 96))
