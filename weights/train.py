"""Train a tiny RGT on a folder of images. This is the recipe of the bundled checkpoints.

\b
Examples:
  python weights/train.py IMAGES --scale 4 --steps 2400 --out weights/rgt-tiny-x4.safetensors
  python weights/train.py IMAGES --scale 2 --steps 1200 --init weights/rgt-tiny-x4.safetensors \\
      --out weights/rgt-tiny-x2.safetensors

The network starts as a linear upsampler, so that it only has to learn what bicubic lacks. With --init,
its body starts from a checkpoint of the same or another scale.

Every 100 steps, the checkpoint, the training state and a line of the curve are written. To resume an
interrupted run, repeat the command. The curve is a CSV file with the step, the loss, and the PSNR of the
averaged weights on held-out images.
"""

from __future__ import annotations

import copy
import csv
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from degrade import degrade
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rgt_cli.checkpoints.convert import write_slim
from rgt_cli.files import atomic_path
from rgt_cli.inference.device import is_emulated
from rgt_cli.measure import bicubic_resize, jpeg_roundtrip
from rgt_cli.network import RGT, RGTConfig

PATCH = 64
"""Side of a training patch of the input, in pixels."""
BATCH_SIZE = 4
"""Patches computed at once."""
WARM_UP = 50
"""Steps in which the learning rate rises."""
EMA_DECAY = 0.995
"""Decay of the moving average of the weights for each step."""
MAX_GRADIENT = 0.5
"""Norm to which gradients are clipped."""
HELD_OUT = 20
"""One image of this many is held out: it is scored, not trained on."""
DRAWN_SHARE = 0.1
"""Share of patches that come from drawn images."""
MSE_WEIGHT = 20.0
"""Factor that makes the gradient of the mean squared error about as large as that of L1."""
SAVE_INTERVAL = 100
"""Steps between saved states."""
SCORED_QUALITY = 60
"""JPEG quality at which held-out images are scored if `photo` is set."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one training run. Each field is an option of the command."""

    images: Path
    """Folder of photographs and art."""
    drawn: Path | None
    """Folder of images from draw.py."""
    scale: int
    """Upscaling factor."""
    photo: bool
    """Degrade the inputs as photos on the web are, instead of only downscaling them."""
    steps: int
    """Training steps, those of an interrupted run included."""
    mse_steps: int
    """Number of the last steps, which use MSE instead of L1."""
    peak: float
    """Highest learning rate."""
    seed: int
    """Start of the random numbers."""
    init: Path | None
    """Checkpoint to start from."""
    out: Path
    """Checkpoint to write. The state and the curve are written beside it."""


