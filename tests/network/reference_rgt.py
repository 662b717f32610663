"""RGT as the paper describes it, in plain lines: to be read, and to be compared with `rgt_cli.network`.

Source: Recursive Generalization Transformer for Image Super-Resolution (arXiv 2303.06373). It is a
function of the state dict of a checkpoint. Tokens are (N, H, W, C). Nothing here is fast: it computes
whole images, with full masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rgt_cli.network import RGTConfig


class Weights:
    """The part of a state dict whose keys begin with a prefix."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str = "") -> None:
        self.state, self.prefix = state, prefix

    def at(self, name: str) -> Weights:
        return Weights(self.state, f"{self.prefix}{name}.")

    def of(self, name: str) -> tuple[Tensor, Tensor | None]:
        bias = self.state.get(f"{self.prefix}{name}.bias")
        return self.state[f"{self.prefix}{name}.weight"], bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, *self.of(name))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *self.of(name))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Run a convolution over tokens, depth-wise if its weight is, and padded if its size is 3."""
        weight, bias = self.of(name)
        groups, padding = x.shape[-1] // weight.shape[1], 1 if weight.shape[-1] == 3 else 0
        image = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, padding, groups=groups)
        return image.permute(0, 2, 3, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | float = 0.0) -> Tensor:
    """Return softmax(q k^T * scale + bias) v for (..., heads, n, d) tensors."""
    return (q @ k.transpose(-1, -2) * scale + bias).softmax(-1) @ v


def position_bias(weights: Weights, window: tuple[int, int]) -> Tensor:
    """Return (heads, n, n): an MLP of the relative positions of the pixels in a window (section 3.2)."""
    places = torch.cartesian_prod(*(torch.arange(side) for side in window))
    x = weights.linear("pos_proj", (places[:, None] - places).float())
    for name in ("pos1", "pos2", "pos3"):
        x = weights.linear(f"{name}.2", F.relu(weights.norm(f"{name}.0", x)))
    return x.permute(2, 0, 1)


def split(x: Tensor, dim: int, *sizes: int) -> Tensor:
    """Split one dimension into several, one of which may be -1."""
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim:][1:])


def windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut (N, H, W, C) into (N, windows, n, C)."""
    x = split(split(x, 2, -1, window[1]), 1, -1, window[0]).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)


