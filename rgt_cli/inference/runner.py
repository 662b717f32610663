"""Run a network on arrays, with self-ensemble, and in safer precisions when it overflows."""

from __future__ import annotations

import logging
from typing import cast

import numpy as np
import torch
from torch import nn

from rgt_cli.errors import CheckpointError
from rgt_cli.inference.device import precision_name, safer_precisions
from rgt_cli.inference.ensemble import self_ensemble
from rgt_cli.inference.memory import NetworkConfig
from rgt_cli.network.kernels import computing

logger = logging.getLogger(__name__)


class NetworkRunner:
    """A network on a device, in a precision.

    Args:
        network: A module that maps (N, C, H, W) in 0..1 to (N, C, s * H, s * W) and has a `config` with
            `upscale` and `in_chans`.
        name: The name of the network in messages.
        device: Where to compute.
        dtype: The precision of matrix products.
        ensemble: Whether to compute the mean over the 8 flips and rotations of each input.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        ensemble: bool = False,
    ) -> None:
        self.network = network.to(device)
        self.config = cast(NetworkConfig, network.config)
        self.name, self.device, self.dtype, self.ensemble = name, device, dtype, ensemble
        self.redone_tiles = 0
        """Number of tiles so far that overflowed and were computed again in a safer precision."""

    def run_tile(self, tile: np.ndarray) -> np.ndarray:
        """Upscale one tile.

        Args:
            tile: (h, w, C), uint8, uint16 or floating point in 0..1.

        Returns:
            (s * h, s * w, C) float32 in 0..1.

        Raises:
            CheckpointError: The output is not finite in any precision.
        """
        if tile.shape[2] in (1, self.config.in_chans):
            (result,) = self.run_batch(tile[None])
            return np.asarray(result)
        planes = self.run_batch(tile.transpose(2, 0, 1)[..., None])  # a gray network: a batch of planes
        return planes[..., 0].transpose(1, 2, 0)

    @torch.inference_mode()
    def run_batch(self, tiles: np.ndarray) -> np.ndarray:
        """Upscale tiles of one size at once.

        Args:
            tiles: (N, h, w, C), as for `run_tile`; C is 1 or the channels of the network.

        Returns:
            (N, s * h, s * w, C) float32 in 0..1.

        Raises:
            CheckpointError: The output is not finite in any precision.
        """
        planes = tiles.transpose(0, 3, 1, 2).copy()
        if planes.dtype == np.uint16:  # few operations of PyTorch support it
            planes = planes.astype(np.float32) / 65535
        x = torch.from_numpy(planes).to(self.device)
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        channels, expected = tiles.shape[3], self.config.in_chans
        y = self.infer(x.expand(-1, expected, -1, -1))
        if channels == 1 and expected != 1:
            y = y.mean(dim=1, keepdim=True)
        result: np.ndarray = y.clamp_(0, 1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return result

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network in its precision, and while the output is not finite, in safer ones.

        Args:
            x: (N, C, h, w) in 0..1.

        Returns:
            (N, C, s * h, s * w) float32, not clamped.

        Raises:
            CheckpointError: The output is not finite in any precision.
        """
        for dtype in safer_precisions(self.dtype, self.device):
            with computing(self.device, dtype):
                y = self_ensemble(self.network, x) if self.ensemble else self.network(x).float()
            if y.isfinite().all():
                if dtype != self.dtype:
                    self._count_redone(dtype)
                return cast(torch.Tensor, y)
        raise CheckpointError(f"{self.name}: its output for this image is not finite")

    def _count_redone(self, dtype: torch.dtype) -> None:
        level = logging.DEBUG if self.redone_tiles else logging.INFO
        names = precision_name(self.dtype), precision_name(dtype)
        logger.log(level, "a tile overflowed %s and was computed again in %s", *names)
        self.redone_tiles += 1
