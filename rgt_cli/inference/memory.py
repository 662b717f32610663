"""Every estimate of memory: what is free, what a forward pass needs, and so how large a tile can be."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import torch

from rgt_cli.inference.device import has_own_memory
from rgt_cli.inference.limits import memory_left
from rgt_cli.network.attention import recursions
from rgt_cli.size import Dimensions

FREE_SHARE = 0.8
"""The share of the free memory that automatic tiles and batches may fill; the rest is a margin."""
DEEPER_SIDE = 1024
"""From this side on, in pixels, recursive generalization goes one step deeper: another function."""
MIN_AUTO_TILE = 32
"""The smallest side of an automatic tile, in pixels of the input."""
STRIP_TOKENS = {"cpu": 1 << 15, "cuda": 1 << 18, "xpu": 1 << 18, "mps": 1 << 18}
"""Tokens of the widest strip that the network works on at a time, for each kind of device."""


class NetworkConfig(Protocol):
    """The part of a network's configuration that all networks have."""

    @property
    def upscale(self) -> int:
        """The upscaling factor."""

    @property
    def in_chans(self) -> int:
        """Channels of the image, in and out."""


def free_memory(device: torch.device, limit: int | None = None) -> int:
    """Return how many bytes can still be allocated where `device` computes.

    Args:
        device: The device.
        limit: The most bytes that this process may use there; None is no limit.
    """
    if has_own_memory(device):
        gpu = torch.get_device_module(device)
        used = int(gpu.memory_allocated(device))
        # The driver counts what PyTorch has reserved as used, but PyTorch can still give it out.
        free = _unreserved_memory(device) + int(gpu.memory_reserved(device)) - used
    else:
        used = psutil.Process().memory_info().rss
        free = int(min(psutil.virtual_memory().available, memory_left()))
    return free if limit is None else max(0, min(free, limit - used))


def _unreserved_memory(device: torch.device) -> int:
    """Return the bytes of a GPU that neither PyTorch nor another process has reserved."""
    gpu = torch.get_device_module(device)
    try:
        return int(gpu.mem_get_info(device)[0])
    except (AttributeError, RuntimeError):  # XPU in PyTorch 2.6, and with some drivers
        return int(gpu.get_device_properties(device).total_memory - gpu.memory_reserved(device))


def peak_memory(device: torch.device) -> int:
    """Return the most bytes used so far: by tensors on CUDA and XPU, by the whole process elsewhere."""
    if has_own_memory(device):
        return int(torch.get_device_module(device).max_memory_allocated(device))
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # does not exist on Windows

    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # `getrusage` of Linux starts at the peak of the parent process; this figure does not.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@dataclass(frozen=True)
