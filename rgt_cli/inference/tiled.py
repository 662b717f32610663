"""Run a network on images of any size: choose tiles, blend them, recover when memory runs out."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rgt_cli.errors import OutOfMemoryError, UsageError
from rgt_cli.inference.device import release_memory
from rgt_cli.inference.memory import (
    DEEPER_SIDE,
    FREE_SHARE,
    MIN_AUTO_TILE,
    MemoryModel,
    TileBudget,
    is_out_of_memory,
    next_smaller_tile,
)
from rgt_cli.inference.runner import NetworkRunner
from rgt_cli.inference.tiling import (
    ProgressCallback,
    Rows,
    TileGrid,
    TileSize,
    blended_rows,
    tiles_of,
)
from rgt_cli.inference.transfer import PendingArray
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

DEFAULT_OVERLAP = 32
"""Input pixels that neighboring tiles share at least, unless `overlap` is given."""


class _RestartWithSmallerTiles(Exception):  # noqa: N818 - not an error
    """The image has to be computed again from its first row, in smaller tiles."""


class TiledRunner:
    """A network that runs on tiles of images.

    Args:
        runner: The network.
        memory_model: The memory of a forward pass of the network.
        tile: As for `NetworkUpscaler`.
        overlap: As for `NetworkUpscaler`.
        memory: The most bytes that this process may use where the network computes; None is no limit.
        fastest_tile: The side from which on automatic tiles only become slower; None if it is not known.

    Raises:
        UsageError: `tile` or `overlap` is not valid.
    """

    def __init__(
        self,
        runner: NetworkRunner,
        memory_model: MemoryModel,
        *,
        tile: TileSize,
        overlap: int | None,
        memory: int | None,
        fastest_tile: int | None,
    ) -> None:
        if isinstance(tile, str) and tile not in ("auto", "none"):
            raise UsageError(f"{tile!r} is not a tile size: use a number of pixels, auto or none")
        if overlap is not None and overlap < 0:
            raise UsageError(f"{overlap} is not an overlap: use 0 or more pixels")
        if overlap is not None and isinstance(tile, int) and overlap >= tile:
            raise UsageError(f"{overlap} pixels of overlap need tiles larger than {tile}")
        self.runner, self.memory_model = runner, memory_model
        self.tile, self.overlap, self.memory = tile, overlap, memory
        self.fastest_tile = fastest_tile
        self.reduced_tile: int | None = None
        """The side of automatic tiles since memory ran out; None while it has not."""
        self._scale = runner.config.upscale
        self._last_grid: TileGrid | None = None

    def runs_whole(self, size: Dimensions, channels: int) -> bool:
        """Return whether images in memory of this size are computed whole.

        Raises:
            OutOfMemoryError: The requested tiles need more memory than is free.
        """
        budget = self._budget(size, channels, collected=True)
        return self._choose_tile(budget, collected=True) >= max(size)

    def strips(
        self, image: Rows, on_progress: ProgressCallback | None, *, collected: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Upscale an image from top to bottom.

        Args:
            image: (H, W) or (H, W, C), whose rows are sliced.
            on_progress: Called after each tile.
            collected: Whether the strips are collected in memory, so that finished ones can be replaced.

        Yields:
            (first row, strip of rows). A strip is (rows, s * W, C) float32 of 0..1, or possibly
            uint8 if the image is, and may be overwritten. A collected image may start again at row 0
            after other strips, when memory runs out and the finished tiles cannot be mixed with smaller
            ones.

        Raises:
            OutOfMemoryError: The requested tiles, or the smallest, do not fit.
            CheckpointError: The output of the network is not finite.
        """
        report = on_progress or (lambda done, total: None)
        while True:
            channels = image.shape[2] if len(image.shape) == 3 else 1
            grid = self.plan(Dimensions(image.shape[1], image.shape[0]), channels, collected=collected)
            try:
                yield from self._strips(image, grid, report)
                return
            except _RestartWithSmallerTiles:
                logger.info("computing the image again in smaller tiles")

    def _strips(
        self, image: Rows, grid: TileGrid, report: ProgressCallback
    ) -> Iterator[tuple[int, np.ndarray]]:
        top = 0
        # A whole image is not blended, so it can be rounded where it is computed.
        dtype = np.uint8 if grid.count == 1 and image.dtype == np.uint8 else np.float32

        def upscaled() -> Iterator[np.ndarray]:
            report(0, grid.count)
            for done, (tile, pending) in enumerate(self._started(tiles_of(image, grid), dtype)):
                result = self._run(tile, dtype, resume=done > 0, pending=pending)
                report(done + 1, grid.count)
                yield result

        for strip in blended_rows(upscaled(), grid, self._scale):
            yield top, strip
            top += len(strip)

    def _started(
        self, tiles: Iterator[np.ndarray], dtype: type[np.generic]
    ) -> Iterator[tuple[np.ndarray, PendingArray | None]]:
        """Yield tiles and their pending results. On a GPU, the successor of each has been started.

        So the GPU computes while a result is downloaded and blended. Elsewhere nothing is pending.
        """
        waiting: deque[tuple[np.ndarray, PendingArray | None]] = deque()
        for tile in tiles:
            pixels = tile if tile.ndim == 3 else tile[..., None]
            waiting.append((pixels, self._start(pixels, dtype)))
            if len(waiting) > int(self.runner.transfers.overlap):
                yield waiting.popleft()
        yield from waiting

    def _start(self, tile: np.ndarray, dtype: type[np.generic]) -> PendingArray | None:
        """Start to upscale a tile on a GPU; return None if it must be run alone, or memory ran out."""
        if not self.runner.transfers.overlap or max(tile.shape[:2]) > (self.reduced_tile or math.inf):
            return None
        try:
            return self.runner.start_tile(tile, dtype)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def plan(self, size: Dimensions, channels: int, *, collected: bool) -> TileGrid:
        """Return the tiles of an image of this size; see `strips`.

        Raises:
            OutOfMemoryError: The requested tiles need more memory than is free.
        """
        budget = self._budget(size, channels, collected)
        tile = self._choose_tile(budget, collected)
        grid = self._grid(size, tile)
        tiles = f"{grid.count} tiles of {grid.tile} ({self._reason(tile)})"
        level = logging.DEBUG if grid == self._last_grid else logging.INFO
        chosen = tiles if grid.count > 1 else "computed whole"
        logger.log(level, "%s: %s, %.0f MB free", size, chosen, budget.free / 1e6)
        self._last_grid = grid
        return grid

    def _reason(self, tile: int) -> str:
        """Return why tiles have this side, for the log."""
        if self.tile != "auto":
            return f"--tile {self.tile}"
        reasons = {self.reduced_tile: "memory ran out before", self.fastest_tile: "the fastest"}
        return f"{tile} pixels at most: {reasons.get(tile, 'as large as memory allows')}"

    def _budget(self, size: Dimensions, channels: int, collected: bool) -> TileBudget:
        return TileBudget.of(
            self.memory_model,
            size,
            scale=self._scale,
            channels=channels,
            collected=collected,
            device=self.runner.device,
            limit=self.memory,
        )

    def _choose_tile(self, budget: TileBudget, collected: bool) -> int:
        """Return the side of the tiles of one image; its longer side or more if it is computed whole.

        Raises:
            OutOfMemoryError: The requested tiles need more memory than is free.
        """
        longest = max(budget.image)
        if self.tile == "auto":
            tile = max(budget.largest_tile(FREE_SHARE), MIN_AUTO_TILE)
            tile = min(tile, self.reduced_tile or tile, self.fastest_tile or tile)
            if not collected and tile < longest:  # tiles on both sides of the step cannot be mixed, and
                tile = min(tile, DEEPER_SIDE - 1)  # strips that were passed on cannot be computed again
            return tile
        tile = longest if self.tile == "none" else min(self.tile, longest)
        if not budget.fits(tile):
            raise self._out_of_memory(tile, budget.largest_tile())
        return tile

    def _grid(self, image: Dimensions, tile: int) -> TileGrid:
        """Return the tiles of an image, with sides of `tile` at most.

        Automatic tiles are as small as their number allows, unless that would change the function that
        the network computes: see DEEPER_SIDE. Requested tiles have exactly that size.
        """
        least = DEFAULT_OVERLAP if self.overlap is None else self.overlap
        overlap = min(least, tile // 3 if self.overlap is None else tile - 1)
        grid = TileGrid(image, Dimensions(tile, tile), overlap)
        smaller = grid.equalized()
        if self.tile != "auto" or max(smaller.tile) < DEEPER_SIDE <= tile <= max(image):
            return grid
        return smaller

    def _run(
        self,
        tile: np.ndarray,
        dtype: type[np.generic],
        resume: bool,
        pending: PendingArray | None = None,
    ) -> np.ndarray:
        """Upscale one tile; if memory runs out, in smaller tiles from then on.

        Args:
            tile: (h, w, C).
            dtype: As for `NetworkRunner.start_tile`. Smaller tiles are always in float32.
            resume: Whether other tiles are finished, so that the image should go on from this one.
            pending: The result, if the tile was started.

        Raises:
            _RestartWithSmallerTiles: The image should be computed again in the smaller tiles.
            OutOfMemoryError: A requested tile, or the smallest, does not fit.
        """
        height, width, channels = tile.shape
        longest = max(height, width)
        if longest <= (self.reduced_tile or longest):
            try:
                return pending() if pending else self._run_alone(tile, dtype)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler, because its traceback refers to the tensors of the forward pass.
            release_memory(self.runner.device)
            self.reduced_tile = self._smaller_tile(longest, channels)
            if not resume or self.reduced_tile < DEEPER_SIDE <= longest:
                raise _RestartWithSmallerTiles
        grid = self._grid(Dimensions(width, height), self.reduced_tile or longest)
        parts = (self._run(part, np.float32, resume) for part in tiles_of(tile, grid))
        return np.concatenate(list(blended_rows(parts, grid, self._scale)))

    def _run_alone(self, tile: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
        """Upscale one tile and wait for it. After memory ran out on a CPU, do so in a new thread.

        oneDNN cannot use a thread in which it ran out of memory.
        """
        if not self.reduced_tile or self.runner.device.type != "cpu":
            return self.runner.run_tile(tile, dtype)
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(self.runner.run_tile, tile, dtype).result()

    def _smaller_tile(self, tile: int, channels: int) -> int:
        """Return the side of the tiles to try after memory ran out with tiles of side `tile`.

        Raises:
            OutOfMemoryError: A requested tile, or the smallest, does not fit.
        """
        smaller = next_smaller_tile(tile)
        if self.tile != "auto" or smaller < MIN_AUTO_TILE:
            budget = self._budget(Dimensions(tile, tile), channels, collected=False)
            raise self._out_of_memory(tile, min(budget.largest_tile(), smaller))
        logger.info("memory ran out with tiles of %d pixels, using tiles of %d", tile, smaller)
        return smaller

    def _out_of_memory(self, tile: int, fitting: int) -> OutOfMemoryError:
        tiles = "the whole image" if self.tile == "none" else f"tiles of {tile} pixels"
        problem = f"not enough memory on {self.runner.device} for {tiles}"
        if fitting < MIN_AUTO_TILE:
            problem += ", nor for the smallest"
            return OutOfMemoryError(f"{problem}: free some, or use another --device")
        return OutOfMemoryError(f"{problem}: the largest that fits is --tile {fitting}")
