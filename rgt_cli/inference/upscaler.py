"""`Upscaler`: the public way to enlarge an array or a PIL image."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import nn

from rgt_cli.checkpoints import Progress, resolve
from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import CheckpointError, OutOfMemoryError, UsageError
from rgt_cli.inference.device import free_memory, resolve_device, resolve_precision
from rgt_cli.inference.tiling import blended_rows, count_tiles

SMALLEST_TILE = 32
"""Below this side, in input pixels, an automatic tile is not shrunk any further."""
DEFAULT_OVERLAP = 32
"""Input pixels that neighbouring tiles share unless somebody says otherwise."""
MEMORY_SHARE = 0.6
"""The part of the free memory that an automatic tile may fill."""

AnyImage = TypeVar("AnyImage", np.ndarray, Image.Image)
Report = Callable[[int, int], None]
"""Called with (tiles done, tiles in all), first with 0 done; a retry with smaller tiles starts again."""


class NetworkConfig(Protocol):
    """What the Upscaler needs to know of a network."""

    @property
    def upscale(self) -> int:
        """How much it enlarges."""

    @property
    def in_chans(self) -> int:
        """Channels of its pictures, in and out."""


class Upscaler:
    """Enlarges pictures with one network on one device.

    Args:
        model: "auto", a name of the catalogue, a checkpoint on the Hub, at an address or in a file, or
            a network: a module that maps (N, C, H, W) in 0..1 to (N, C, s * H, s * W) and has a
            `config` with `upscale` and `in_chans`.
        scale: the wanted factor; None takes the model's own, and x4 for "auto". A model that
            enlarges more is followed by Lanczos down to the wanted factor.
        device: "auto", "cuda", "cuda:N", "mps" or "cpu".
        precision: "auto" (fp16 on CUDA, fp32 elsewhere), "fp32", "fp16" or "bf16". A tile that
            comes out non-finite in half precision is computed again in fp32.
        tile: side of a tile in input pixels, "auto" (the whole image if it fits in memory, else the
            largest tile that does) or "none" (always the whole image).
        overlap: input pixels that neighbouring tiles share at least; None is 32, or a third of a
            tile below 96.
        progress: told of a checkpoint's download: (what, bytes so far, bytes in all or None).

    Raises:
        UsageError: an argument makes no sense here.
        CheckpointError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "auto",
        scale: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        tile: int | str = "auto",
        overlap: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        if isinstance(tile, str) and tile not in ("auto", "none"):
            raise UsageError(f"tile must be a number of pixels, auto or none, not {tile!r}")
        if overlap is None:
            overlap = min(DEFAULT_OVERLAP, tile // 3) if isinstance(tile, int) else DEFAULT_OVERLAP
        if overlap < 0 or (isinstance(tile, int) and not overlap < tile):
            raise UsageError(f"overlap must be at least 0 and below the tile: {overlap} and {tile}")
        self.tile, self.overlap = tile, overlap
        self.notes: tuple[str, ...] = ()
        """What a person should know of how the model was chosen or got."""
        if isinstance(model, nn.Module):
            self.name, network = "network", model
        else:
            resolved = resolve(str(model), scale, self.device.type, progress)
            self.name, network = resolved.name, load_network(resolved.path)
            self.notes = resolved.notes
        self.network = network.to(self.device)
        self.config = cast(NetworkConfig, network.config)
        self.native_scale = self.config.upscale
        self.scale = self.native_scale if scale is None else scale
        if not 1 <= self.scale <= self.native_scale:
            raise UsageError(
                f"{self.name} enlarges by {self.native_scale} and cannot reach x{self.scale}"
            )
        self.redone_tiles = 0
        """Tiles so far that half precision could not hold and fp32 computed again."""

    def upscale(self, image: AnyImage, report: Report | None = None) -> AnyImage:
        """Enlarge one picture.

        Args:
            image: (H, W) or (H, W, C) uint8 in 0..255 or floating point in 0..1, or a PIL image
                of mode L or RGB. C is 3, or the channels of the network.

        Returns:
            The same kind, dtype and number of channels; floating point comes back as float32.

        Raises:
            UsageError: another shape, dtype or mode.
            OutOfMemoryError: the picture does not fit in memory even in the smallest tiles.
        """
        if isinstance(image, Image.Image):
            if image.mode not in ("L", "RGB"):
                raise UsageError(f"a picture of mode {image.mode} is not supported yet")
            return Image.fromarray(self.upscale(np.asarray(image), report))
        self._check(image)
        pixels = image if image.ndim == 3 else image[..., None]
        enlarged = self._shrinking_tiles(pixels, report or (lambda done, total: None))
        if self.scale != self.native_scale:
            sides = [side * self.scale for side in image.shape[:2]]
            enlarged = _lanczos(enlarged, sides[0], sides[1])
        return enlarged if image.ndim == 3 else enlarged[..., 0]

    def _check(self, image: np.ndarray) -> None:
        wanted = self.config.in_chans
        channels = (1, 3) if wanted == 1 else (1, wanted)
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in channels):
            raise UsageError(f"an array of shape {image.shape} is no picture: (H, W) or (H, W, 3)")
        if 0 in image.shape:
            raise UsageError("the picture has no pixels")
        if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
            raise UsageError(f"pixels must be uint8 or floating point, not {image.dtype}")

    def _shrinking_tiles(self, image: np.ndarray, report: Report) -> np.ndarray:
        """Enlarge in the chosen tiles; halve automatic ones as long as memory runs out."""
        longest = max(image.shape[:2])
        tile = longest if self.tile == "none" else self.tile
        if isinstance(tile, str):
            tile = self._largest_tile(*image.shape[:2])
        while True:
            try:
                return self._enlarge(image, tile, report)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
            tile = min(tile, longest) // 2
            if self.tile != "auto" or tile < SMALLEST_TILE:
                raise OutOfMemoryError(
                    f"out of memory on {self.device} at tiles of {2 * tile} pixels; "
                    "use a smaller --tile or another --device"
                )

    def _largest_tile(self, height: int, width: int) -> int:
        """The whole image if it fits in the free memory, else the largest square that does."""
        pixels = int(MEMORY_SHARE * free_memory(self.device) / bytes_per_pixel(self.config))
        if height * width <= pixels:
            return max(height, width)
        return max(math.isqrt(pixels), SMALLEST_TILE)

    def _enlarge(self, image: np.ndarray, tile: int, report: Report) -> np.ndarray:
        height, width, channels = image.shape
        scale, overlap = self.native_scale, min(self.overlap, tile - 1)
        total, done = count_tiles(height, width, tile, overlap), 0
        integers = image.dtype == np.uint8
        out = np.empty((height * scale, width * scale, channels), np.uint8 if integers else np.float32)
        report(0, total)

        def enlarge(part: np.ndarray) -> np.ndarray:
            nonlocal done
            result = self._run(part)
            done += 1
            report(done, total)
            return result

        top = 0
        for rows in blended_rows(image, scale, tile, overlap, enlarge):
            strip = out[top : top + len(rows)]
            if integers:
                np.rint(rows * 255, out=strip, casting="unsafe")
            else:
                strip[:] = rows
            top += len(rows)
        return out

    @torch.inference_mode()
    def _run(self, part: np.ndarray) -> np.ndarray:
        """One tile, (h, w, C) -> (s * h, s * w, C) float32 in 0..1."""
        x = torch.from_numpy(part.transpose(2, 0, 1).copy()).to(self.device)
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        channels, wanted = part.shape[2], self.config.in_chans
        x = x[None] if channels in (1, wanted) else x[:, None]  # a gray network: planes as a batch
        y = self.infer(x.expand(-1, wanted, -1, -1))
        if channels == 1 and wanted != 1:
            y = y.mean(dim=1, keepdim=True)
        planes = y.flatten(0, 1).clamp_(0, 1).permute(1, 2, 0)
        return planes.contiguous().cpu().numpy()

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network in the chosen precision, and again in fp32 if that overflowed."""
        if self.dtype != torch.float32:
            with torch.autocast(self.device.type, self.dtype):
                y = self.network(x).float()
            if y.isfinite().all():
                return y
            self.redone_tiles += 1
        y = self.network(x).float()
        if not y.isfinite().all():
            raise CheckpointError(f"{self.name} turns this picture into numbers that are not finite")
        return y


def bytes_per_pixel(config: NetworkConfig) -> int:
    """Memory that one input pixel takes at the peak of a forward pass in fp32, rounded up."""
    tokens = 12 * getattr(config, "embed_dim", 0)
    images = 6 * config.in_chans * config.upscale**2
    return 4 * (tokens + images)


def _lanczos(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink (H, W, C) by Lanczos, each plane on its own."""
    planes = [
        Image.fromarray(np.ascontiguousarray(image[..., channel])).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for channel in range(image.shape[2])
    ]
    stacked = np.stack([np.asarray(plane) for plane in planes], axis=2)
    return stacked if stacked.dtype == np.uint8 else stacked.clip(0, 1)  # it overshoots at edges


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of PyTorch or NumPy means that memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate" in str(error)
