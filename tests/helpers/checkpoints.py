"""Checkpoints for tests: the published ones by their shapes, and files that are wrong on purpose."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rgt_cli.network import RGT
from tests.helpers import DATA

OFFICIAL: dict[str, dict[str, tuple[list[int], str]]] = json.loads(
    gzip.decompress((DATA / "official_state_dicts.json.gz").read_bytes())
)
"""Shape and dtype of every tensor in the six published checkpoints."""


def official_state(name: str, random: bool = False) -> dict[str, Tensor]:
    """Return a state dict with the keys and shapes of a published checkpoint, of zeros or noise."""
    state = {}
    for key, (shape, dtype_name) in OFFICIAL[name].items():
        dtype: torch.dtype = getattr(torch, dtype_name)
        noisy = random and dtype.is_floating_point
        state[key] = torch.randn(shape).to(dtype) if noisy else torch.zeros(shape, dtype=dtype)
        if key.endswith("attns.0.rpe_biases"):
            state[key] = torch.cartesian_prod(torch.arange(-7.0, 8), torch.arange(-31.0, 32))
    return state


def save_network(network: RGT, path: Path) -> Path:
    """Save a network as a checkpoint, and return its path."""
    height, width = network.config.split_size
    ranges = (torch.arange(1.0 - side, side) for side in (height, width))
    offsets = {"layers.0.blocks.0.attn.attns.0.rpe_biases": torch.cartesian_prod(*ranges)}
    save_file(network.state_dict() | offsets, path)
    return path


def save_as_published(checkpoint: Path) -> Path:
    """Save a copy of a slim checkpoint beside it, wrapped and with derived buffers as published."""
    state = load_file(checkpoint)
    for key in [key for key in state if key.endswith("attns.0.pos.pos_proj.weight")]:
        for branch in ("attns.0", "attns.1"):
            prefix = key.split("attns.0")[0] + branch
            state[f"{prefix}.relative_position_index"] = torch.arange(32 * 32).view(32, 32)
            state[f"{prefix}.rpe_biases"] = state["layers.0.blocks.0.attn.attns.0.rpe_biases"].clone()
    path = checkpoint.with_suffix(".pth")
    torch.save({"params": state}, path)
    return path


class Evil:
    """An object whose pickle creates the folder `pwned` when it is loaded without care."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("pwned",)


def save_evil(path: Path, by_torch: bool) -> Path:
    """Save a pickle that would run code, in the format of PyTorch or as a plain pickle."""
    if by_torch:
        torch.save({"params": Evil()}, path)
    else:
        path.write_bytes(pickle.dumps({"params": Evil()}))
    return path


def flip_last_bit(content: bytes) -> bytes:
    """Return `content` with one bit changed."""
    return content[:-1] + bytes([content[-1] ^ 1])
