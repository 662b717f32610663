"""Run a network on arrays, with self-ensemble, and in safer precisions when it overflows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from rgt_cli.errors import CheckpointError
from rgt_cli.inference.device import precision_name, safer_precisions
from rgt_cli.inference.ensemble import self_ensemble
from rgt_cli.inference.memory import NetworkConfig
from rgt_cli.inference.transfer import PendingArray, Transfers
from rgt_cli.network.kernels import computing

logger = logging.getLogger(__name__)

_TORCH_DTYPES: dict[type[np.generic], torch.dtype] = {np.float32: torch.float32, np.uint8: torch.uint8}
"""The dtypes that results can have."""


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
        self.transfers = Transfers(device)
        self.redone_tiles = 0
        """Number of tiles so far that overflowed and were computed again in a safer precision."""

    def run_tile(self, tile: np.ndarray, dtype: type[np.generic] = np.float32) -> np.ndarray:
        """Upscale one tile and wait for the result: see `start_tile`."""
        return self.start_tile(tile, dtype)()

    def start_tile(self, tile: np.ndarray, dtype: type[np.generic] = np.float32) -> PendingArray:
        """Begin to upscale one tile. On a GPU, this does not wait for anything.

        Args:
            tile: (h, w, C), uint8, uint16 or floating point in 0..1. It must not change until the result
                is there.
            dtype: float32, or uint8, to which the result is rounded.

        Returns:
            A function that waits for the result, (s * h, s * w, C) in 0..1 or 0..255, which the caller
            may overwrite.

        Raises:
            CheckpointError: The output is not finite in any precision; raised by the function.
        """
        if tile.shape[2] in (1, self.config.in_chans):
            started = self.start_batch(tile[None], dtype)
            return lambda: np.asarray(started()[0])
        planes = self.start_batch(tile.transpose(2, 0, 1)[..., None], dtype)  # a gray network
        return lambda: planes()[..., 0].transpose(1, 2, 0)

    def run_batch(self, tiles: np.ndarray, dtype: type[np.generic] = np.float32) -> np.ndarray:
        """Upscale tiles of one size at once and wait for the result: see `start_batch`."""
        return self.start_batch(tiles, dtype)()

    @torch.inference_mode()
    def start_batch(
        self,
        tiles: np.ndarray,
        dtype: type[np.generic] = np.float32,
        precisions: Sequence[torch.dtype] = (),
    ) -> PendingArray:
        """Begin to upscale tiles of one size at once.

        Args:
            tiles: (N, h, w, C), as for `start_tile`; C is 1 or the channels of the network.
            dtype: As for `start_tile`.
            precisions: The precisions to try one after the other; empty: those of `safer_precisions`.

        Returns:
            A function that waits for the result, (N, s * h, s * w, C). If the output was not finite, it
            computes the tiles again.

        Raises:
            CheckpointError: As for `start_tile`.
        """
        precision, *safer = precisions or safer_precisions(self.dtype, self.device)
        images = tiles.astype(np.float32) / 65535 if tiles.dtype == np.uint16 else tiles
        x = self.transfers.upload(np.require(images, requirements=["C", "W"])).permute(0, 3, 1, 2)
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        channels, expected = tiles.shape[3], self.config.in_chans
        y = self._compute(x.expand(-1, expected, -1, -1), precision)
        is_finite = y.isfinite().all()
        if channels == 1 and expected != 1:
            y = y.mean(dim=1, keepdim=True)
        y = y.clamp_(0, 1).permute(0, 2, 3, 1)
        if dtype == np.uint8:
            y = y.mul_(255).round_()
        # One transfer brings the result, and behind it whether the output was finite.
        sent = torch.empty(y.numel() + 1, dtype=_TORCH_DTYPES[dtype], device=y.device)
        sent[:-1].view(y.shape).copy_(y)
        sent[-1:].copy_(is_finite)
        arriving, shape = self.transfers.download(sent), y.shape

        def wait() -> np.ndarray:
            received = arriving()
            if not received[-1]:
                if not safer:
                    raise CheckpointError(f"{self.name}: its output for this image is not finite")
                return self.start_batch(tiles, dtype, safer)()
            if precision != self.dtype:
                self._count_redone(precision)
            return received[:-1].reshape(shape)

        return wait

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
            y = self._compute(x, dtype)
            if y.isfinite().all():
                if dtype != self.dtype:
                    self._count_redone(dtype)
                return y
        raise CheckpointError(f"{self.name}: its output for this image is not finite")

    def _compute(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Run the network, or the self-ensemble, in a precision; return float32."""
        with computing(self.device, dtype):
            y = self_ensemble(self.network, x) if self.ensemble else self.network(x).float()
        return cast(torch.Tensor, y)

    def _count_redone(self, dtype: torch.dtype) -> None:
        level = logging.DEBUG if self.redone_tiles else logging.INFO
        names = precision_name(self.dtype), precision_name(dtype)
        logger.log(level, "a tile overflowed %s and was computed again in %s", *names)
        self.redone_tiles += 1