def window_attention(
    weights: Weights, qkv: Tensor, heads: int, window: tuple[int, int], shifted: bool
) -> Tensor:
    """Attend within windows, shifted by half a window or not: (3, N, H, W, C) to (N, H, W, C)."""
    height, width, channels = qkv.shape[2:]
    down, right = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
    # The shift brings pixels of opposite edges together, which must not attend to each other.
    below = (torch.arange(height) >= height - down)[:, None]
    beside = torch.arange(width) >= width - right
    regions = windows((2 * below + 1 * beside)[None, ..., None], window)[0]
    mask = -100.0 * (regions != regions.transpose(1, 2))
    bias = position_bias(weights.at("pos"), window) + mask[:, None]
    rolled = qkv.roll((-down, -right), (2, 3))
    q, k, v = (split(windows(x, window), 3, heads, -1).transpose(2, 3) for x in rolled)
    y = attend(q, k, v, (channels // heads) ** -0.5, bias).transpose(2, 3).flatten(3)
    y = split(split(y, 2, *window), 1, -1, width // window[1]).transpose(2, 3)
    return y.flatten(3, 4).flatten(1, 2).roll((down, right), (1, 2))


def local_attention(weights: Weights, x: Tensor, config: RGTConfig, heads: int, shifted: bool) -> Tensor:
    """L-SA (section 3.2): half of the channels attend in H_sp x W_sp windows, half in W_sp x H_sp."""
    height, width = x.shape[1:3]
    qkv = torch.stack(weights.linear("qkv", x).chunk(3, dim=-1))
    multiple = max(config.split_size)
    padded = F.pad(qkv, (0, 0, 0, -width % multiple, 0, -height % multiple))
    shapes = (config.split_size, config.split_size[::-1])
    branches = [
        window_attention(weights.at(f"attns.{i}"), half, heads // 2, shapes[i], shifted)
        for i, half in enumerate(padded.chunk(2, dim=-1))
    ]
    attended = torch.cat(branches, dim=-1)[:, :height, :width]
    return weights.linear("proj", attended + weights.conv("get_v", qkv[2]))


def times_reduced(height: int, width: int) -> int:
    """Return max(2, floor(log4(H / 16)), floor(log4(W / 16))) (section 4.1)."""
    return max(2, math.floor(math.log(max(height, width) / 16, 4) + 1e-9))


def recursive_attention(weights: Weights, x: Tensor, config: RGTConfig, heads: int) -> Tensor:
    """RG-SA (section 3.3): every pixel attends to a small map made by recursive generalization."""
    small = x
    for _ in range(times_reduced(*x.shape[1:3])):
        small = weights.conv("reduction1", small, stride=4)
    small = weights.conv("conv", weights.conv("dwconv", small))
    small = F.gelu(weights.norm("norm_act.0", small))
    v = weights.linear("v", small)
    tokens = weights.linear("q", x), weights.linear("k", small), v + weights.conv("cpe", v)
    q, k, v = (split(t.flatten(1, 2), 2, heads, -1).transpose(1, 2) for t in tokens)
    y = attend(q, k, v, (x.shape[-1] // heads * config.c_ratio) ** -0.5)
    return weights.linear("proj", y.transpose(1, 2).reshape(x.shape))


def mlp(weights: Weights, x: Tensor) -> Tensor:
    """Return the output of the feed-forward network, which has a spatial gate."""
    value, gate = F.gelu(weights.linear("fc1", x)).chunk(2, dim=-1)
    return weights.linear("fc2", value * weights.conv("sg.conv", weights.norm("sg.norm", gate)))


def block(weights: Weights, x: Tensor, config: RGTConfig, group: int, index: int) -> Tensor:
    """Return a transformer block: attention, MLP and hybrid adaptive integration (section 3.4)."""
    heads, normed = config.num_heads[group], weights.norm("norm1", x)
    if index % 2 == 0:
        shifted = (index // 2 + group) % 2 == 1
        y = x + local_attention(weights.at("attn"), normed, config, heads, shifted)
    else:
        y = x + recursive_attention(weights.at("attn"), normed, config, heads)
    y = y + mlp(weights.at("mlp"), weights.norm("norm2", y))
    return y + weights.state[f"{weights.prefix}gamma"] * x


def residual(weights: Weights, name: str, x: Tensor, config: RGTConfig) -> Tensor:
    """Return the convolution at the end of a group: one, or a bottleneck of three."""
    if config.resi_connection == "1conv":
        return weights.conv(name, x)
    x = F.leaky_relu(weights.conv(f"{name}.0", x), 0.2)
    return weights.conv(f"{name}.4", F.leaky_relu(weights.conv(f"{name}.2", x), 0.2))


def shuffle(x: Tensor, factor: int) -> Tensor:
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


def tail(weights: Weights, x: Tensor, config: RGTConfig) -> Tensor:
    """Upscale the tokens to an image."""
    if config.upsampler == "direct":
        return shuffle(weights.conv("upsample.0", x), config.upscale)
    x = F.leaky_relu(weights.conv("conv_before_upsample.0", x), 0.01)
    for i, factor in enumerate([3] if config.upscale == 3 else [2] * round(math.log2(config.upscale))):
        x = shuffle(weights.conv(f"upsample.{2 * i}", x), factor)
    return weights.conv("conv_last", x)


def reference_rgt(state: Mapping[str, Tensor], config: RGTConfig, image: Tensor) -> Tensor:
    """Upscale (N, C, H, W) in 0..1 to (N, C, s * H, s * W)."""
    weights, (height, width) = Weights(state), image.shape[-2:]
    least = 4 ** times_reduced(height, width)
    missing = max(0, least - height), max(0, least - width)
    padding = ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0))
    x = torch.from_numpy(np.pad(image.permute(0, 2, 3, 1).numpy(), padding, mode="reflect"))
    mean = torch.tensor([0.4488, 0.4371, 0.4040] if config.in_chans == 3 else [0.0])
    shallow = weights.conv("conv_first", x - mean)
    x = weights.norm("before_RG.1", shallow)
    for group, depth in enumerate(config.depth):
        part, y = weights.at(f"layers.{group}"), x
        for index in range(depth):
            y = block(part.at(f"blocks.{index}"), y, config, group, index)
        x = x + residual(part, "conv", y, config)
    x = shallow + residual(weights, "conv_after_body", weights.norm("norm", x), config)
    upscaled = tail(weights, x, config) + mean
    return upscaled[:, : height * config.upscale, : width * config.upscale].permute(0, 3, 1, 2)
