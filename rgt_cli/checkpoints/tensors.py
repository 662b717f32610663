"""Check the tensors of a state dict before anything is computed with them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rgt_cli.errors import CheckpointError

MAX_TENSORS = 8_000
"""Tensors of a state dict. A published RGT has 2,000."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""The dtypes of weights."""
_MAX_NAME = 80
"""Characters of a name in a message."""
_DERIVED = re.compile(r"\.(attn_mask_[01]|relative_position_index|rpe_biases)$")


def is_derived(key: str) -> bool:
    """Return whether `key` names a buffer that follows from the hyper-parameters, not a weight."""
    return bool(_DERIVED.search(key))


def shown(text: str, limit: int = _MAX_NAME) -> str:
    """Return the name of a tensor, or another text from a file, as a message may contain it.

    Control characters are spelled out, and what is longer than `limit` characters is cut.
    """
    safe = text if text and text.isprintable() else ascii(text)
    return safe if len(safe) <= limit else f"{safe[: limit - 1]}…"


def check_tensors(state: Mapping[str, Tensor], file_bytes: int) -> None:
    """Refuse tensors that are not plain arrays of numbers, or are larger than their file.

    Args:
        state: Tensors by their names, unwrapped.
        file_bytes: Size of the file. Weights that share memory could be much larger than it.

    Raises:
        CheckpointError: The message names the tensor.
    """
    if len(state) > MAX_TENSORS:
        raise CheckpointError(f"not an RGT checkpoint: it has {len(state)} tensors")
    total = 0
    for key, value in state.items():
        if defect := _defect(value, is_derived(key)):
            raise CheckpointError(f"not an RGT checkpoint: the tensor {shown(key)} {defect}")
        if not is_derived(key):
            total += value.numel() * value.element_size()
    if total > file_bytes:
        raise CheckpointError(
            f"damaged: its tensors claim to have {total} bytes, but the file has {file_bytes}"
        )


def _defect(value: Tensor, is_buffer: bool) -> str | None:
    """Return why a tensor is not a plain array of numbers, in words. None if it is one."""
    if value.is_nested:
        return "is nested"
    if value.layout != torch.strided:
        return f"has the layout {_word(value.layout)}"
    if value.is_quantized:
        return "is quantized"
    if value.device.type != "cpu":
        return f"is on the device {value.device}, without values"
    if not is_buffer and value.dtype not in _DTYPES:
        return f"has the dtype {_word(value.dtype)}: use float32, float16, bfloat16 or float64"
    if 0 in value.shape:
        return f"has the shape {tuple(value.shape)}, without values"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"has the strides {value.stride()}, so that values overlap"
    return None


def _word(name: object) -> str:
    return str(name).removeprefix("torch.")
