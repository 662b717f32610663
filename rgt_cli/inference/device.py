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
from rgt_cli.values import GPUS_WITH_NUMBERS, parse_device

Precision = Literal["auto", "fp32", "fp16", "bf16"]
"""Precision of matrix products; "auto" is fp16 on CUDA and XPU, and fp32 elsewhere."""

# oneDNN caches the code that it compiles for each size of tensor, 1024 entries by default in each of two
# caches: hundreds of megabytes after images of many sizes. Images of one size need few. These variables
# are read when a cache is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")  # the cache of oneDNN itself
os.environ.setdefault("LRU_CACHE_CAPACITY", "128")  # the cache of its bindings in PyTorch

_has_mps: Callable[[], bool] = torch.backends.mps.is_available  # has no annotations
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def has_own_memory(device: torch.device) -> bool:
    """Return whether a device is a GPU with its own memory and streams.

    The modules of PyTorch for these GPUs have one interface: see `torch.get_device_module`.
    """
    return device.type in GPUS_WITH_NUMBERS


def is_device_failure(error: BaseException) -> bool:
    """Return whether an error of PyTorch means that a GPU failed: every later call would fail too.

    Errors of memory are not among them: see `memory.is_out_of_memory`.
    """
    if isinstance(error, getattr(torch, "AcceleratorError", ())):  # since PyTorch 2.8
        return True
    words = ["cuda error", "cuda driver error", "hip error", "cublas_status", "cudnn_status"]
    words += ["device_lost"]  # Level Zero
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def resolve_device(name: str) -> torch.device:
    """Return the device of this name: "auto", "cuda", "cuda:N", "xpu", "xpu:N", "mps" or "cpu".

    "auto" is CUDA, MPS or the CPU, whichever comes first. It is never XPU, which is untested.

    Raises:
        UsageError: The name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if count_devices(kind)))
    kind, number = parse_device(name)
    if (number or 0) >= count_devices(kind):
        raise UsageError(f"{name!r} is not available: PyTorch finds no such device on this machine")
    return torch.device(name)


def count_devices(kind: str) -> int:
    """Return how many devices of a kind PyTorch finds on this machine."""
    if kind in GPUS_WITH_NUMBERS:
        gpu = torch.get_device_module(kind)
        return int(gpu.device_count()) if gpu.is_available() else 0
    return int(kind == "cpu" or _has_mps())


def describe_device(device: torch.device) -> str:
    """Return the name of a device for messages, with that of the graphics card."""
    if has_own_memory(device):
        return f"{device} ({torch.get_device_module(device).get_device_name(device)})"
    return str(device)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all of its work."""
    if has_own_memory(device):
        torch.get_device_module(device).synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a precision: see `Precision`.

    Raises:
        UsageError: The name is unknown.
    """
    if name == "auto":
        return torch.float16 if has_own_memory(device) else torch.float32
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
    is_gpu = has_own_memory(device)
    if dtype == torch.float16 and is_gpu and torch.get_device_module(device).is_bf16_supported():
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
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
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
