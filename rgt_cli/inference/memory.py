"""How much memory is free, how much a forward pass takes, and so how large a tile may be."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import torch

from rgt_cli.inference.limits import memory_left

FREE_SHARE = 0.8
"""The part of the free memory that an automatic tile may fill; the rest is for everything else."""
DEEPER_SIDE = 1024
"""From this side on, in pixels, recursive generalization goes one step deeper: another function."""
MIN_AUTO_TILE = 32
"""Below this side, in pixels of the input, an automatic tile is not shrunk any further."""
WORKED_ON = {"cpu": 1 << 15, "cuda": 1 << 18}
"""Tokens of the widest strip that is worked on at a time."""


class NetworkConfig(Protocol):
    """What the memory of a network follows from."""

    @property
    def upscale(self) -> int:
        """How much it enlarges."""

    @property
    def in_chans(self) -> int:
        """Channels of its pictures, in and out."""


def free_memory(device: torch.device, limit: int | None = None) -> int:
    """Bytes that can still be allocated where `device` computes.

    Args:
        limit: the most bytes that this process shall hold there; None is no limit.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_allocated(device)
        # What PyTorch has reserved and not given out is free to it, although the driver counts it.
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - held
    else:
        held = psutil.Process().memory_info().rss
        free = int(min(psutil.virtual_memory().available, memory_left()))
    return free if limit is None else max(0, min(free, limit - held))


@dataclass(frozen=True)
class MemoryModel:
    """The peak of memory of a forward pass: linear in the pixels of its input."""

    per_pixel: int
    """Bytes for each pixel of the input."""
    fixed: int
    """Bytes whatever the size of the input."""

    @classmethod
    def of(cls, config: NetworkConfig, dtype: torch.dtype, device: torch.device) -> "MemoryModel":
        """The model of one network in one precision; of one that is no RGT, its images alone.

        At its widest, in local attention, RGT holds four tensors of the residual stream in fp32 (the
        shortcuts of the body and of the group, the stream and its successor) and, in the precision of
        the products, two tensors of the same size, but for wider heads, with what the two branches
        attended to and their values; in half precision the normed stream as well.
        """
        dim, heads = getattr(config, "embed_dim", 0), max(getattr(config, "num_heads", (1,)))
        wide = heads * math.ceil(dim / heads / 8) * 8  # heads take whole vectors
        streams = 4 * 4 * dim + (2 * 4 * wide if dtype == torch.float32 else 2 * (2 * wide + dim))
        images = 4 * config.in_chans * (1 + 3 * config.upscale**2)
        layouts = 64  # indices into windows
        strips = WORKED_ON.get(device.type, 1 << 18) * 4 * (5 * dim + 400)
        return cls(streams + images + layouts, strips)

    def bytes_for(self, height: int, width: int) -> int:
        """The peak for one input of `height` x `width` pixels."""
        shortest = _shortest_side(max(height, width))
        return self.fixed + self.per_pixel * max(height, shortest) * max(width, shortest)

    def largest_tile(self, height: int, width: int, free: int) -> int:
        """The side of the largest tile of a `height` x `width` image that fits in `free` bytes.

        It is the longer side of the image if the whole fits, and 0 if nothing does. Images narrower
        than a square tile take longer ones, but none that the network would have to widen.
        """
        pixels = (free - self.fixed) // self.per_pixel
        if pixels < 1:
            return 0
        square = math.isqrt(pixels)
        narrow = min(height, width)
        side = min(max(height, width), square if narrow >= square else pixels // narrow)
        while (shortest := _shortest_side(side)) > max(narrow, 16):
            side = 16 * shortest - 1  # or most of what is computed would be what it is widened by
        return min(side, max(pixels // 16, 1)) if narrow < 16 else side


def _shortest_side(longest: int) -> int:
    """What RGT widens a tile to, so that both of its sides can be reduced as often as the longer."""
    shortest = 16
    while longest >= 64 * shortest:
        shortest *= 4
    return shortest


def next_smaller_tile(tile: int) -> int:
    """The next size to try where a tile was too large.

    Half of it; but DEEPER_SIDE is not stepped over, since tiles on its two sides are different
    functions of the picture, nor is MIN_AUTO_TILE, which is always tried.
    """
    for stop in (DEEPER_SIDE, MIN_AUTO_TILE):
        if tile > stop:
            return max(tile // 2, stop)
    return tile // 2


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: by the whole process on a CPU, by the tensors on CUDA."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # there is none on Windows

    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Of Linux's two figures this is the one that does not begin with what the parent held.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
