"""The recipe of the bundled checkpoints: train a tiny RGT on a folder of free pictures.

    python weights/train.py PICTURES --scale 4 --steps 2400 --out weights/rgt-tiny-x4.safetensors
    python weights/train.py PICTURES --scale 2 --steps 1200 --init weights/rgt-tiny-x4.safetensors \
        --out weights/rgt-tiny-x2.safetensors

The network starts as a linear upsampler, so that training only has to learn what bicubic lacks; with
`--init` its body starts from a checkpoint of another scale. The state is saved beside the output
every 100 steps, and the same command resumes from it. A curve grows beside it too, in CSV: the step, the
loss, and the PSNR of the averaged weights on pictures that are held out.
"""

import copy
import csv
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from degrade import degraded
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rgt_cli.checkpoints.convert import write_slim
from rgt_cli.inference.device import is_emulated
from rgt_cli.measure import bicubic_resize, compressed
from rgt_cli.network import RGT, RGTConfig

TINY = {
    "embed_dim": 48,
    "depth": (4, 4, 4),
    "num_heads": (2, 2, 2),
    "split_size": (8, 16),
    "upsampler": "direct",
}
PATCH = 64
BATCH = 4
WARM_UP = 50
EMA_DECAY = 0.995
HELD_OUT = 20
"""Of so many pictures one is not trained on but scored."""
DRAWN_SHARE = 0.1
"""The share of patches that come from the folder of drawings."""
MSE_WEIGHT = 20.0
"""What makes the gradient of the mean squared error about as large as that of L1."""


@dataclass(frozen=True)
class Pair:
    """One picture and its bicubic reduction, (H, W, C) uint8, with the texture it holds."""

    high: np.ndarray
    low: np.ndarray
    texture: float