@dataclass(frozen=True)
class Pair:
    """An image and its bicubic reduction, (H, W, 3) uint8."""

    high: np.ndarray
    """The image."""
    low: np.ndarray
    """The image, downscaled."""
    texture: float
    """Mean difference of neighboring rows in `low`, plus one."""


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
    """

    def __init__(self, photos: list[Pair], drawn: list[Pair], scale: int, photo: bool) -> None:
        self._kinds = [(pairs, _probabilities(pairs)) for pairs in (photos, drawn)]
        self._scale, self._photo = scale, photo

    def batch(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch of inputs and targets, in 0..1.

        Inputs are (BATCH_SIZE, 3, PATCH, PATCH). Targets are larger by `scale`.
        """
        lows: list[np.ndarray] = []
        highs: list[np.ndarray] = []
        for _ in range(BATCH_SIZE):
            pairs, probabilities = self._kinds[random.random() < DRAWN_SHARE]
            pairs, probabilities = (pairs, probabilities) if pairs else self._kinds[0]
            pair = pairs[random.choice(len(pairs), p=probabilities)]
            patches = self._degraded(pair, random) if self._photo else self._downscaled(pair, random)
            turns, flip = int(random.integers(4)), bool(random.integers(2))
            for collected, patch in zip((lows, highs), patches, strict=True):
                rotated = np.rot90(patch, turns)
                collected.append((rotated[:, ::-1] if flip else rotated).transpose(2, 0, 1))
        low, high = (torch.from_numpy(np.stack(patches)).float() / 255 for patches in (lows, highs))
        return low, high

    def _downscaled(self, pair: Pair, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a random patch of the input and its target."""
        y, x = (int(random.integers(0, side - PATCH + 1)) for side in pair.low.shape[:2])
        return pair.low[y : y + PATCH, x : x + PATCH], self._target(pair, y, x, PATCH)

    def _degraded(self, pair: Pair, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Do the same with degradation. The patch is cut from a larger one, so that JPEG blocks vary."""
        size = min(PATCH + 16, *pair.low.shape[:2])
        y, x = (int(random.integers(0, side - size + 1)) for side in pair.low.shape[:2])
        low = degrade(self._target(pair, y, x, size), self._scale, random)
        down, right = (int(n) for n in random.integers(0, size - PATCH + 1, 2))
        cut = low[down : down + PATCH, right : right + PATCH]
        return cut, self._target(pair, y + down, x + right, PATCH)

    def _target(self, pair: Pair, y: int, x: int, size: int) -> np.ndarray:
        top, left, side = (n * self._scale for n in (y, x, size))
        return pair.high[top : top + side, left : left + side]


def _probabilities(pairs: list[Pair]) -> np.ndarray:
    weights = np.sqrt(np.array([pair.texture for pair in pairs]))
    return np.asarray(weights / weights.sum())


@torch.no_grad()
def score(network: RGT, pairs: Sequence[Pair], photo: bool) -> float:
    """Return the mean PSNR over images, in dB on RGB. With `photo`, compress the inputs first."""
    values, scale = [], network.config.upscale
    for pair in pairs:
        low = jpeg_roundtrip(pair.low, SCORED_QUALITY) if photo else pair.low
        image = torch.from_numpy(low.transpose(2, 0, 1).copy())[None].float() / 255
        output = (network(image)[0] * 255).round().clamp(0, 255).permute(1, 2, 0).numpy()
        error = (output - pair.high)[scale:-scale, scale:-scale]
        values.append(10 * math.log10(255**2 / float((error**2).mean())))
    return sum(values) / len(values)


def start_as_linear_upsampler(network: RGT) -> None:
    """Make the untrained network pass RGB through its first channels and upscale them bilinearly."""
    scale, channels = network.config.upscale, network.config.in_chans
    weights = network.state_dict()  # it shares memory with the network
    first, tail = weights["conv_first.weight"], weights["upsample.0.weight"]
    first[:channels] = 0
    weights["conv_first.bias"][:channels] = 0
    for channel in range(channels):
        first[channel, channel, 1, 1] = 1
    weights["conv_after_body.weight"].mul_(0.1)
    weights["conv_after_body.bias"].zero_()
    tail.mul_(0.1)
    tail[:, :channels] = 0
    weights["upsample.0.bias"].zero_()
    for phase_y, phase_x in itertools.product(range(scale), repeat=2):
        offsets = [(phase + 0.5) / scale - 0.5 for phase in (phase_y, phase_x)]
        taps = [[max(0.0, 1 - abs(offset - at)) for at in (-1, 0, 1)] for offset in offsets]
        kernel = torch.outer(*(torch.tensor(t) for t in taps))
        for channel in range(channels):
            tail[channel * scale**2 + phase_y * scale + phase_x, channel] = kernel


def start_from(network: RGT, path: Path) -> None:
    """Copy all weights of a checkpoint with the same scale, or the body of one with another scale."""
    own, other = network.state_dict(), load_file(path)
    fitting = {k: other[k].float() for k, v in own.items() if other[k].shape == v.shape}
    network.load_state_dict(own | fitting)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate: a linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < WARM_UP:
        return peak * (step + 1) / WARM_UP
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


class Trainer:
    """Train one network by a recipe. An existing state is resumed."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.network = RGT(
            RGTConfig(
                upscale=recipe.scale,
                embed_dim=48,
                depth=(4, 4, 4),
                num_heads=(2, 2, 2),
                split_size=(8, 16),
                upsampler="direct",
            )
        )
        start_as_linear_upsampler(self.network)
        if recipe.init:
            start_from(self.network, recipe.init)
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.peak, betas=(0.9, 0.99))
        self.step = 0
        self._state_path = recipe.out.with_suffix(".state")
        self._half = not is_emulated(torch.bfloat16, torch.device("cpu"))
        if self._state_path.exists():
            self._resume()

    def advance(self, low: Tensor, high: Tensor) -> float:
        """Take one training step on a batch and return its mean absolute error."""
        recipe = self.recipe
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.step, recipe.steps, recipe.peak)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            output = self.network(low)
        error = (output - high).abs().mean()
        by_mse = self.step >= recipe.steps - recipe.mse_steps
        loss = MSE_WEIGHT * (output - high).square().mean() if by_mse else error
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        decay = min(EMA_DECAY, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
            for averaged, new in pairs:
                averaged.lerp_(new, 1 - decay)
        self.step += 1
        return float(error.item())

    def save(self) -> None:
        """Write the state and the checkpoint, each atomically."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        with atomic_path(self._state_path) as path:
            torch.save(state, path)
        write_slim(self.average.state_dict(), self.average.config, self.recipe.out, half=True)

    def _resume(self) -> None:
        state = torch.load(self._state_path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def train(recipe: Recipe) -> None:
    """Train a network, and print and save its progress."""
    trainer = Trainer(recipe)
    pairs = load_pairs(recipe.images, recipe.scale)
    held_out = pairs[HELD_OUT - 1 :: HELD_OUT]
    trained_on = [pair for i, pair in enumerate(pairs) if (i + 1) % HELD_OUT]
    drawn = load_pairs(recipe.drawn, recipe.scale) if recipe.drawn else []
    sampler = Sampler(trained_on, drawn, recipe.scale, recipe.photo)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    click.echo(f"{len(pairs)} images, {parameters} parameters")
    losses: list[float] = []
    started = time.monotonic()
    while trainer.step < recipe.steps:
        low, high = sampler.batch(np.random.default_rng((recipe.seed, trainer.step)))
        losses.append(trainer.advance(low, high))
        if trainer.step % SAVE_INTERVAL == 0 or trainer.step == recipe.steps:
            trainer.save()
            pace = (time.monotonic() - started) / len(losses)
            _report(trainer, float(np.mean(losses[-SAVE_INTERVAL:])), pace, held_out)


def _report(trainer: Trainer, loss: float, pace: float, held_out: Sequence[Pair]) -> None:
    """Print the loss, the seconds a step takes, and the score; add a line to the curve."""
    line = f"step {trainer.step}: loss {loss:.5f}, {pace:.2f} s per step"
    if held_out:
        recipe = trainer.recipe
        psnr = score(trainer.average, held_out, recipe.photo)
        line += f", {psnr:.3f} dB on held-out images"
        with recipe.out.with_suffix(".csv").open("a", newline="") as curve:
            csv.writer(curve).writerow([trainer.step, f"{loss:.5f}", f"{psnr:.3f}"])
    click.echo(line)


FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(help=__doc__)
@click.argument("images", type=FOLDER)
@click.option("--scale", type=click.IntRange(2, 4), required=True, help="Upscaling factor.")
@click.option("--steps", type=int, required=True, help="Training steps in all.")
@click.option("--out", type=FILE, required=True, help="Checkpoint to write.")
@click.option("--init", type=FILE, help="Checkpoint to start from.")
@click.option("--drawn", type=FOLDER, help="Folder of images from draw.py.")
@click.option("--photo", is_flag=True, help="Degrade the inputs as photos on the web are.")
@click.option(
    "--mse-steps", type=int, default=0, show_default=True, help="Number of the last steps, with MSE."
)
@click.option("--peak", type=float, default=2e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Start of the random numbers.")
def main(**options: Any) -> None:
    """Run the command."""
    train(Recipe(**options))


if __name__ == "__main__":
    main()
