"""`Upscaler`: the public way to enlarge an array or a PIL image."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import nn

from rgt_cli.checkpoints import Progress, resolve
from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import CheckpointError, OutOfMemoryError, UsageError
from rgt_cli.inference.alpha import upscale_with_alpha
from rgt_cli.inference.device import (
    give_back_memory,
    is_emulated,
    keep_freed_memory,
    resolve_device,
    resolve_precision,
    safer_precisions,
)
from rgt_cli.inference.memory import (
    DEEPER_SIDE,
    FREE_SHARE,
    MIN_AUTO_TILE,
    MemoryModel,
    NetworkConfig,
    free_memory,
    next_smaller_tile,
)
from rgt_cli.inference.resize import shrink
from rgt_cli.inference.tiling import Rows, Tile, blended_rows, count_tiles, smallest_equal_tile

DEFAULT_OVERLAP = 32
"""Input pixels that neighboring tiles share unless somebody says otherwise."""

LARGEST_BATCH = 8
"""Pictures that are computed at once, at most, unless somebody says otherwise."""
BATCH_PIXELS = 1 << 20
"""And pixels of them all: more of them fill a device by themselves, and their results the memory."""

AnyImage = TypeVar("AnyImage", np.ndarray, Image.Image)
ProgressCallback = Callable[[int, int], None]
"""Called with (tiles done, tiles in all), first with 0 done; a retry with smaller tiles starts again."""


class _RestartWithSmallerTiles(Exception):  # noqa: N818 - a signal, no error
    """Tiles have become so small that the picture has to be computed anew, all in tiles of one kind."""


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
            comes out non-finite is computed again in the next safer one.
        tile: side of a tile in input pixels, "auto" (the whole image if it fits in memory, else the
            largest tile that does, and a smaller one if memory still runs out; on a CPU, no larger than
            the catalogue says is worth its time) or "none" (always the whole image). A tile that was
            asked for is never changed.
        overlap: input pixels that neighboring tiles share at least; None is 32, or a third of a
            tile below 96.
        memory: the most bytes that this process shall hold where it computes; None is all that
            is free.
        progress: told of a checkpoint's download: (what, bytes so far, bytes in all or None).
        self_ensemble: take the mean over the 8 flips and rotations of each tile, at 8 times the cost:
            RGT+ of the paper.
        batch: how many pictures of one size `upscale_batch` computes at once; None is as many as fit in
            memory, at most 8 and a megapixel, on CUDA, and 1 elsewhere, where it gains nothing.

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
        memory: int | None = None,
        progress: Progress | None = None,
        self_ensemble: bool = False,
        batch: int | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        if isinstance(tile, str) and tile not in ("auto", "none"):
            raise UsageError(f"tile must be a number of pixels, auto or none, not {tile!r}")
        if overlap is not None and (overlap < 0 or (isinstance(tile, int) and overlap >= tile)):
            raise UsageError(f"overlap must be at least 0 and below the tile: {overlap} and {tile}")
        self.tile, self.overlap, self.memory = tile, overlap, memory
        self.self_ensemble, self.batch = self_ensemble, batch
        self.notes: tuple[str, ...] = ()
        """What a person should know of how the model was chosen or got."""
        self.fastest_tile: int | None = None
        """The side of automatic tiles beyond which nothing is gained and time is lost, where known."""
        if isinstance(model, nn.Module):
            self.name, network = "network", model
        else:
            resolved = resolve(str(model), scale, self.device.type, progress)
            self.name, network = resolved.name, load_network(resolved.path)
            self.notes = resolved.notes
            self.fastest_tile = resolved.tile if self.device.type == "cpu" else None
        if is_emulated(self.dtype, self.device):
            self.notes += (f"this processor has no {precision}: it is emulated, far slower than fp32",)
        self.network = network.to(self.device)
        self.config = cast(NetworkConfig, network.config)
        self.native_scale = self.config.upscale
        self.scale = self.native_scale if scale is None else scale
        if not 1 <= self.scale <= self.native_scale:
            raise UsageError(
                f"{self.name} enlarges by {self.native_scale} and cannot reach x{self.scale}"
            )
        self.redone_tiles = 0
        """Tiles so far that half precision could not hold and a safer one computed again."""
        self.shrunk_to: int | None = None
        """The side of automatic tiles since memory ran out; None as long as it did not."""
        self._model = MemoryModel.of(self.config, self.dtype, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()

    def upscale(self, image: AnyImage, report: ProgressCallback | None = None) -> AnyImage:
        """Enlarge one picture.

        Args:
            image: (H, W) or (H, W, C) uint8, uint16 or floating point in 0..1, or a PIL image of
                mode L, LA, RGB or RGBA. C is 3, or the channels of the network.

        Returns:
            The same kind, dtype and number of channels; floating point comes back as float32.

        Raises:
            UsageError: another shape, dtype or mode.
            OutOfMemoryError: the picture does not fit in memory even in the smallest tiles.
        """
        if isinstance(image, Image.Image):
            return self._upscale_pil(image, report)
        self._check(image)
        pixels = image if image.ndim == 3 else image[..., None]
        report = report or (lambda done, total: None)
        while True:
            try:
                enlarged = self._enlarge(pixels, self._tile_for(*pixels.shape), report)
                break
            except _RestartWithSmallerTiles:
                continue
        if self.scale != self.native_scale:
            sides = [side * self.scale for side in image.shape[:2]]
            enlarged = shrink(enlarged, sides[0], sides[1])
        return enlarged if image.ndim == 3 else enlarged[..., 0]

    def batch_size(self, height: int, width: int) -> int:
        """How many pictures of one size are computed at once; 1 where they go in tiles."""
        if self.batch is not None or self.device.type != "cuda":
            return self.batch or 1
        free = int(FREE_SHARE * free_memory(self.device, self.memory))
        fitting = (free - self._model.fixed) // max(self._model.per_pixel * height * width, 1)
        return max(1, min(fitting, LARGEST_BATCH, BATCH_PIXELS // (height * width)))

    def upscale_batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Enlarge several pictures, at once where they are of one size and fit.

        Args:
            images: each as `upscale` takes it.

        Returns:
            What `upscale` returns for each, but for the last bits: sums are taken in another order.

        Raises:
            UsageError, OutOfMemoryError: as `upscale`.
        """
        first = images[0]
        alike = all(i.shape == first.shape and i.dtype == first.dtype for i in images)
        if len(images) > 1 and alike and self._fits_whole(first):
            try:
                return self._whole_batch(np.stack([i if i.ndim == 3 else i[..., None] for i in images]))
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
            give_back_memory(self.device)
        return [self.upscale(image) for image in images]

    def _fits_whole(self, image: np.ndarray) -> bool:
        """Whether pictures like this one are computed whole, and by the network's own factor."""
        self._check(image)
        height, width = image.shape[:2]
        channels = image.shape[2] if image.ndim == 3 else 1
        native = self.scale == self.native_scale and channels in (1, self.config.in_chans)
        return native and self._tile_for(height, width, channels) >= max(height, width)

    def _whole_batch(self, images: np.ndarray) -> list[np.ndarray]:
        """(N, h, w, C) -> N times (s * h, s * w, C), or without C where it is 1, of the same dtype."""
        dtype = images.dtype
        floating = np.issubdtype(dtype, np.floating)
        results = self._run_batch(images)
        if not floating:
            results = np.rint(results * np.iinfo(dtype.type).max).astype(dtype)
        return [result if result.shape[2] > 1 else result[..., 0] for result in results]

    def upscale_rows(self, image: Rows, report: ProgressCallback | None = None) -> Iterator[np.ndarray]:
        """Enlarge one picture that need not be in memory, from top to bottom.

        Args:
            image: (H, W) or (H, W, 3) uint8 or uint16; slices of its rows are taken.

        Returns:
            (rows, s * W) or (rows, s * W, 3) strips of the same dtype, s the model's own factor.

        Raises:
            OutOfMemoryError: a tile that was asked for does not fit, or not even the smallest.
        """
        height, width = image.shape[:2]
        channels = 3 if len(image.shape) == 3 else 1
        largest = np.iinfo(image.dtype.type).max
        free = int(FREE_SHARE * free_memory(self.device, self.memory))
        # A row of tiles is held in floating point as it comes out, once more where it is blended.
        row = 2 * 4 * channels * width * self.native_scale**2
        tile = self.tile
        if isinstance(tile, str):
            fitting = self._model.largest_tile(height, width, free // 2)
            tile = max(min(fitting, free // 2 // row, DEEPER_SIDE - 1), MIN_AUTO_TILE)
            tile = min(tile, self.fastest_tile or tile)
        elif self._model.bytes_for(min(tile, height), min(tile, width)) > free:
            raise self._too_large(tile, self._model.largest_tile(height, width, free))
        sides, overlap = self._sides(height, width, tile)
        total, done = count_tiles(height, width, sides, overlap), 0
        report = report or (lambda done, total: None)
        report(0, total)

        def enlarge(part: np.ndarray) -> np.ndarray:
            nonlocal done
            result = self._run_with_oom_retry(part if part.ndim == 3 else part[..., None], keep=True)
            done += 1
            report(done, total)
            return result

        for rows in blended_rows(image, self.native_scale, sides, overlap, enlarge):
            strip = np.rint(rows * largest).astype(image.dtype)
            yield strip if channels == 3 else strip[..., 0]

    def _upscale_pil(self, image: Image.Image, report: ProgressCallback | None) -> Image.Image:
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            raise UsageError(f"a picture of mode {image.mode}: convert it to L, LA, RGB or RGBA")
        array = np.asarray(image)
        if not image.mode.endswith("A"):
            return Image.fromarray(self.upscale(array, report))
        colors = array[..., :-1] if image.mode == "RGBA" else array[..., 0]
        both = upscale_with_alpha(colors, array[..., -1], lambda part: self.upscale(part, report))
        return Image.fromarray(np.dstack(both))

    def _check(self, image: np.ndarray) -> None:
        wanted = self.config.in_chans
        channels = (1, 3) if wanted == 1 else (1, wanted)
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in channels):
            raise UsageError(f"an array of shape {image.shape} is no picture: (H, W) or (H, W, 3)")
        if 0 in image.shape:
            raise UsageError("the picture has no pixels")
        if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
            raise UsageError(f"pixels must be uint8, uint16 or floating point, not {image.dtype}")

    def _tile_for(self, height: int, width: int, channels: int) -> int:
        """The side of the tiles of one picture.

        Raises:
            OutOfMemoryError: a tile that was asked for needs more memory than there is.
        """
        longest, scale = max(height, width), self.native_scale
        free = free_memory(self.device, self.memory)
        if self.device.type == "cpu":  # where the result has to fit as well
            free -= height * width * scale**2 * channels * 2
        if self.tile == "auto":
            tile = max(self._model.largest_tile(height, width, int(FREE_SHARE * free)), MIN_AUTO_TILE)
            return min(tile, self.shrunk_to or tile, self.fastest_tile or tile)
        tile = longest if isinstance(self.tile, str) else min(self.tile, longest)
        if self._model.bytes_for(min(tile, height), min(tile, width)) > free:
            raise self._too_large(tile, self._model.largest_tile(height, width, free))
        return tile

    def _too_large(self, tile: int, fitting: int) -> OutOfMemoryError:
        what = f"{self.device} has not enough memory for tiles of {tile} pixels"
        if fitting < MIN_AUTO_TILE:
            return OutOfMemoryError(f"{what}, nor for the smallest; free some, or use another --device")
        return OutOfMemoryError(f"{what}; the largest that fits is --tile {fitting}")

    def _enlarge(self, image: np.ndarray, tile: int, report: ProgressCallback) -> np.ndarray:
        height, width, channels = image.shape
        scale = self.native_scale
        sides, overlap = self._sides(height, width, tile)
        total, done = count_tiles(height, width, sides, overlap), 0
        floating = np.issubdtype(image.dtype, np.floating)
        largest = 1 if floating else np.iinfo(image.dtype.type).max
        dtype = np.dtype(np.float32) if floating else image.dtype
        out: np.ndarray = np.empty((height * scale, width * scale, channels), dtype)
        report(0, total)

        def enlarge(part: np.ndarray) -> np.ndarray:
            nonlocal done
            result = self._run_with_oom_retry(part, keep=done > 0)
            done += 1
            report(done, total)
            return result

        top = 0
        for rows in blended_rows(image, scale, sides, overlap, enlarge):
            strip = out[top : top + len(rows)]
            if floating:
                strip[:] = rows
            else:
                np.rint(rows * largest, out=strip, casting="unsafe")
            top += len(rows)
        return out

    def _sides(self, height: int, width: int, tile: int) -> tuple[Tile, int]:
        """The sides of the tiles of one picture, `tile` at most, and what they overlap by.

        Automatic tiles are made no larger than their number needs them to be, but not another function
        of the picture (see DEEPER_SIDE); those asked for are as asked.
        """
        least = DEFAULT_OVERLAP if self.overlap is None else self.overlap
        overlap = min(least, tile // 3 if self.overlap is None else tile - 1)
        sides = smallest_equal_tile(height, tile, overlap), smallest_equal_tile(width, tile, overlap)
        if self.tile != "auto" or max(sides) < DEEPER_SIDE <= tile <= max(height, width):
            sides = tile, tile
        return sides, overlap

    def _run_with_oom_retry(self, part: np.ndarray, keep: bool) -> np.ndarray:
        """Enlarge one tile; where memory runs out, in smaller tiles from here on.

        Args:
            keep: whether there are finished tiles, so that the picture should go on from this one.

        Raises:
            _RestartWithSmallerTiles: the picture should be computed anew in the smaller tiles.
            OutOfMemoryError: a tile that was asked for, or the smallest, does not fit.
        """
        longest = max(part.shape[:2])
        if longest <= (self.shrunk_to or longest):
            try:
                return self._run_in_thread(part) if self.shrunk_to else self._run(part)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
            # Out of the handler, whose traceback holds on to the tensors of the forward pass.
            give_back_memory(self.device)
            smaller = next_smaller_tile(longest)
            if self.tile != "auto" or smaller < MIN_AUTO_TILE:
                fitting = self._model.largest_tile(
                    longest, longest, free_memory(self.device, self.memory)
                )
                raise self._too_large(longest, min(fitting, smaller))
            self.shrunk_to = smaller
            if not keep or smaller < DEEPER_SIDE <= longest:
                raise _RestartWithSmallerTiles
        height, width = part.shape[:2]
        sides, overlap = self._sides(height, width, self.shrunk_to or longest)
        rows = blended_rows(
            part, self.native_scale, sides, overlap, lambda p: self._run_with_oom_retry(p, keep)
        )
        return np.concatenate(list(rows))

    def _run_in_thread(self, part: np.ndarray) -> np.ndarray:
        """One tile in a thread of its own: one in which oneDNN ran out of memory can use it no more."""
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(self._run, part).result()

    def _run(self, part: np.ndarray) -> np.ndarray:
        """One tile, (h, w, C) -> (s * h, s * w, C) float32 in 0..1."""
        if part.shape[2] in (1, self.config.in_chans):
            return self._run_batch(part[None])[0]
        planes = self._run_batch(part.transpose(2, 0, 1)[..., None])  # a gray network: planes as a batch
        return planes[..., 0].transpose(1, 2, 0)

    @torch.inference_mode()
    def _run_batch(self, parts: np.ndarray) -> np.ndarray:
        """Tiles of one size, (N, h, w, C) -> (N, s * h, s * w, C) float32 in 0..1."""
        planes = parts.transpose(0, 3, 1, 2).copy()
        if planes.dtype == np.uint16:  # of which PyTorch knows little
            planes = planes.astype(np.float32) / 65535
        x = torch.from_numpy(planes).to(self.device)
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        channels, wanted = parts.shape[3], self.config.in_chans
        y = self.infer(x.expand(-1, wanted, -1, -1))
        if channels == 1 and wanted != 1:
            y = y.mean(dim=1, keepdim=True)
        return y.clamp_(0, 1).permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _ensemble(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over the 8 flips and rotations, each turned back."""
        total: torch.Tensor | None = None
        for turns in range(4):
            for flip in (False, True):
                y = self.network(_turned(x, turns, flip).contiguous()).float()
                y = torch.rot90(y.flip(-1) if flip else y, -turns, (-2, -1))
                total = y.clone() if total is None else total.add_(y)
        assert total is not None
        return total / 8

    def infer(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network in the chosen precision, and in safer ones as long as that overflows."""
        for dtype in safer_precisions(self.dtype, self.device):
            with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                y = self._ensemble(x) if self.self_ensemble else self.network(x).float()
            if y.isfinite().all():
                self.redone_tiles += dtype != self.dtype
                return y
        raise CheckpointError(f"{self.name} turns this picture into numbers that are not finite")


def _turned(x: torch.Tensor, turns: int, flip: bool) -> torch.Tensor:
    """One of the 8 flips and rotations of (..., H, W)."""
    x = torch.rot90(x, turns, (-2, -1))
    return x.flip(-1) if flip else x


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of PyTorch, of a library below it or of NumPy means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ["allocate memory", "out of memory", "alloc_failed", "bad_alloc", "out_of_memory"]
    words += ["could not create a primitive", "could not execute a primitive"]  # oneDNN
    words += ["can't start new thread"]  # its stack has no room
    return any(word in str(error).lower() for word in words)
