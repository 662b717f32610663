"""Reach any size: run a model once or several times, then shrink by Lanczos to the requested size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

from rgt_cli.errors import UsageError
from rgt_cli.inference.alpha import Upscale, upscale_with_alpha
from rgt_cli.inference.resize import lanczos, shrink
from rgt_cli.size import Dimensions

_MAX_PASSES = 6


def plan_passes(factor: float, native: list[int]) -> tuple[int, ...]:
    """Return the cheapest sequence of a model's factors whose product is at least `factor`.

    The cost of a pass is proportional to the pixels that enter it, so small factors come first. A factor
    of 1 or less needs no pass.

    Args:
        factor: The factor to reach.
        native: The factors of the model.

    Raises:
        UsageError: No 6 passes reach `factor`.
    """
    if factor <= 1:
        return ()
    best: tuple[float, tuple[int, ...]] | None = None
    for count in range(1, _MAX_PASSES + 1):
        for chain in itertools.combinations_with_replacement(sorted(native), count):
            if math.prod(chain) < factor - 1e-9:
                continue
            cost = sum(math.prod(chain[:i]) ** 2 for i in range(count)) + math.prod(chain) ** 2 / 100
            if best is None or cost < best[0]:
                best = cost, chain
        if best:
            return best[1]
    most = max(native) ** _MAX_PASSES
    raise UsageError(f"x{factor:g} is out of reach: this model upscales at most by x{most}")


def run_passes(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    passes: Iterable[Upscale],
    size: Dimensions,
    *,
    alpha_by_network: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Upscale an image by each pass in turn, then resize it to `size` by Lanczos.

    Args:
        pixels: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1.
        alpha: (H, W) of the same dtype, or None.
        passes: Functions that each upscale one image.
        size: The size of the result.
        alpha_by_network: As for `upscale_with_alpha`.
    """
    for upscale in passes:
        if alpha is None:
            pixels = upscale(pixels)
        else:
            pixels, alpha = upscale_with_alpha(pixels, alpha, upscale, alpha_by_network)
    return shrink(pixels, size, alpha), None if alpha is None else lanczos(alpha, size)
