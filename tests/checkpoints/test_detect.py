"""Hyper-parameters are read from shapes; a network that is not an RGT is refused, with its defect."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rgt_cli.checkpoints.detect import detect_config
from rgt_cli.checkpoints.tensors import is_derived
from rgt_cli.errors import CheckpointError
from rgt_cli.network import RGT, RGTConfig

WINDOW = "layers.0.blocks.0.attn.attns.0.rpe_biases"
INDEX = "layers.0.blocks.0.attn.attns.0.relative_position_index"
CONFIGS = [
    RGTConfig(embed_dim=32, depth=(2, 2), num_heads=(2, 2), split_size=(4, 8)),
    RGTConfig(embed_dim=32, depth=(2,), num_heads=(4,), upscale=2, mlp_ratio=3.0, c_ratio=0.25),
    RGTConfig(embed_dim=32, depth=(2,), num_heads=(2,), upscale=3, resi_connection="3conv"),
    RGTConfig(embed_dim=32, depth=(2,), num_heads=(2,), upsampler="direct", qkv_bias=False),
    RGTConfig(embed_dim=32, depth=(2,), num_heads=(2,), upscale=8, in_chans=1),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_hyper_parameter_is_detected(config: RGTConfig) -> None:
    state = dict(RGT(config).state_dict())
    height, width = config.split_size
    state[WINDOW] = torch.cartesian_prod(
        torch.arange(1.0 - height, height), torch.arange(1.0 - width, width)
    )
    assert detect_config(state) == config


def test_window_size_from_the_position_index(micro_checkpoint: Path) -> None:
    state = load_file(micro_checkpoint)
    del state[WINDOW]
    assert detect_config(state).split_size == (8, 32), "the published one, if the file has neither"
    rows, columns = torch.arange(4).repeat_interleave(8), torch.arange(8).repeat(4)
    state[INDEX] = (rows[:, None] - rows + 3) * 15 + columns[:, None] - columns + 7
    assert detect_config(state).split_size == (4, 8)


@pytest.mark.parametrize(
    "key",
    [
        "conv_first.weight",
        "layers.0.blocks.0.mlp.fc1.weight",
        "layers.1.blocks.0.attn.attns.0.pos.pos3.2.weight",
        "upsample.0.weight",
    ],
)
def test_missing_tensors_are_named(micro_checkpoint: Path, key: str) -> None:
    state = load_file(micro_checkpoint)
    del state[key]
    with pytest.raises(CheckpointError, match=f"{key} is missing"):
        detect_config(state)


def test_state_dict_without_blocks_is_refused(micro_checkpoint: Path) -> None:
    state = {k: v for k, v in load_file(micro_checkpoint).items() if not k.startswith("layers")}
    with pytest.raises(CheckpointError, match="residual groups"):
        detect_config(state)


def test_channels_that_fit_no_scale_are_refused(micro_checkpoint: Path) -> None:
    state = load_file(micro_checkpoint)
    state["upsample.0.weight"] = state["upsample.0.weight"][:7]
    state["upsample.0.weight"] = torch.zeros(5 * 3, *state["upsample.0.weight"].shape[1:])
    with pytest.raises(CheckpointError, match=r"upsample\.0\.weight"):
        detect_config(state)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 0), (2, 2), (0, 0, 0, 0), (1, 2, 3, 4, 5)])
def test_absurd_shapes_are_refused_or_ignored(micro_checkpoint: Path, shape: tuple[int, ...]) -> None:
    """No shape of any tensor raises anything but a CheckpointError."""
    good = load_file(micro_checkpoint)
    refused = set()
    for key in good:
        try:
            detect_config(good | {key: torch.zeros(shape)})
        except CheckpointError:
            refused.add(key)
    assert "conv_first.weight" in refused


@pytest.mark.parametrize("values", [[], [[float("nan"), 1.0]], [[float("inf"), 1.0]], [1.0]])
def test_absurd_windows_are_refused(micro_checkpoint: Path, values: list[object]) -> None:
    state = load_file(micro_checkpoint) | {WINDOW: torch.tensor(values)}
    with pytest.raises(CheckpointError, match="not an RGT"):
        detect_config(state)


def test_derived_buffers_are_recognized() -> None:
    assert is_derived(WINDOW)
    assert is_derived(INDEX)
    assert is_derived("layers.0.blocks.0.attn.attn_mask_1")
    assert not is_derived("layers.0.blocks.0.attn.qkv.weight")
