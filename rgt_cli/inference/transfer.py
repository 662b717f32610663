"""Move arrays to the device and back. On a GPU, this overlaps with the computation of other tiles.

A copy overlaps only if it has a stream of its own and the memory of the processor is pinned. The streams
of uploads, computation and downloads wait for each other on the device, never on the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rgt_cli.inference.device import has_own_memory

PendingArray = Callable[[], np.ndarray]
"""Waits for an array that is being computed or copied, and returns it."""

MAX_PINNED = 1 << 29
"""Bytes of the largest result that pinned memory receives. The system can neither swap nor move pinned
memory, and PyTorch keeps it. A larger result takes long to compute, and little of that to copy."""


class Transfers:
    """The way from the memory of the processor to that of a device, and back.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.overlap = has_own_memory(device)
        """Whether transfers overlap with computation, so that a tile should be started before the result
        of the previous one is read."""
        self._streams: tuple[Any, Any] | None = None

    def upload(self, array: np.ndarray) -> torch.Tensor:
        """Return an array as a tensor on the device.

        Args:
            array: A contiguous array that may be written to. On a CPU, the tensor shares its memory.
        """
        tensor = torch.from_numpy(array)
        if not self.overlap:
            return tensor.to(self.device)
        gpu, (uploads, _) = torch.get_device_module(self.device), self._made_streams()
        with gpu.stream(uploads):
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        computation = gpu.current_stream(self.device)
        computation.wait_stream(uploads)
        tensor.record_stream(computation)  # its memory is not reused before the computation has read it
        return tensor

    def download(self, tensor: torch.Tensor) -> PendingArray:
        """Begin to copy a tensor from the device; return a function that waits for the array.

        Args:
            tensor: The tensor, which must not be changed afterwards. On a CPU, the array shares its
                memory.
        """
        if not self.overlap or tensor.nbytes > MAX_PINNED:
            return lambda: np.asarray(tensor.cpu().numpy())
        gpu, (_, downloads) = torch.get_device_module(self.device), self._made_streams()
        array = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        downloads.wait_stream(gpu.current_stream(self.device))
        with gpu.stream(downloads):
            array.copy_(tensor, non_blocking=True)
        tensor.record_stream(downloads)
        arrival = gpu.Event()
        arrival.record(downloads)

        def wait() -> np.ndarray:
            arrival.synchronize()
            return np.asarray(array.numpy())

        return wait

    def _made_streams(self) -> tuple[Any, Any]:
        """Return the streams of uploads and of downloads."""
        if self._streams is None:
            gpu = torch.get_device_module(self.device)
            self._streams = gpu.Stream(self.device), gpu.Stream(self.device)
        return self._streams
