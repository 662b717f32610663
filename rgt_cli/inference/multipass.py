"""`MultiPassUpscaler`: upscale to any size, by one or several factors of a model."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable

import numpy as np
import torch

from rgt_cli.inference.memory import free_memory, peak_memory
from rgt_cli.inference.passes import plan_passes, run_passes
from rgt_cli.inference.resize import shrink
from rgt_cli.inference.tiling import ProgressCallback
from rgt_cli.inference.upscaler import NetworkUpscaler
from rgt_cli.size import Dimensions, Size

logger = logging.getLogger(__name__)


class MultiPassUpscaler:
    """Upscales images to a size, with one upscaler for each factor, loaded when it is first used.

    Args:
        size: The size of outputs; None is the factor of the model, the first if it has several.
        load: Loads the upscaler of a factor; of None, the upscaler with the model's own factor.
        native: The factors of the model; empty if only its file shows them.
        alpha_by_network: Upscale transparency by the network; otherwise by Lanczos.
        preload: Load the upscalers of a factor at once; otherwise call `preload` before any use.
    """

    def __init__(
        self,
        size: Size | None,
        load: Callable[[int | None], NetworkUpscaler],
        native: list[int],
        alpha_by_network: bool = True,
        *,
        preload: bool = True,
    ) -> None:
        self._load, self._upscalers = load, dict[int, NetworkUpscaler]()
        self._native = native
        if not native:
            only = load(None)
            self._upscalers[only.native_scale] = only
            self._native = [only.native_scale]
        self.alpha_by_network = alpha_by_network
        self.size = size or Size(scale=self._native[0])
        if preload:
            self.preload()

    def preload(self) -> None:
        """Load the upscalers of a factor, so that what is wrong with them shows before any work is done.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        if self.size.scale is not None:
            passes = self.plan_passes(self.size.scale)
            steps = " and ".join(f"x{factor}" for factor in passes) or "Lanczos alone"
            logger.info("x%g by %s", self.size.scale, steps)
            for factor in passes:
                self.upscaler_for(factor)

    def with_size(self, size: Size) -> MultiPassUpscaler:
        """Return an upscaler to another size that shares the loaded networks."""
        other = copy.copy(self)
        other.size = size
        return other

    def plan_passes(self, factor: float) -> tuple[int, ...]:
        """Return the factors of the model that reach `factor`, one after the other."""
        return plan_passes(factor, self._native)

    def upscaler_for(self, factor: int) -> NetworkUpscaler:
        """Return the upscaler of one factor of the model."""
        if factor not in self._upscalers:
            self._upscalers[factor] = self._load(factor)
        return self._upscalers[factor]

    def first_upscaler(self) -> NetworkUpscaler:
        """Return one of the upscalers; it is loaded if none is, as for sizes without a factor."""
        return self.upscaler_for(next(iter(self._upscalers), self._native[0]))

    @property
    def upscalers(self) -> list[NetworkUpscaler]:
        """The upscalers that have been loaded."""
        return list(self._upscalers.values())

    @property
    def name(self) -> str:
        """The names of the models that have been loaded."""
        return " and ".join(upscaler.name for upscaler in self.upscalers)

    def free_memory(self) -> int:
        """Return how many bytes images may still fill in the memory of the processor."""
        limits = [u.memory for u in self.upscalers if u.memory and u.device.type == "cpu"]
        return free_memory(torch.device("cpu"), min(limits, default=None))

    def peak_memory(self) -> int:
        """Return the most bytes used so far where the network computes."""
        device = next((upscaler.device for upscaler in self.upscalers), torch.device("cpu"))
        return peak_memory(device)

    def batch_size_for(self, size: Dimensions) -> int:
        """Return how many images of this size in pixels `upscale_batch` computes at once."""
        batch_sizes, factor = [1], 1
        for step in self.passes_for(size):
            entering = Dimensions(size.width * factor, size.height * factor)
            batch_sizes.append(self.upscaler_for(step).batch_size_for(entering))
            factor *= step
        return min(batch_sizes[1:], default=1)

    def upscale(
        self,
        pixels: np.ndarray,
        alpha: np.ndarray | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Upscale one image.

        Args:
            pixels: (H, W) or (H, W, 3), uint8, uint16 or floating point in 0..1.
            alpha: (H, W) of the same dtype, or None.
            on_progress: Called after each tile of each pass.

        Returns:
            The pixels and alpha of the output, of the same dtypes; floating point becomes float32.

        Raises:
            UsageError, OutOfMemoryError, CheckpointError: As `NetworkUpscaler.upscale`.
        """
        source = Dimensions(pixels.shape[1], pixels.shape[0])
        passes = [
            functools.partial(self.upscaler_for(step).upscale, on_progress=on_progress)
            for step in self.passes_for(source)
        ]
        size = self.size.of(source)
        return run_passes(pixels, alpha, passes, size, alpha_by_network=self.alpha_by_network)

    def upscale_batch(
        self, images: list[tuple[np.ndarray, np.ndarray | None]]
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Upscale images of one size, at once if none of them has alpha.

        Args:
            images: (pixels, alpha) of each, as for `upscale`.

        Returns:
            What `upscale` returns for each.

        Raises:
            UsageError, OutOfMemoryError, CheckpointError: As `NetworkUpscaler.upscale`.
        """
        if len(images) < 2 or any(alpha is not None for _, alpha in images):
            return [self.upscale(pixels, alpha) for pixels, alpha in images]
        batch = [pixels for pixels, _ in images]
        source = Dimensions(batch[0].shape[1], batch[0].shape[0])
        for step in self.passes_for(source):
            batch = self.upscaler_for(step).upscale_batch(batch)
        size = self.size.of(source)
        return [(shrink(pixels, size), None) for pixels in batch]

    def passes_for(self, source: Dimensions) -> tuple[int, ...]:
        """Return the factors of the model that upscale an input of this size, one after the other."""
        target = self.size.of(source)
        return self.plan_passes(max(target.width / source.width, target.height / source.height))
