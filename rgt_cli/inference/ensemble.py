"""Self-ensemble: the mean over the 8 flips and rotations of the input, which the paper calls RGT+."""

from __future__ import annotations

from collections.abc import Callable

import torch


def self_ensemble(network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the mean of the outputs for the 8 flips and rotations of `x`, each turned back, in fp32.

    Args:
        network: Maps (N, C, H, W) to (N, C, s * H, s * W).
        x: (N, C, H, W).
    """
    total: torch.Tensor | None = None
    for quarter_turns in range(4):
        for flip in (False, True):
            turned = torch.rot90(x, quarter_turns, (-2, -1))
            y = network((turned.flip(-1) if flip else turned).contiguous()).float()
            y = torch.rot90(y.flip(-1) if flip else y, -quarter_turns, (-2, -1))
            total = y.clone() if total is None else total.add_(y)
    assert total is not None
    return total / 8