def load_pairs(folder: Path, scale: int) -> list[Pair]:
    """Read every picture of `folder` and shrink it by `scale`."""
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
    """Draws patches, those with texture more often, turned and flipped at random.

    Args:
        photos: pictures of the world.
        drawn: pictures that were drawn; may be none.
        photo: whether inputs are degraded as photos are on the web, instead of only reduced.
    """

    def __init__(self, photos: list[Pair], drawn: list[Pair], scale: int, photo: bool) -> None:
        self._kinds = [(pairs, _chances(pairs)) for pairs in (photos, drawn)]
        self._scale, self._photo = scale, photo

    def batch(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(BATCH, 3, PATCH, PATCH) inputs and their targets, in 0..1."""
        lows, highs = [], []
        for _ in range(BATCH):
            pairs, chances = self._kinds[random.random() < DRAWN_SHARE]
            pairs, chances = (pairs, chances) if pairs else self._kinds[0]
            pair = pairs[random.choice(len(pairs), p=chances)]
            patches = self._degraded(pair, random) if self._photo else self._reduced(pair, random)
            turns, flip = int(random.integers(4)), bool(random.integers(2))
            for to, patch in zip((lows, highs), patches, strict=True):
                turned = np.rot90(patch, turns)
                to.append((turned[:, ::-1] if flip else turned).transpose(2, 0, 1))
        low, high = (torch.from_numpy(np.stack(patches)).float() / 255 for patches in (lows, highs))
        return low, high

    def _reduced(self, pair: Pair, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y, x = (int(random.integers(0, side - PATCH + 1)) for side in pair.low.shape[:2])
        return pair.low[y : y + PATCH, x : x + PATCH], self._target(pair, y, x, PATCH)

    def _degraded(self, pair: Pair, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """As `_reduced`, but cut out of a larger patch, so that blocks of JPEG lie anywhere."""
        size = min(PATCH + 16, *pair.low.shape[:2])
        y, x = (int(random.integers(0, side - size + 1)) for side in pair.low.shape[:2])
        low = degraded(self._target(pair, y, x, size), self._scale, random)
        down, right = (int(n) for n in random.integers(0, size - PATCH + 1, 2))
        cut = low[down : down + PATCH, right : right + PATCH]
        return cut, self._target(pair, y + down, x + right, PATCH)

    def _target(self, pair: Pair, y: int, x: int, size: int) -> np.ndarray:
        top, left, side = (n * self._scale for n in (y, x, size))
        return pair.high[top : top + side, left : left + side]


def _chances(pairs: list[Pair]) -> np.ndarray:
    weights = np.sqrt([pair.texture for pair in pairs])
    return weights / weights.sum()


@torch.no_grad()
def score(network: RGT, pairs: list[Pair], photo: bool) -> float:
    """Mean PSNR in dB, on RGB, over some pictures; for `photo`, compressed at quality 60 first."""
    values, scale = [], network.config.upscale
    for pair in pairs:
        low = compressed(pair.low, 60) if photo else pair.low
        image = torch.from_numpy(low.transpose(2, 0, 1).copy())[None].float() / 255
        output = (network(image)[0] * 255).round().clamp(0, 255).permute(1, 2, 0).numpy()
        error = (output - pair.high)[scale:-scale, scale:-scale]
        values.append(10 * math.log10(255**2 / float((error**2).mean())))
    return sum(values) / len(values)


def start_as_linear_upsampler(network: RGT) -> None:
    """Let the untrained network pass RGB through its first channels and enlarge them bilinearly."""
    scale, channels = network.config.upscale, network.config.in_chans
    tail = network.upsample[0]
    with torch.no_grad():
        network.conv_first.weight[:channels] = 0
        network.conv_first.bias[:channels] = 0
        for channel in range(channels):
            network.conv_first.weight[channel, channel, 1, 1] = 1
        network.conv_after_body.weight.mul_(0.1)
        network.conv_after_body.bias.zero_()
        tail.weight.mul_(0.1)
        tail.weight[:, :channels] = 0
        tail.bias.zero_()
        for phase_y in range(scale):
            for phase_x in range(scale):
                offsets = [(phase + 0.5) / scale - 0.5 for phase in (phase_y, phase_x)]
                taps = [[max(0.0, 1 - abs(offset - at)) for at in (-1, 0, 1)] for offset in offsets]
                kernel = torch.outer(*(torch.tensor(t) for t in taps))
                for channel in range(channels):
                    row = channel * scale**2 + phase_y * scale + phase_x
                    tail.weight[row, channel] = kernel


def start_from(network: RGT, path: Path) -> None:
    """Take over all weights of a checkpoint of the same scale, or the body of one of another."""
    own, other = network.state_dict(), load_file(path)
    fitting = {k: other[k].float() for k, v in own.items() if other[k].shape == v.shape}
    network.load_state_dict(own | fitting)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < WARM_UP:
        return peak * (step + 1) / WARM_UP
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


@click.command(help=__doc__)
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--scale", type=click.IntRange(2, 4), required=True)
@click.option("--steps", type=int, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--init", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--drawn", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Of draw.py."
)
@click.option("--photo", is_flag=True, help="Degrade the inputs as photos are on the web.")
@click.option("--mse-steps", type=int, default=0, show_default=True, help="The last ones, with MSE.")
@click.option("--peak", type=float, default=2e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", type=int, default=0, show_default=True)
def train(
    pictures: Path, scale: int, steps: int, out: Path, init: Path | None, drawn: Path | None,
    photo: bool, mse_steps: int, peak: float, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    network = RGT(RGTConfig(upscale=scale, **TINY))
    start_as_linear_upsampler(network)
    if init:
        start_from(network, init)
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=peak, betas=(0.9, 0.99))
    state_path, first = out.with_suffix(".state"), 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    pairs = load_pairs(pictures, scale)
    held_out = pairs[HELD_OUT - 1 :: HELD_OUT]
    trained_on = [pair for i, pair in enumerate(pairs) if (i + 1) % HELD_OUT]
    sampler = Sampler(trained_on, load_pairs(drawn, scale) if drawn else [], scale, photo)
    click.echo(f"{len(pairs)} pictures, {sum(p.numel() for p in network.parameters())} parameters")
    half = not is_emulated(torch.bfloat16, torch.device("cpu"))
    losses, started = [], time.monotonic()
    for step in range(first, steps):
        low, high = sampler.batch(np.random.default_rng((seed, step)))
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = network(low)
        error = (output - high).abs().mean()
        losses.append(error.item())
        loss = error if step < steps - mse_steps else MSE_WEIGHT * (output - high).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        decay = min(EMA_DECAY, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        if (step + 1) % 100 == 0 or step + 1 == steps:
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
            }
            partial = state_path.with_suffix(".partial")
            torch.save(state, partial)
            os.replace(partial, state_path)
            write_slim(average.state_dict(), average.config, out, half=True)
            pace, mean = (time.monotonic() - started) / (step + 1 - first), np.mean(losses[-100:])
            line = f"step {step + 1}: loss {mean:.5f}, {pace:.2f} s a step"
            if held_out:
                psnr = score(average, held_out, photo)
                line += f", {psnr:.3f} dB on held-out pictures"
                with out.with_suffix(".csv").open("a", newline="") as curve:
                    csv.writer(curve).writerow([step + 1, f"{mean:.5f}", f"{psnr:.3f}"])
            click.echo(line)


if __name__ == "__main__":
    train()
