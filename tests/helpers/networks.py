"""Small networks for tests: stubs with known results, and RGTs that compute in no time."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.network import RGT, RGTConfig
from rgt_cli.size import Size

MICRO = RGTConfig(
    upscale=2, embed_dim=64, depth=(2, 3), num_heads=(2, 2), split_size=(4, 8), upsampler="direct"
)
"""An RGT with every kind of block, as small as possible."""


def repeated(image: np.ndarray, scale: int) -> np.ndarray:
    """Return an (H, W) or (H, W, C) image with every pixel repeated, as `Nearest` upscales it."""
    return image.repeat(scale, 0).repeat(scale, 1)


class Nearest(nn.Module):
    """A stub network that repeats every pixel, so that pipelines are checked bit for bit."""

    def __init__(self, upscale: int = 2, in_chans: int = 3) -> None:
        super().__init__()
        self.config = RGTConfig(upscale=upscale, in_chans=in_chans)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.config.upscale
        return x.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)


class Counting(Nearest):
    """The same, recording how many images each call computes at once."""

    def __init__(self) -> None:
        super().__init__(2)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        return super().forward(x)


class Hungry(Nearest):
    """The same, allocating for real more memory than any machine has for large inputs.

    Args:
        limit: The longest side of an input that it computes.
        spared: Number of larger inputs that it computes before.
    """

    def __init__(self, upscale: int = 2, limit: int = 100, spared: int = 0) -> None:
        super().__init__(upscale)
        self.limit, self.spared = limit, spared
        self.seen: list[tuple[int, int]] = []
        """Height and width of each input that was computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        if max(height, width) > self.limit and len(self.seen) >= self.spared:
            torch.empty(1 << 50)
        self.seen.append((height, width))
        return super().forward(x)


class Overflowing(Nearest):
    """The same, with an output that is not finite under autocast, so in half precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y * float("nan") if torch.is_autocast_enabled("cpu") else y


class NeverFinite(Nearest):
    """The same, with an output that is not finite in any precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * float("nan")


def random_rgt(config: RGTConfig = MICRO, *, seed: int = 0, spread: float = 0.0) -> RGT:
    """Return an RGT with random weights, ready for inference.

    Args:
        config: Its hyper-parameters.
        seed: The seed of the weights.
        spread: Standard deviation of noise added to all weights. Fresh weights barely use some parts of
            the network; with noise, every part matters.
    """
    torch.manual_seed(seed)
    network = RGT(config).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(spread * torch.randn_like(weights))
    return network


def enliven(network: nn.Module) -> None:
    """Change fresh weights of an RGT so that every part of it matters, and its output is near 0..1."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2 and ".pos." not in name:
                parameter.mul_(2.5)
            if name.endswith("gamma"):
                parameter.uniform_(0.1, 0.4)


def nearest_upscaler(size: Size | None = None, alpha_by_network: bool = True) -> MultiPassUpscaler:
    """Return an upscaler of stub networks, whose outputs are known to the last bit."""
    return MultiPassUpscaler(
        size or Size(scale=2),
        lambda scale: NetworkUpscaler(Nearest(scale or 2), device="cpu"),
        [2, 3, 4],
        alpha_by_network,
    )
