"""`NetworkUpscaler`: upscale arrays with one network on one device."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rgt_cli.checkpoints import DownloadProgress, resolve
from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import UsageError
from rgt_cli.inference.device import (
    Precision,
    describe_device,
    has_own_memory,
    is_emulated,
    precision_name,
    release_memory,
    resolve_device,
    resolve_precision,
    reuse_freed_memory,
)
from rgt_cli.inference.memory import FREE_SHARE, MemoryModel, free_memory, is_out_of_memory
from rgt_cli.inference.resize import shrink
from rgt_cli.inference.runner import NetworkRunner
from rgt_cli.inference.selfcheck import trusted_precision
from rgt_cli.inference.tiled import TiledRunner
from rgt_cli.inference.tiling import ProgressCallback, Rows, TileGrid, TileSize
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

MAX_AUTO_BATCH = 8
"""The most images that are computed at once, unless `batch_size` is given."""
MAX_AUTO_BATCH_PIXELS = 1 << 20
"""The most input pixels that are computed at once, unless `batch_size` is given. More do not make a
device any faster, and their outputs fill the memory."""
MAX_CPU_BATCH_IMAGE = 64 * 64
"""The most pixels of an image that a CPU computes at once with others, unless `batch_size` is given. A
single larger one keeps its threads as busy."""


class NetworkUpscaler:
    """Upscales images with one network on one device.

    Args:
        model: "auto", the name of a model, a checkpoint on the Hugging Face Hub, at a URL or in a file,
            or a network: a module that maps (N, C, H, W) in 0..1 to (N, C, s * H, s * W) and has a
            `config` with `upscale` and `in_chans`.
        scale: The upscaling factor; None is that of the model, and 4 for "auto". The output of a model
            with a larger factor is resized by Lanczos.
        device: "auto", "cuda", "cuda:N", "xpu", "xpu:N", "mps" or "cpu".
        precision: "auto" (fp16 on CUDA and XPU, fp32 elsewhere), "fp32", "fp16" or "bf16". A tile whose
            output is not finite is computed again in the next safer precision. A GPU whose
            results in a precision are wrong uses the next safer one, with a note: see
            `trusted_precision`.
        tile: Side of a tile in input pixels. "auto" is the whole image if it fits in memory, otherwise
            the largest tile that does, but on a CPU no larger than the model is fastest with. If memory
            runs out nevertheless, tiles become smaller. "none" is the whole image. "none" and a number
            are used exactly, or the image is refused.
        overlap: Input pixels that neighboring tiles share at least; None is 32, or a third of a tile
            below 96 pixels.
        memory: The most bytes that this process may use where the network computes; None is all that are
            free.
        progress: Called during the download of a checkpoint with (name, bytes so far, bytes in total or
            None).
        self_ensemble: Compute the mean over the 8 flips and rotations of each tile, at 8 times the cost:
            the RGT+ of the paper.
        batch_size: How many images of one size `upscale_batch` computes at once. None is as many as fit
            in memory, at most 8 and a megapixel, on CUDA and XPU, and 8 images of at most 64x64 pixels
            on a CPU if the results are the same to the last bit.

    Raises:
        UsageError: An argument is not valid, or not for this model or machine, or the device computes
            incorrectly.
        CheckpointError: The model cannot be loaded.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each option
        self,
        model: str | Path | nn.Module = "auto",
        scale: int | None = None,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        tile: TileSize = "auto",
        overlap: int | None = None,
        memory: int | None = None,
        progress: DownloadProgress | None = None,
        self_ensemble: bool = False,
        batch_size: int | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.tile, self.overlap, self.memory = tile, overlap, memory
        self.self_ensemble, self.batch_size = self_ensemble, batch_size
        self.notes: tuple[str, ...] = ()
        """Messages for the user about how the model was chosen and loaded."""
        fastest_tile: int | None = None
        if isinstance(model, nn.Module):
            self.name, network = "network", model
        else:
            resolved = resolve(str(model), scale, self.device.type, progress)
            self.name, network = resolved.name, load_network(resolved.path)
            self.notes = resolved.notes
            fastest_tile = resolved.tile if self.device.type == "cpu" else None
        self.dtype, notes = trusted_precision(
            network, name=self.name, device=self.device, dtype=self.dtype
        )
        self.notes += notes
        if is_emulated(self.dtype, self.device):
            self.notes += (f"this processor emulates {precision}, which is far slower than fp32",)
        self._runner = NetworkRunner(
            network, name=self.name, device=self.device, dtype=self.dtype, ensemble=self_ensemble
        )
        self.config = self._runner.config
        self.native_scale = self.config.upscale
        self.scale = self.native_scale if scale is None else scale
        if not 1 <= self.scale <= self.native_scale:
            raise UsageError(f"{self.name} upscales by {self.native_scale}, not by {self.scale}")
        self._batchable: dict[tuple[int, ...], bool] = {}
        """Whether a batch of this shape has the same results as its images have one by one."""
        self._memory_model = MemoryModel.of(self.config, self.dtype, self.device)
        self._tiled = TiledRunner(
            self._runner, self._memory_model, tile=tile, overlap=overlap, memory=memory,
            fastest_tile=fastest_tile,
        )  # fmt: skip
        if self.device.type == "cpu":
            reuse_freed_memory()
        where = f"{describe_device(self.device)} in {precision_name(self.dtype)}"
        logger.info("%s: x%d on %s, %d threads", self.name, self.scale, where, torch.get_num_threads())

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._runner.network

    @property
    def fastest_tile(self) -> int | None:
        """The side from which on automatic tiles only become slower; None if it is not known."""
        return self._tiled.fastest_tile

    @property
    def reduced_tile(self) -> int | None:
        """The side of automatic tiles since memory ran out; None while it has not."""
        return self._tiled.reduced_tile

    @property
    def redone_tiles(self) -> int:
        """Number of tiles so far that overflowed and were computed again in a safer precision."""
        return self._runner.redone_tiles

    def plan_tiles(self, size: Dimensions, *, streaming: bool = False) -> TileGrid:
        """Return the tiles in which a color image would be computed now.

        Args:
            size: Its size in pixels.
            streaming: As by `upscale_rows`, not by `upscale`.

        Raises:
            OutOfMemoryError: The requested tiles need more memory than is free.
        """
        return self._tiled.plan(size, 3, collected=not streaming)

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network on tensors, without tiles: see `NetworkRunner.infer`."""
        return self._runner.infer(x)

    def upscale(self, image: np.ndarray, on_progress: ProgressCallback | None = None) -> np.ndarray:
        """Upscale one image.

        Args:
            image: (H, W) or (H, W, C) uint8, uint16 or floating point in 0..1. C is 3, or the channels
                of the network.
            on_progress: Called after each tile.

        Returns:
            The same dtype and number of channels; floating point becomes float32.

        Raises:
            UsageError: The shape or dtype is not supported.
            OutOfMemoryError: The image does not fit in memory with the requested tiles, or not even with
                the smallest.
            CheckpointError: The output of the network is not finite.
        """
        self._check(image)
        size = Dimensions(image.shape[1] * self.scale, image.shape[0] * self.scale)
        return shrink(self._upscale_array(image, on_progress), size)

    def batch_size_for(self, size: Dimensions) -> int:
        """Return how many images of this size in pixels `upscale_batch` computes at once."""
        if self.batch_size is not None:
            return self.batch_size
        if not has_own_memory(self.device):
            is_tiny = size.width * size.height <= MAX_CPU_BATCH_IMAGE
            return MAX_AUTO_BATCH if self.device.type == "cpu" and is_tiny else 1
        free = int(FREE_SHARE * free_memory(self.device, self.memory))
        fitting = self._memory_model.batch_size_for(size, free)
        useful = min(MAX_AUTO_BATCH, MAX_AUTO_BATCH_PIXELS // (size.width * size.height))
        batch_size = max(1, min(fitting, useful))
        logger.debug("%s: batch size %d, with %.0f MB for it", size, batch_size, free / 1e6)
        return batch_size

    def upscale_batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Upscale several images, at once if they have one size and fit in memory.

        Args:
            images: Arrays as for `upscale`.

        Returns:
            The result of `upscale` for each. With a `batch_size`, and on a GPU, it may differ by
            rounding, since sums are computed in another order.

        Raises:
            UsageError, OutOfMemoryError, CheckpointError: As `upscale`.
        """
        first = images[0]
        same = all(image.shape == first.shape and image.dtype == first.dtype for image in images)
        if len(images) > 1 and same and self._fits_whole(first):
            stacked = np.stack([image if image.ndim == 3 else image[..., None] for image in images])
            if self._is_batchable(stacked) and (results := self._run_at_once(stacked)) is not None:
                return list(_to_output(results, first))
        return [self.upscale(image) for image in images]

    def _run_at_once(self, images: np.ndarray) -> np.ndarray | None:
        """Upscale (N, h, w, C); return None if memory runs out."""
        dtype = np.uint8 if images.dtype == np.uint8 else np.float32
        try:
            return self._runner.run_batch(images, dtype)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            logger.info("memory ran out with %d images at once: upscaling one by one", len(images))
        release_memory(self.device)
        return None

    def _is_batchable(self, images: np.ndarray) -> bool:
        """Return whether a batch like this one may be computed at once.

        oneDNN and BLAS choose their kernels by the shapes of matrices, which are larger in a batch. On
        a CPU, the results of the first batch of each shape are compared with those of its images.

        Args:
            images: (N, h, w, C).
        """
        if self.batch_size is not None or self.device.type != "cpu":
            return True
        if images.shape not in self._batchable:
            singles = [self._runner.run_batch(image[None]) for image in images]
            is_same = np.array_equal(self._runner.run_batch(images), np.concatenate(singles))
            self._batchable[images.shape] = is_same
            logger.info("%s: %s at once", images.shape, "computed" if is_same else "not computed")
        return self._batchable[images.shape]

    def upscale_rows(
        self, image: Rows, on_progress: ProgressCallback | None = None
    ) -> Iterator[np.ndarray]:
        """Upscale one image that need not be in memory, from top to bottom.

        Args:
            image: (H, W) or (H, W, C) uint8, uint16 or floating point in 0..1, whose rows are sliced.
            on_progress: Called after each tile.

        Yields:
            Strips of rows: (rows, s * W) or (rows, s * W, C) of the dtype that `upscale` returns. s is
            the factor of the model, `native_scale`.

        Raises:
            UsageError, OutOfMemoryError, CheckpointError: As `upscale`.
        """
        self._check(image)
        for _, strip in self._tiled.strips(image, on_progress, collected=False):
            yield _to_output(strip, image)

    def _upscale_array(self, image: np.ndarray, on_progress: ProgressCallback | None) -> np.ndarray:
        """Collect the strips of an array, upscaled by the factor of the model."""
        height, width = (side * self.native_scale for side in image.shape[:2])
        floating = np.issubdtype(image.dtype, np.floating)
        out = np.empty((height, width, *image.shape[2:]), np.float32 if floating else image.dtype)
        for top, strip in self._tiled.strips(image, on_progress, collected=True):
            out[top : top + len(strip)] = _to_output(strip, image)
        return out

    def _fits_whole(self, image: np.ndarray) -> bool:
        """Return whether images like this one are computed whole, and by the factor of the network."""
        self._check(image)
        channels = image.shape[2] if image.ndim == 3 else 1
        if self.scale != self.native_scale or channels not in (1, self.config.in_chans):
            return False
        return self._tiled.runs_whole(Dimensions(image.shape[1], image.shape[0]), channels)

    def _check(self, image: Rows) -> None:
        shape, expected = image.shape, self.config.in_chans
        channels = (1, 3) if expected == 1 else (1, expected)
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in channels):
            raise UsageError(f"an array of shape {shape} is not an image: use (H, W) or (H, W, 3)")
        if 0 in shape:
            raise UsageError(f"an array of shape {shape} has no pixels")
        if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
            raise UsageError(f"{image.dtype} is not supported: use uint8, uint16 or floating point")


def _to_output(values: np.ndarray, image: Rows) -> np.ndarray:
    """Convert values to the dtype and the number of dimensions of the input.

    Args:
        values: (..., s * h, s * w, C), float32 in 0..1, which are overwritten, or of the dtype already.
        image: (h, w) or (h, w, C).
    """
    result = values
    if values.dtype != image.dtype and not np.issubdtype(image.dtype, np.floating):
        np.multiply(values, np.iinfo(image.dtype.type).max, out=values)
        result = np.rint(values, out=np.empty(values.shape, image.dtype), casting="unsafe")
    return result if len(image.shape) == 3 else result[..., 0]
