"""The fast network against the plain one, for hyper-parameters and sizes that no golden vector has."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgt_cli.network import RGTConfig, attention, windows
from rgt_cli.network.kernels import STRIP_VALUES
from tests.helpers.networks import MICRO, random_rgt
from tests.network.reference_rgt import reference_rgt


def assert_equal_networks(config: RGTConfig, height: int, width: int, *, batch: int = 1) -> None:
    """Compare both networks, with the same random weights, on a random image."""
    network = random_rgt(config, spread=0.05)
    image = torch.rand(batch, config.in_chans, height, width)
    with torch.inference_mode():
        expected, found = reference_rgt(network.state_dict(), config, image), network(image)
    scale = config.upscale
    assert found.shape == (batch, config.in_chans, height * scale, width * scale)
    # The tolerance is relative to the outputs, whose size grows with the random weights.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * expected.abs().max().item())


configs = st.builds(
    lambda upscale, chans, width, heads, **rest: RGTConfig(
        upscale=upscale, in_chans=chans, embed_dim=width * heads, num_heads=(heads, heads), **rest
    ),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.sampled_from([1, 3, 4]),
    st.sampled_from([16, 20, 28]),
    st.sampled_from([2, 4]),
    depth=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    mlp_ratio=st.sampled_from([1.0, 2.0, 2.5]),
    qkv_bias=st.booleans(),
    split_size=st.sampled_from([(4, 8), (8, 4), (2, 16), (8, 8), (3, 6)]),
    c_ratio=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    resi_connection=st.sampled_from(["1conv", "3conv"]),
    upsampler=st.sampled_from(["pixelshuffle", "direct"]),
)


@settings(max_examples=25, deadline=None)
@given(configs, st.integers(1, 80), st.integers(1, 80), st.sampled_from([1, 2]))
def test_random_configs_and_sizes(config: RGTConfig, height: int, width: int, batch: int) -> None:
    assert_equal_networks(config, height, width, batch=batch)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (3, 5), (2, 200), (200, 1), (16, 16), (33, 97), (64, 64), (65, 129)]
)
def test_sizes_at_the_edges(size: tuple[int, int]) -> None:
    assert_equal_networks(MICRO, *size)


@pytest.mark.parametrize("size", [(20, 1023), (64, 1024), (1030, 40)])
def test_deeper_recursion(size: tuple[int, int]) -> None:
    """From 1024 pixels on, the image is reduced three times, and a narrow one is extended."""
    assert_equal_networks(dataclasses.replace(MICRO, depth=(2,), num_heads=(2,)), *size)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("upsampler", ["pixelshuffle", "direct"])
def test_published_widths(scale: int, upsampler: str) -> None:
    """The widths, heads and windows of the published models, which are padded to whole vectors."""
    config = RGTConfig(upscale=scale, upsampler=upsampler, depth=(2, 1), num_heads=(6, 6))
    assert_equal_networks(config, 37, 45)


@pytest.mark.parametrize("values", [64 * 60, 300 * 60])
def test_strips_of_any_height(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of two rows and more: the seams between them do not show."""
    monkeypatch.setitem(STRIP_VALUES, "cpu", values)
    config = dataclasses.replace(MICRO, embed_dim=60, depth=(4, 2), num_heads=(6, 6))
    assert_equal_networks(config, 53, 61)


@pytest.mark.parametrize("defect", ["mask", "shift", "position bias", "recursion", "HAI"])
def test_comparison_detects(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random weights are large enough that every part of the network changes the output."""
    if defect == "mask":
        monkeypatch.setattr(attention, "MASKED", 0.0)
    elif defect == "shift":
        layouts = windows.branch_layouts
        monkeypatch.setattr(
            attention,
            "branch_layouts",
            lambda h, w, window, _, device: layouts(h, w, window, False, device),
        )
    elif defect == "position bias":
        zeros = torch.zeros(1, 1, 1)
        monkeypatch.setattr(attention.WindowAttention, "_position_bias", lambda self: zeros)
    elif defect == "recursion":
        monkeypatch.setattr(attention, "recursions", lambda height, width: 1)
    else:
        monkeypatch.setattr(torch.Tensor, "addcmul_", lambda out, x, gamma: out)
    with pytest.raises(AssertionError, match="not close"):
        assert_equal_networks(MICRO, 37, 45)


def test_autograd_path_is_the_reference_too() -> None:
    """Under autograd nothing is cached, folded, fused or computed in strips."""
    config = dataclasses.replace(MICRO, upsampler="pixelshuffle", upscale=3)
    network = random_rgt(config, spread=0.05)
    image = torch.rand(1, 3, 30, 41)
    with sdpa_kernel(SDPBackend.MATH):
        found = network(image).detach()
    expected = reference_rgt(network.state_dict(), config, image)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


class Recorded(dict[str, torch.Tensor]):
    """A state dict that records which of its tensors are used."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__(state)
        self.used: set[str] = set()

    def __getitem__(self, key: str) -> torch.Tensor:
        self.used.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 - `self[key]` records it


@pytest.mark.parametrize("upsampler", ["pixelshuffle", "direct"])
def test_the_reference_uses_every_tensor(upsampler: str) -> None:
    config = dataclasses.replace(MICRO, upsampler=upsampler, resi_connection="3conv")
    state = Recorded(random_rgt(config).state_dict())
    reference_rgt(state, config, torch.rand(1, 3, 16, 16))
    assert state.used == set(state)
