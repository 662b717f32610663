"""Run a network on images of any size: choose tiles, blend them, recover when memory runs out."""

from __future__ import annotations

import logging
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
from rgt_cli.inference.tiling import ProgressCallback, Rows, TileGrid, TileSize, blended_rows
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
            OutOfMemoryError: The tiles that were asked for need more memory than is free.
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
            (first row, strip of rows). A strip is (rows, s * W, C) float32 of 0..1 and may be
            overwritten. A collected image may start again at row 0 after other strips, when memory runs
            out and the finished tiles cannot be mixed with smaller ones.

        Raises:
            OutOfMemoryError: The tiles that were asked for, or the smallest, do not fit.
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
        total, done, top = grid.count, 0, 0
        report(0, total)

        def upscale(tile: np.ndarray) -> np.ndarray:
            nonlocal done
            result = self._run(tile if tile.ndim == 3 else tile[..., None], resume=done > 0)
            done += 1
            report(done, total)
            return result

        for strip in blended_rows(image, grid, self._scale, upscale):
            yield top, strip
            top += len(strip)

    def plan(self, size: Dimensions, channels: int, *, collected: bool) -> TileGrid:
        """Return the tiles of an image of this size; see `strips`.

        Raises:
            OutOfMemoryError: The tiles that were asked for need more memory than is free.
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
            OutOfMemoryError: The tiles that were asked for need more memory than is free.
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
        the network computes: see DEEPER_SIDE. Tiles that were asked for have exactly that size.
        """
        least = DEFAULT_OVERLAP if self.overlap is None else self.overlap
        overlap = min(least, tile // 3 if self.overlap is None else tile - 1)
        grid = TileGrid(image, Dimensions(tile, tile), overlap)
        smaller = grid.equalized()
        if self.tile != "auto" or max(smaller.tile) < DEEPER_SIDE <= tile <= max(image):
            return grid
        return smaller

    def _run(self, tile: np.ndarray, resume: bool) -> np.ndarray:
        """Upscale one tile; if memory runs out, in smaller tiles from here on.

        Args:
            tile: (h, w, C).
            resume: Whether other tiles are finished, so that the image should go on from this one.

        Raises:
            _RestartWithSmallerTiles: The image should be computed again in the smaller tiles.
            OutOfMemoryError: A tile that was asked for, or the smallest, does not fit.
        """
        height, width, channels = tile.shape
        longest = max(height, width)
        if longest <= (self.reduced_tile or longest):
            try:
                return self._run_in_thread(tile) if self.reduced_tile else self.runner.run_tile(tile)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler, because its traceback refers to the tensors of the forward pass.
            release_memory(self.runner.device)
            self.reduced_tile = self._smaller_tile(longest, channels)
            if not resume or self.reduced_tile < DEEPER_SIDE <= longest:
                raise _RestartWithSmallerTiles
        grid = self._grid(Dimensions(width, height), self.reduced_tile or longest)
        strips = blended_rows(tile, grid, self._scale, lambda part: self._run(part, resume))
        return np.concatenate(list(strips))

    def _run_in_thread(self, tile: np.ndarray) -> np.ndarray:
        """Upscale one tile in a new thread: oneDNN cannot use a thread in which it ran out of memory."""
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(self.runner.run_tile, tile).result()

    def _smaller_tile(self, tile: int, channels: int) -> int:
        """Return the side of the tiles to try after memory ran out with tiles of side `tile`.

        Raises:
            OutOfMemoryError: A tile that was asked for, or the smallest, does not fit.
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
