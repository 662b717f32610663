"""Rewrite a checkpoint as a slim safetensors file: the weights alone, bit for bit."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from rgt_cli.checkpoints.detect import is_derived
from rgt_cli.checkpoints.load import network_from_state_dict, read_state_dict
from rgt_cli.errors import CheckpointError
from rgt_cli.network import RGTConfig

WINDOW_KEY = "layers.0.blocks.0.attn.attns.0.rpe_biases"
"""The one derived buffer that stays: nothing else in a file tells the window of L-SA."""


def convert(source: Path, target: Path, half: bool = False) -> None:
    """Read a checkpoint in any supported form and write its slim form to `target`, whole or not at all.

    Args:
        half: store the weights in fp16; else every weight keeps its bits and dtype.

    Raises:
        CheckpointError: `source` is not exactly an RGT.
        OSError: `target` cannot be written.
    """
    state = read_state_dict(source)
    try:
        config = network_from_state_dict(state).config
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    write_slim(state, config, target, half)


def write_slim(state: Mapping[str, Tensor], config: RGTConfig, target: Path, half: bool = False) -> None:
    """Write the weights of `state` and the window of `config`, atomically."""
    weights = {key: value for key, value in state.items() if not is_derived(key)}
    (height, width) = config.split_size
    rows, columns = torch.arange(1 - height, height), torch.arange(1 - width, width)
    weights[WINDOW_KEY] = torch.cartesian_prod(rows, columns).float()
    partial = target.with_name(f"{target.name}.part")
    try:
        save_file({k: (v.half() if half else v).contiguous() for k, v in weights.items()}, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except Exception as error:
        if isinstance(error, OSError):
            raise
        raise OSError(None, str(error)) from error  # safetensors has its own errors for a full disk
    finally:
        partial.unlink(missing_ok=True)
