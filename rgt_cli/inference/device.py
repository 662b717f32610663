"""Which device computes, in which precision, and how much memory it has left."""

import psutil
import torch

from rgt_cli.errors import UsageError

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Turn "auto", "cuda", "cuda:N", "mps" or "cpu" into a device that is there.

    Raises:
        UsageError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cuda", "mps", "cpu") or (index and (kind != "cuda" or not index.isdecimal())):
        raise UsageError(f"unknown device {name!r}: use auto, cuda, cuda:N, mps or cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not there[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise UsageError(f"this machine has no device {name} that PyTorch can use")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto", "fp32", "fp16" or "bf16" into a dtype; auto is fp16 on CUDA and fp32 elsewhere.

    Raises:
        UsageError: the name is unknown.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in _DTYPES:
        raise UsageError(f"unknown precision {name!r}: use auto, fp32, fp16 or bf16")
    return _DTYPES[name]


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated where `device` computes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
