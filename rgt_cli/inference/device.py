"""The device and the precision that the network computes in, and the memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Literal

import torch

from rgt_cli.errors import UsageError
from rgt_cli.network.kernels import has_onednn

Precision = Literal["auto", "fp32", "fp16", "bf16"]
"""Precision of matrix products; "auto" is fp16 on CUDA and fp32 elsewhere."""

# oneDNN caches the code that it compiles for each size of tensor, 1024 entries by default in each of two
# caches: hundreds of megabytes after images of many sizes. Images of one size need few. These variables
# are read when a cache is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")  # the cache of oneDNN itself
os.environ.setdefault("LRU_CACHE_CAPACITY", "128")  # the cache of its bindings in PyTorch

_has_mps: Callable[[], bool] = torch.backends.mps.is_available  # has no annotations
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Return the device of this name: "auto", "cuda", "cuda:N", "mps" or "cpu".

    Raises:
        UsageError: The name is unknown, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if _has_mps() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cuda", "mps", "cpu") or (index and (kind != "cuda" or not index.isdecimal())):
        raise UsageError(f"{name!r} is not a device: use auto, cuda, cuda:N, mps or cpu")
    available = {"cuda": torch.cuda.is_available(), "mps": _has_mps(), "cpu": True}
    if not available[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise UsageError(f"{name!r} is not available: PyTorch finds no such device on this machine")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return the name of a device for messages, with that of the graphics card."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a precision: see `Precision`.

    Raises:
        UsageError: The name is unknown.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in _DTYPES:
        raise UsageError(f"{name!r} is not a precision: use auto, fp32, fp16 or bf16")
    return _DTYPES[name]


def precision_name(dtype: torch.dtype) -> str:
    """Return the name of the precision of a dtype: "fp32", "fp16" or "bf16"."""
    return next(name for name, named in _DTYPES.items() if named == dtype)


def is_emulated(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether the processor emulates a precision, which is then far slower than fp32."""
    if device.type != "cpu" or dtype == torch.float32:
        return False
    is_supported = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return not (has_onednn() and is_supported[dtype]())


def safer_precisions(dtype: torch.dtype, device: torch.device) -> list[torch.dtype]:
    """Return the precisions to try, from `dtype` to fp32, while the output is not finite."""
    steps = [dtype]
    if dtype == torch.float16 and device.type == "cuda" and torch.cuda.is_bf16_supported():
        steps.append(torch.bfloat16)  # the range of fp32 at the speed of fp16
    return steps if dtype == torch.float32 else [*steps, torch.float32]


def reuse_freed_memory() -> None:
    """Let glibc reuse freed memory, up to half a gigabyte, for the next tensors.

    By default it returns freed memory to the system, which maps it again, page by page, for every layer:
    a tenth of the time on a CPU. Without glibc this does nothing.
    """
    _set_allocator(map_from=32 << 20, trim_from=512 << 20)


def release_memory(device: torch.device) -> None:
    """Return freed memory to the system after memory ran out: that of PyTorch's cache and of glibc.

    From then on every tensor is mapped separately, because a fragmented heap has no room even for a
    tensor that would fit.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    _set_allocator(map_from=1 << 16, trim_from=1 << 16)
    _glibc("malloc_trim", 0)


def _set_allocator(map_from: int, trim_from: int) -> None:
    """Set from how many bytes on glibc maps an allocation separately, and returns freed memory."""
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    _glibc("mallopt", m_mmap_threshold, map_from)
    _glibc("mallopt", m_trim_threshold, trim_from)


def _glibc(name: str, *arguments: int) -> None:
    """Call a function of glibc; do nothing on systems without it."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
    if function is not None:
        function(*arguments)
