"""Convert a checkpoint to its slim form: a safetensors file with the weights only, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from rgt_cli.checkpoints.load import network_from_state_dict, read_state_dict
from rgt_cli.checkpoints.tensors import is_derived
from rgt_cli.errors import CheckpointError
from rgt_cli.files import atomic_path, cannot_write
from rgt_cli.network import RGTConfig

WINDOW_KEY = "layers.0.blocks.0.attn.attns.0.rpe_biases"
"""The one derived buffer that is written: nothing else in the file gives the window size of L-SA."""


def convert(source: Path, target: Path, half: bool = False) -> None:
    """Read a checkpoint in any supported form and write its slim form to `target`, atomically.

    Args:
        source: A `.safetensors` or PyTorch file.
        target: The safetensors file to write.
        half: Store the weights in fp16. Otherwise each weight has the bits and dtype of `source`.

    Raises:
        CheckpointError: `source` is not exactly an RGT.
        OutputError: `target` cannot be written.
    """
    try:
        state = read_state_dict(source)
        config = network_from_state_dict(state).config
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    write_slim(state, config, target, half)


def write_slim(state: Mapping[str, Tensor], config: RGTConfig, target: Path, half: bool = False) -> None:
    """Write the weights of `state` and the window size of `config`, atomically.

    Raises:
        OutputError: `target` cannot be written.
    """
    weights = {key: value for key, value in state.items() if not is_derived(key)}
    height, width = config.split_size
    rows, columns = torch.arange(1 - height, height), torch.arange(1 - width, width)
    weights[WINDOW_KEY] = torch.cartesian_prod(rows, columns).float()
    stored = {k: (v.half() if half else v).contiguous() for k, v in weights.items()}
    with atomic_path(target) as path:
        try:
            save_file(stored, path)
        except SafetensorError as error:  # this is how it reports a full disk
            raise cannot_write(target, error) from error
