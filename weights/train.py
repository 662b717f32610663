"""Train a tiny RGT on a folder of images. This is the recipe of the bundled checkpoints.

\b
Examples:
  python weights/train.py IMAGES --scale 4 --steps 2400 --out weights/rgt-tiny-x4.safetensors
  python weights/train.py IMAGES --scale 2 --steps 1200 --init weights/rgt-tiny-x4.safetensors \\
      --out weights/rgt-tiny-x2.safetensors

  python weights/train.py IMAGES --scale 4 --minutes 12 --device cuda --batch-size 64 \\
      --init weights/rgt-tiny-x4.safetensors --out x4.safetensors

The network starts as a linear upsampler, so that it only has to learn what bicubic lacks. With --init,
its body starts from a checkpoint of the same or another scale.

With --steps, the schedule of the learning rate follows the steps. With --minutes, it follows the time,
so that a run ends in time on a GPU of any speed.

Every 100 steps, or --save-interval, the checkpoint, the training state and a line of the curve are
written. To resume an interrupted run, repeat the command. The curve is a CSV file with the step, the
loss, and the PSNR of the averaged weights on held-out images.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import itertools
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from patches import Batches, Pair, Sampler, load_pairs
from safetensors.torch import load_file
from torch import Tensor

from rgt_cli.checkpoints.convert import write_slim
from rgt_cli.files import atomic_path
from rgt_cli.inference.device import (
    Precision,
    is_emulated,
    precision_name,
    resolve_device,
    resolve_precision,
)
from rgt_cli.inference.limits import processors
from rgt_cli.measure import jpeg_roundtrip
from rgt_cli.network import RGT, RGTConfig

WARM_UP = 50
"""Steps in which the learning rate rises."""
MAX_GRADIENT = 0.5
"""Norm to which gradients are clipped."""
HELD_OUT = 20
"""One image of this many is held out: it is scored, not trained on."""
MSE_WEIGHT = 20.0
"""Factor that makes the gradient of the mean squared error about as large as that of L1."""
MSE_SHARE = 0.2
"""Share of the time that uses MSE instead of L1, at the end of a run with a limit of minutes."""
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
    steps: int | None
    """Training steps, those of an interrupted run included."""
    minutes: float | None
    """Time to train instead, in minutes, that of an interrupted run included."""
    mse_steps: int
    """Number of the last of `steps`, which use MSE instead of L1."""
    batch_size: int
    """Patches computed at once."""
    device: str
    """Where to train."""
    precision: Precision
    """Precision of matrix products; "auto" is bf16 unless the processor emulates it."""
    workers: int | None
    """Processes that draw patches; None is one for each processor on a GPU, and none on a CPU."""
    ema_decay: float
    """Decay of the moving average of the weights for each step."""
    save_interval: int
    """Steps between saved states."""
    peak: float
    """Highest learning rate."""
    seed: int
    """Start of the random numbers."""
    init: Path | None
    """Checkpoint to start from."""
    out: Path
    """Checkpoint to write. The state and the curve are written beside it."""


@torch.no_grad()
def score(network: RGT, pairs: Sequence[Pair], photo: bool) -> float:
    """Return the mean PSNR over images, in dB on RGB. With `photo`, compress the inputs first."""
    values, scale = [], network.config.upscale
    for pair in pairs:
        low = jpeg_roundtrip(pair.low, SCORED_QUALITY) if photo else pair.low
        image = torch.from_numpy(low.transpose(2, 0, 1).copy())[None].to(network.mean.device) / 255
        output = (network(image)[0] * 255).round().clamp(0, 255).permute(1, 2, 0).cpu().numpy()
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


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Return the learning rate: a linear warm-up, then a cosine down to a hundredth of the peak.

    Args:
        step: Steps so far.
        progress: The share of the training that is done.
        peak: The highest learning rate.
    """
    if step < WARM_UP:
        return peak * (step + 1) / WARM_UP
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