class MemoryModel:
    """The peak of memory of a forward pass: linear in the pixels of its input."""

    per_pixel: int
    """Bytes for each pixel of the input."""
    fixed: int
    """Bytes whatever the size of the input."""

    @classmethod
    def of(cls, config: NetworkConfig, dtype: torch.dtype, device: torch.device) -> MemoryModel:
        """Return the model of a network in one precision.

        The peak of RGT is in local attention. There it needs four tensors of the residual stream in fp32
        (the shortcuts of the body and of the group, the stream and its successor) and, in the precision
        of the products, two tensors of that size with heads padded to whole vectors: what both branches
        attended to, and their values. In half precision it needs the normalized stream as well.

        For a network that is not RGT, the model is that of its images alone.
        """
        dim, heads = getattr(config, "embed_dim", 0), max(getattr(config, "num_heads", (1,)))
        padded = heads * math.ceil(dim / heads / 8) * 8
        streams = 4 * 4 * dim + (2 * 4 * padded if dtype == torch.float32 else 2 * (2 * padded + dim))
        images = 4 * config.in_chans * (1 + 3 * config.upscale**2)
        layouts = 64  # indices of tokens in windows
        strips = STRIP_TOKENS[device.type] * 4 * (5 * dim + 400)
        return cls(streams + images + layouts, strips)

    def bytes_for(self, size: Dimensions) -> int:
        """Return the peak in bytes for one input of this size in pixels."""
        width, height = size
        shortest = _shortest_side(max(height, width))
        return self.fixed + self.per_pixel * max(height, shortest) * max(width, shortest)

    def batch_size_for(self, size: Dimensions, free: int) -> int:
        """Return how many inputs of this size fit in `free` bytes at once; 0 if none does."""
        return max(0, (free - self.fixed) // max(self.per_pixel * size.width * size.height, 1))


@dataclass(frozen=True, kw_only=True)
class TileBudget:
    """The memory that the tiles of one image may fill."""

    model: MemoryModel
    """The memory of the network."""
    image: Dimensions
    """Size of the input in pixels."""
    blending: int
    """Bytes for each row of a tile, in pixels of the input, that blending needs."""
    free: int
    """Bytes that are free where the network computes."""
    free_for_blending: int | None
    """Bytes that are free in the memory of the processor; None if the network computes there, too."""

    @classmethod
    def of(
        cls,
        model: MemoryModel,
        image: Dimensions,
        *,
        scale: int,
        channels: int,
        collected: bool,
        device: torch.device,
        limit: int | None,
    ) -> TileBudget:
        """Return the budget for one image, with the memory that is free now.

        Args:
            model: The memory of the network.
            image: Size of the input in pixels.
            scale: The factor of the network.
            channels: Channels of the image.
            collected: Whether the output is in memory as a whole, not written row by row.
            device: Where the network computes.
            limit: The most bytes that this process may use there; None is no limit.
        """
        values = channels * scale**2  # of the output, for each pixel of the input
        output = 2 * values * image.width * image.height if collected else 0
        free = free_memory(device, limit)
        if has_own_memory(device):
            on_processor: int | None = free_memory(torch.device("cpu")) - output
        else:
            free, on_processor = free - output, None
        # Two rows of tiles, in fp32: one that is being computed, and the one that it is blended with.
        blending = 2 * 4 * values * image.width
        return cls(
            model=model, image=image, blending=blending, free=free, free_for_blending=on_processor
        )

    def bytes_for(self, tile: int) -> int:
        """Return the bytes that tiles of this side need where the network computes."""
        width, height = min(tile, self.image.width), min(tile, self.image.height)
        network = self.model.bytes_for(Dimensions(width, height))
        if self.free_for_blending is not None or tile >= max(self.image):
            return network  # a whole image is not blended, and the model includes its output
        return network + self.blending * height

    def fits(self, tile: int, share: float = 1.0) -> bool:
        """Return whether tiles of this side fit in a share of the free memory."""
        if self.bytes_for(tile) > share * self.free:
            return False
        rows = self.blending * min(tile, self.image.height)
        return self.free_for_blending is None or rows <= share * self.free_for_blending

    def largest_tile(self, share: float = 1.0) -> int:
        """Return the side of the largest tile that fits in a share of the free memory; 0 if none does.

        It is the longer side of the image if the whole image fits. Images narrower than a square tile
        get longer tiles, but none that the network would have to widen: see `_shortest_side`.
        """
        longest = max(self.image)
        if self.fits(longest, share):
            side = longest
        else:
            side, too_large = 0, longest
            while too_large - side > 1:
                middle = (side + too_large) // 2
                side, too_large = (middle, too_large) if self.fits(middle, share) else (side, middle)
        while (shortest := _shortest_side(side)) > max(min(self.image), 16):
            side = 16 * shortest - 1  # or most of the computation would be on what was added
        return side


def _shortest_side(longest: int) -> int:
    """Return the side to which RGT widens a tile, so that its sides can be reduced equally often."""
    return int(4 ** recursions(longest, longest))


def next_smaller_tile(tile: int) -> int:
    """Return the size to try after tiles of side `tile` did not fit.

    It is half of `tile`. It does not skip DEEPER_SIDE, since larger and smaller tiles are different
    functions of the image, nor MIN_AUTO_TILE, which is always tried.
    """
    for stop in (DEEPER_SIDE, MIN_AUTO_TILE):
        if tile > stop:
            return max(tile // 2, stop)
    return tile // 2


def bytes_in_memory(decoded: int, scale: float) -> int:
    """Return the bytes that an image and its output fill when neither is streamed.

    Args:
        decoded: Bytes of the decoded input.
        scale: The upscaling factor.
    """
    # The input as decoded and as an array; the output as an array and as it is encoded.
    return int(decoded * (2 + 2 * scale**2))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of PyTorch, its libraries or NumPy means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ["allocate memory", "out of memory", "alloc_failed", "bad_alloc", "out_of_memory"]
    words += ["out_of_device_memory", "out_of_host_memory", "out_of_resources"]  # Level Zero
    words += ["could not create a primitive", "could not execute a primitive"]  # oneDNN
    words += ["can't start new thread"]  # no room for its stack
    return any(word in str(error).lower() for word in words)
