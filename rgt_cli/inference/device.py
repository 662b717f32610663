"""Which device computes, in which precision, on how many threads."""

import ctypes
import os
import sys

import torch

from rgt_cli.errors import UsageError
from rgt_cli.inference.limits import processors

# What is compiled for each size of tensor is kept: 1024 by default, in each of two stores, which makes
# hundreds of format_bytes once pictures of many sizes have gone by. One size needs few. Read at first use.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")  # by oneDNN
os.environ.setdefault("LRU_CACHE_CAPACITY", "128")  # by what stands between it and PyTorch

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


def is_emulated(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a processor has no arithmetic for a precision, which is then far slower than fp32."""
    if device.type != "cpu" or dtype == torch.float32:
        return False
    known = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return not (torch.backends.mkldnn.is_available() and known[dtype]())


def safer_precisions(dtype: torch.dtype, device: torch.device) -> list[torch.dtype]:
    """What to compute in, in this order, as long as results are not finite: `dtype` first, fp32 last."""
    steps = [dtype]
    if dtype == torch.float16 and device.type == "cuda" and torch.cuda.is_bf16_supported():
        steps.append(torch.bfloat16)  # the range of fp32 at the speed of fp16
    return steps if dtype == torch.float32 else [*steps, torch.float32]


def use_threads(count: int | None = None) -> int:
    """Let PyTorch compute on `count` threads, or on as many as this process has processors.

    Returns:
        The number of threads. Without `count` it is never more than PyTorch chose itself, which
        goes by physical cores and OMP_NUM_THREADS.
    """
    threads = min(torch.get_num_threads(), processors()) if count is None else count
    torch.set_num_threads(threads)
    return threads


def keep_freed_memory() -> None:
    """Let glibc keep memory that was freed, up to half a gigabyte, for the next tensors.

    By default it goes back to the system and is faulted in anew, page by page, for every layer:
    a tenth of the time on a CPU. Elsewhere than on glibc this does nothing.
    """
    _keep_freed(tensors_below=32 << 20, at_most=512 << 20)


def give_back_memory(device: torch.device) -> None:
    """Return what was freed and kept, to PyTorch's own store or by glibc, after memory ran out.

    From here on every tensor has memory of its own: one heap that is full of gaps cannot hold even
    what would fit.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    _keep_freed(tensors_below=1 << 16, at_most=1 << 16)
    _glibc("malloc_trim", 0)


def _keep_freed(tensors_below: int, at_most: int) -> None:
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    _glibc("mallopt", m_mmap_threshold, tensors_below)
    _glibc("mallopt", m_trim_threshold, at_most)


def _glibc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
    if function is not None:
        function(*arguments)
