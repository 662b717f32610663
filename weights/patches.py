"""Draw the patches that train.py learns from. The images stay on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from degrade import degrade
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rgt_cli.measure import bicubic_resize

PATCH = 64
"""Side of a training patch of the input, in pixels."""
DRAWN_SHARE = 0.1
"""Share of patches that come from drawn images."""


@dataclass(frozen=True)
class Pair:
    """An image and its bicubic reduction, (H, W, 3) uint8."""

    high: np.ndarray
    """The image."""
    low: np.ndarray
    """The image, downscaled."""
    texture: float
    """Mean difference of neighboring rows in `low`, plus one."""


@dataclass(frozen=True)
class Patch:
    """Where a patch is cut, and how it is turned."""

    pair: int
    """The index of its image."""
    y: int
    """Its first row in the downscaled image."""
    x: int
    """Its first column there."""
    turns: int
    """Quarter turns, counterclockwise."""
    flip: bool
    """Whether it is mirrored after that."""
    low: np.ndarray | None
    """The degraded input, (PATCH, PATCH, 3) uint8, not turned; None if it is only downscaled."""


def load_pairs(folder: Path, scale: int) -> list[Pair]:
    """Read every image in `folder` and downscale it by `scale`. Skip images smaller than a patch."""
    pairs = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as opened:
            high = np.asarray(opened.convert("RGB"))
        height, width = (side // scale * scale for side in high.shape[:2])
        if min(height, width) < PATCH * scale:
            continue
        high = high[:height, :width]
        low = bicubic_resize(high, 1 / scale)
        texture = float(np.abs(np.diff(low.astype(float), axis=0)).mean()) + 1.0
        pairs.append(Pair(high, low, texture))
    return pairs


class Sampler:
    """Draw random patches, rotated and flipped at random. Images with more texture are drawn more often.

    Args:
        photos: Images from cameras and artists.
        drawn: Images from draw.py. May be empty.
        scale: Upscaling factor.
        photo: Degrade the inputs as photos on the web are, instead of only downscaling them.
        batch_size: Patches in a batch.
    """

    def __init__(
        self, photos: list[Pair], drawn: list[Pair], *, scale: int, photo: bool, batch_size: int
    ) -> None:
        self.pairs = photos + drawn
        self.scale = scale
        self._photo, self._batch_size, self._count = photo, batch_size, len(photos)
        self._probabilities = _probabilities(photos), _probabilities(drawn)

    def draw(self, seed: tuple[int, int]) -> list[Patch]:
        """Return the patches of a batch, the same for the same seed."""
        random = np.random.default_rng(seed)
        return [self._patch(random) for _ in range(self._batch_size)]

    def _patch(self, random: np.random.Generator) -> Patch:
        is_drawn = bool(random.random() < DRAWN_SHARE) and len(self.pairs) > self._count
        probabilities = self._probabilities[is_drawn]
        index = int(random.choice(len(probabilities), p=probabilities)) + is_drawn * self._count
        y, x, low = self._degraded(self.pairs[index], random) if self._photo else (0, 0, None)
        if not self._photo:
            sides = self.pairs[index].low.shape[:2]
            y, x = (int(random.integers(0, side - PATCH + 1)) for side in sides)
        return Patch(index, y, x, int(random.integers(4)), bool(random.integers(2)), low)

    def _degraded(self, pair: Pair, random: np.random.Generator) -> tuple[int, int, np.ndarray]:
        """Return where a patch is cut, and its input: part of a larger one, so that JPEG blocks vary."""
        size = min(PATCH + 16, *pair.low.shape[:2])
        y, x = (int(random.integers(0, side - size + 1)) for side in pair.low.shape[:2])
        top, left, side = (n * self.scale for n in (y, x, size))
        low = degrade(pair.high[top : top + side, left : left + side], self.scale, random)
        down, right = (int(n) for n in random.integers(0, size - PATCH + 1, 2))
        return y + down, x + right, low[down : down + PATCH, right : right + PATCH]


def _probabilities(pairs: list[Pair]) -> np.ndarray:
    weights = np.sqrt(np.array([pair.texture for pair in pairs]))
    return np.asarray(weights / weights.sum())


class Pixels:
    """Images of any size in one tensor, from which patches are cut at once.

    Args:
        images: (H, W, 3) uint8.
        side: Side of a patch in pixels.
        device: Where the pixels are.
    """

    def __init__(self, images: list[np.ndarray], side: int, device: torch.device) -> None:
        self._flat = torch.from_numpy(np.concatenate([i.reshape(-1, 3) for i in images])).to(device)
        self._starts = np.cumsum([0, *(image.shape[0] * image.shape[1] for image in images)])
        self._widths = [image.shape[1] for image in images]
        places = np.arange(side * side).reshape(side, side)
        turned = [np.rot90(places, turns)[:, ::step] for turns in range(4) for step in (1, -1)]
        sources = torch.from_numpy(np.stack(turned)).to(device)
        self._rows, self._columns = sources // side, sources % side

    def cut(self, patches: list[Patch], factor: int = 1) -> Tensor:
        """Return these patches, turned, as (N, 3, side, side) in 0..1.

        Args:
            patches: Where to cut. Their coordinates are multiplied by `factor`.
            factor: The scale of these images.
        """
        widths = [self._widths[patch.pair] for patch in patches]
        first = [
            int(self._starts[patch.pair]) + factor * (patch.y * width + patch.x)
            for patch, width in zip(patches, widths, strict=True)
        ]
        return self._gather(self._flat, patches, first, widths)

    def turn(self, images: list[np.ndarray], patches: list[Patch]) -> Tensor:
        """Return images of the size of a patch, turned as these patches are: (N, 3, side, side)."""
        side, count = len(self._rows[0]), len(images)
        flat = torch.from_numpy(np.stack(images)).to(self._flat.device).view(-1, 3)
        first = [number * side * side for number in range(count)]
        return self._gather(flat, patches, first, [side] * count)

    def _gather(self, flat: Tensor, patches: list[Patch], first: list[int], widths: list[int]) -> Tensor:
        turns = [2 * patch.turns + patch.flip for patch in patches]
        numbers = torch.tensor([first, widths, turns]).to(flat.device)
        start, width, turn = numbers[0, :, None, None], numbers[1, :, None, None], numbers[2]
        places = start + self._rows[turn] * width + self._columns[turn]
        return flat[places].permute(0, 3, 1, 2).float() / 255


class _Numbered(Dataset[list[Patch]]):
    """Batches of patches by their number."""

    def __init__(self, sampler: Sampler, seed: int) -> None:
        self._sampler, self._seed = sampler, seed

    def __getitem__(self, number: int) -> list[Patch]:
        return self._sampler.draw((self._seed, number))


def _as_it_is(patches: list[Patch]) -> list[Patch]:
    return patches


class Batches:
    """Batches of inputs and targets on a device.

    Args:
        sampler: Draws the patches.
        seed: Start of the random numbers.
        device: Where the batches are needed.
        workers: Processes that draw patches ahead; with 0, this process does. To degrade a batch takes
            far longer than a step on a GPU.
    """

    def __init__(self, sampler: Sampler, seed: int, device: torch.device, workers: int) -> None:
        self._sampler, self._seed, self._workers = sampler, seed, workers
        self._highs = Pixels([p.high for p in sampler.pairs], PATCH * sampler.scale, device)
        self._lows = Pixels([p.low for p in sampler.pairs], PATCH, device)

    def since(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches from a step on, in 0..1.

        Inputs are (N, 3, PATCH, PATCH). Targets are larger by the scale.
        """
        loader = DataLoader(
            _Numbered(self._sampler, self._seed), batch_size=None, sampler=range(step, 1 << 31),
            num_workers=self._workers, collate_fn=_as_it_is,
        )  # fmt: skip
        for patches in loader:
            high = self._highs.cut(patches, self._sampler.scale)
            if patches[0].low is None:
                yield self._lows.cut(patches), high
            else:
                inputs = [patch.low for patch in patches if patch.low is not None]
                yield self._lows.turn(inputs, patches), high
