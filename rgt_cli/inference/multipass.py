"""To any size: which factors of a model, one after the other, and Lanczos down to what was asked for."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import torch

from rgt_cli.inference.alpha import upscale_with_alpha
from rgt_cli.inference.memory import free_memory, peak_memory
from rgt_cli.inference.resize import lanczos, shrink
from rgt_cli.inference.upscaler import ProgressCallback, Upscaler
from rgt_cli.size import Dimensions, Size

_MOST_PASSES = 6


def plan_passes(factor: float, native: list[int]) -> tuple[int, ...]:
    """The factors, of those a model has, whose product reaches `factor` at the least cost.

    A pass costs as many pixels as go into it, so small factors come first.
    """
    if factor <= 1:
        return ()
    best: tuple[float, tuple[int, ...]] | None = None
    for count in range(1, _MOST_PASSES + 1):
        for chain in itertools.combinations_with_replacement(sorted(native), count):
            if math.prod(chain) < factor - 1e-9:
                continue
            cost = sum(math.prod(chain[:i]) ** 2 for i in range(count)) + math.prod(chain) ** 2 / 100
            if best is None or cost < best[0]:
                best = cost, chain
        if best:
            return best[1]
    raise ValueError(f"no {_MOST_PASSES} passes of {native} enlarge by {factor}")


class MultiPassUpscaler:
    """Enlarges pictures to a size, with one upscaler for each factor, loaded when it is needed.

    Args:
        size: how large.
        load: makes the upscaler of a factor; None leaves the factor to the model.
        native: the factors that the model has; empty where only its file can tell.
        alpha_by_network: see `upscale_with_alpha`.
    """

    def __init__(
        self,
        size: Size,
        load: Callable[[int | None], Upscaler],
        native: list[int],
        alpha_by_network: bool = True,
    ) -> None:
        self._load, self._upscalers = load, dict[int, Upscaler]()
        self.alpha_by_network = alpha_by_network
        self._native = native
        if not native:
            only = load(None)
            self._upscalers[only.native_scale] = only
            self._native = [only.native_scale]
        self.size = Size(scale=self._native[0]) if size == Size() else size
        if self.size.scale is not None:
            for step in self.steps(self.size.scale):
                self.upscaler(step)

    def steps(self, factor: float) -> tuple[int, ...]:
        """The factors of the model that are gone through to reach `factor`, or more."""
        return plan_passes(factor, self._native)

    def upscaler(self, factor: int) -> Upscaler:
        """The upscaler of one factor."""
        if factor not in self._upscalers:
            self._upscalers[factor] = self._load(factor)
        return self._upscalers[factor]

    @property
    def upscalers(self) -> list[Upscaler]:
        """Those that have been loaded."""
        return list(self._upscalers.values())

    @property
    def name(self) -> str:
        """What the models that have been loaded are called."""
        return " and ".join(upscaler.name for upscaler in self.upscalers)

    def free_memory(self) -> int:
        """Bytes that pictures may still fill in the memory of this machine."""
        limits = [u.memory for u in self.upscalers if u.memory and u.device.type == "cpu"]
        return free_memory(torch.device("cpu"), min(limits, default=None))

    def peak_memory(self) -> int:
        """The most bytes held so far, where it computes."""
        device = next((u.device for u in self.upscalers), torch.device("cpu"))
        return peak_memory(device)

    def batch_size(self, width: int, height: int) -> int:
        """How many pictures of one size `enlarge_batch` computes at once."""
        large = self.size.of(Dimensions(width, height))
        size, factor = 0, 1
        for step in self.steps(max(large[0] / width, large[1] / height)):
            fitting = self.upscaler(step).batch_size(height * factor, width * factor)
            size, factor = min(size or fitting, fitting), factor * step
        return max(size, 1)

    def enlarge_batch(
        self, pictures: list[tuple[np.ndarray, np.ndarray | None]]
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Enlarge pictures of one size, (pixels, alpha) each, at once where they have no alpha.

        Raises:
            OutOfMemoryError: as `Upscaler.upscale` says.
        """
        if len(pictures) < 2 or any(alpha is not None for _, alpha in pictures):
            return [self.enlarge(pixels, alpha) for pixels, alpha in pictures]
        batch = [pixels for pixels, _ in pictures]
        source_height, source_width = batch[0].shape[:2]
        width, height = self.size.of(Dimensions(source_width, source_height))
        for step in self.steps(max(width / source_width, height / source_height)):
            batch = self.upscaler(step).upscale_batch(batch)
        return [(shrink(pixels, height, width), None) for pixels in batch]

    def enlarge(
        self, pixels: np.ndarray, alpha: np.ndarray | None = None, report: ProgressCallback | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Enlarge one picture.

        Args:
            pixels: (H, W) or (H, W, 3), uint8, uint16 or floating point in 0..1.
            alpha: (H, W) of the same dtype, or None.

        Raises:
            OutOfMemoryError: as `Upscaler.upscale` says.
        """
        width, height = self.size.of(Dimensions(pixels.shape[1], pixels.shape[0]))
        factor = max(width / pixels.shape[1], height / pixels.shape[0])
        for step in self.steps(factor):
            upscaler = self.upscaler(step)
            if alpha is None:
                pixels = upscaler.upscale(pixels, report)
            else:
                enlarge = functools.partial(upscaler.upscale, report=report)
                pixels, alpha = upscale_with_alpha(pixels, alpha, enlarge, self.alpha_by_network)
        small = shrink(pixels, height, width, alpha)
        return small, None if alpha is None else lanczos(alpha, height, width)
