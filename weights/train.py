"""The recipe of the bundled checkpoints: train a tiny RGT on a folder of free pictures.

    python weights/train.py PICTURES --scale 4 --steps 2400 --out weights/rgt-tiny-x4.safetensors
    python weights/train.py PICTURES --scale 2 --steps 1200 --init weights/rgt-tiny-x4.safetensors \
        --out weights/rgt-tiny-x2.safetensors

The network starts as a linear upsampler, so that training only has to learn what bicubic lacks; with
`--init` its body starts from a checkpoint of another scale. The state is saved beside the output
every 100 steps, and the same command resumes from it.
"""

import copy
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rgt_cli.checkpoints.convert import write_slim
from rgt_cli.measure import bicubic_resize
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


@dataclass(frozen=True)
class Pair:
    """One picture and its bicubic reduction, (C, H, W) uint8, with the texture it holds."""

    high: Tensor
    low: Tensor
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
        pairs.append(
            Pair(*(torch.from_numpy(a.transpose(2, 0, 1).copy()) for a in (high, low)), texture)
        )
    return pairs


def sample_batch(pairs: list[Pair], scale: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw (BATCH, 3, PATCH, PATCH) inputs and their targets, turned and flipped at random."""
    weights = np.sqrt([pair.texture for pair in pairs])
    lows, highs = [], []
    for pair in random.choice(len(pairs), BATCH, p=weights / weights.sum()):
        chosen = pairs[pair]
        y, x = (int(random.integers(0, side - PATCH + 1)) for side in chosen.low.shape[1:])
        low = chosen.low[:, y : y + PATCH, x : x + PATCH]
        size, y, x = PATCH * scale, y * scale, x * scale
        high = chosen.high[:, y : y + size, x : x + size]
        turns, flip = int(random.integers(4)), bool(random.integers(2))
        for patches, patch in ((lows, low), (highs, high)):
            turned = torch.rot90(patch, turns, (1, 2))
            patches.append(turned.flip(2) if flip else turned)
    return torch.stack(lows).float() / 255, torch.stack(highs).float() / 255


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
@click.option("--peak", type=float, default=2e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", type=int, default=0, show_default=True)
def train(
    pictures: Path, scale: int, steps: int, out: Path, init: Path | None, peak: float, seed: int
) -> None:
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
    click.echo(f"{len(pairs)} pictures, {sum(p.numel() for p in network.parameters())} parameters")
    losses, started = [], time.monotonic()
    for step in range(first, steps):
        low, high = sample_batch(pairs, scale, np.random.default_rng((seed, step)))
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak)
        with torch.autocast("cpu", torch.bfloat16):
            output = network(low)
        loss = (output - high).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
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
            pace = (time.monotonic() - started) / (step + 1 - first)
            click.echo(f"step {step + 1}: loss {np.mean(losses[-100:]):.5f}, {pace:.2f} s a step")


if __name__ == "__main__":
    train()