class Trainer:
    """Train one network by a recipe. An existing state is resumed."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.device = resolve_device(recipe.device)
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
        self.network.to(self.device)
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.peak, betas=(0.9, 0.99))
        self.step = 0
        self.seconds = 0.0
        """Time that was trained before this run was started or resumed."""
        self._started = time.monotonic()
        self._state_path = recipe.out.with_suffix(".state")
        name = recipe.precision
        if name == "auto":
            name = "fp32" if is_emulated(torch.bfloat16, self.device) else "bf16"
        self.dtype = resolve_precision(name, self.device)
        if self._state_path.exists():
            self._resume()

    @property
    def progress(self) -> float:
        """The share of the training that is done, from 0; 1 or more at its end."""
        recipe = self.recipe
        if recipe.minutes is None:
            assert recipe.steps is not None
            return self.step / recipe.steps
        return (self.seconds + time.monotonic() - self._started) / (60 * recipe.minutes)

    def advance(self, low: Tensor, high: Tensor) -> Tensor:
        """Take one training step on a batch and return its mean absolute error, on the device."""
        recipe, progress = self.recipe, self.progress
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.step, progress, recipe.peak)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output = self.network(low)
        error = (output - high).abs().mean()
        if recipe.steps is None:
            by_mse = progress >= 1 - MSE_SHARE
        else:
            by_mse = self.step >= recipe.steps - recipe.mse_steps
        loss = MSE_WEIGHT * (output - high).square().mean() if by_mse else error
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        decay = min(recipe.ema_decay, (self.step + 1) / (self.step + 10))
        averaged: list[Tensor] = [*self.average.parameters()]
        new: list[Tensor] = [*self.network.parameters()]
        with torch.no_grad():
            torch._foreach_lerp_(averaged, new, 1 - decay)
        self.step += 1
        mean_error: Tensor = error.detach()
        return mean_error

    def save(self) -> None:
        """Write the state and the checkpoint, each atomically."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds + time.monotonic() - self._started,
        }
        with atomic_path(self._state_path) as path:
            torch.save(state, path)
        weights = {name: tensor.cpu() for name, tensor in self.average.state_dict().items()}
        write_slim(weights, self.average.config, self.recipe.out, half=True)

    def _resume(self) -> None:
        state = torch.load(self._state_path, weights_only=True, map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def train(recipe: Recipe) -> None:
    """Train a network, and print and save its progress."""
    trainer = Trainer(recipe)
    pairs = load_pairs(recipe.images, recipe.scale)
    held_out = pairs[HELD_OUT - 1 :: HELD_OUT]
    trained_on = [pair for i, pair in enumerate(pairs) if (i + 1) % HELD_OUT]
    drawn = load_pairs(recipe.drawn, recipe.scale) if recipe.drawn else []
    sampler = Sampler(
        trained_on, drawn, scale=recipe.scale, photo=recipe.photo, batch_size=recipe.batch_size
    )
    workers = recipe.workers
    if workers is None:
        workers = 0 if trainer.device.type == "cpu" else processors()
    parameters = sum(p.numel() for p in trainer.network.parameters())
    precision = precision_name(trainer.dtype)
    click.echo(f"{len(pairs)} images, {parameters} parameters, {trainer.device} in {precision}")
    losses: deque[Tensor] = deque(maxlen=recipe.save_interval)
    started, first = time.monotonic(), trainer.step
    batches = Batches(sampler, recipe.seed, trainer.device, workers).since(trainer.step)
    with contextlib.closing(batches):
        is_done = trainer.progress >= 1
        while not is_done:
            losses.append(trainer.advance(*next(batches)))
            is_done = trainer.progress >= 1
            if trainer.step % recipe.save_interval == 0 or is_done:
                trainer.save()
                pace = (time.monotonic() - started) / (trainer.step - first)
                _report(trainer, float(torch.stack([*losses]).mean()), pace, held_out)


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
@click.option("--steps", type=int, help="Training steps in all.")
@click.option("--minutes", type=float, help="Time to train in all, instead of --steps.")
@click.option("--out", type=FILE, required=True, help="Checkpoint to write.")
@click.option("--init", type=FILE, help="Checkpoint to start from.")
@click.option("--drawn", type=FOLDER, help="Folder of images from draw.py.")
@click.option("--photo", is_flag=True, help="Degrade the inputs as photos on the web are.")
@click.option(
    "--mse-steps", type=int, default=0, show_default=True, help="Number of the last steps, with MSE."
)
@click.option("--peak", type=float, default=2e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Start of the random numbers.")
@click.option("--batch-size", type=int, default=4, show_default=True, help="Patches computed at once.")
@click.option("--device", default="cpu", show_default=True, help="Where to train, such as cuda.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Precision of matrix products; auto is bf16 unless the processor emulates it.",
)
@click.option(
    "--workers",
    type=int,
    help="Processes that draw patches. [default: the number of processors on a GPU, 0 on a CPU]",
)
@click.option(
    "--ema-decay",
    type=float,
    default=0.995,
    show_default=True,
    help="Decay of the moving average of the weights for each step.",
)
@click.option(
    "--save-interval", type=int, default=100, show_default=True, help="Steps between saved states."
)
def main(**options: Any) -> None:
    """Run the command."""
    if (options["steps"] is None) == (options["minutes"] is None):
        raise click.UsageError("use either --steps or --minutes")
    train(Recipe(**options))


if __name__ == "__main__":
    main()
