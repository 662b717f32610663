"""RGT: Recursive Generalization Transformer for Image Super-Resolution (arXiv 2303.06373)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgt_cli.network.attention import (
    LocalSelfAttention,
    RecursiveGeneralizationSelfAttention,
    recursions,
    share,
)
from rgt_cli.network.kernels import (
    State,
    add_strips,
    assemble,
    convolve_tokens,
    lagging,
    project,
    state_of,
    strips,
)

CONVOLUTION_TOKENS = 1 << 15
"""Tokens that the convolutions outside the blocks process at a time, to limit their memory."""
TAIL_TOKENS = 1 << 14
"""Tokens that the tail processes at a time. It needs more memory for each token."""
TAIL_REACH = 3
"""The reach of the receptive field of the tail, in pixels of its input: 1 + 1 + 1/2 + 1/4 + ... < 3."""

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean RGB of the training set of the paper, subtracted from three-channel input."""


@dataclass(frozen=True)
class RGTConfig:
    """The hyper-parameters of one RGT. The defaults are those of the published RGT-S at x4."""

    upscale: int = 4
    """Upscaling factor: 1, 3 or a power of two."""
    in_chans: int = 3
    """Channels of the image, in and out."""
    embed_dim: int = 180
    """Channels of a token."""
    depth: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
    """Blocks of each residual group; they alternate L-SA, RG-SA, L-SA, ..."""
    num_heads: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
    """Attention heads of each residual group. The number is even: each L-SA branch has half of them."""
    mlp_ratio: float = 2.0
    """Hidden channels of the MLP as a multiple of `embed_dim`; the gate halves them."""
    qkv_bias: bool = True
    """True if the projections to queries, keys and values have a bias."""
    split_size: tuple[int, int] = (8, 32)
    """Height and width of the windows of the first L-SA branch in pixels; the second swaps them."""
    c_ratio: float = 0.5
    """Channels of the queries and keys of RG-SA as a share of `embed_dim`."""
    resi_connection: str = "1conv"
    """The convolution that ends a group: "1conv" (one 3x3) or "3conv" (a bottleneck of three)."""
    upsampler: str = "pixelshuffle"
    """The tail: "pixelshuffle" (64 channels, shuffles of 2 or 3) or "direct" (one conv, one shuffle)."""


class SpatialGate(nn.Module):
    """Multiply one half of the channels by a depth-wise convolution of the other half."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, H, W, dim) tokens for (B, H, W, 2 * dim) tokens."""
        value, gate = x.chunk(2, dim=-1)
        return value * convolve_tokens(self.conv, self.norm(gate))


class GatedMLP(nn.Module):
    """Two linear layers with GELU and a spatial gate between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.sg = SpatialGate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, dim)

    def forward(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return `x` plus the MLP of `norm(x)`; without autograd the sum is in place.

        Args:
            x: (B, H, W, C) residual stream.
            norm: The normalization before the MLP.
        """
        return add_strips(x, self._strips(x, norm), out=x)

    def _strips(self, x: Tensor, norm: nn.LayerNorm) -> Iterator[Tensor]:
        """Yield the output of the MLP for strips of rows of `x`."""
        parts = (project(self.fc1, norm(x[:, top:bottom]), gelu=True) for top, bottom in strips(x))
        for hidden, inner in lagging(parts, x.shape[1]):
            yield project(self.fc2, self.sg(hidden)[:, inner])


class Block(nn.Module):
    """A transformer block with either attention, and hybrid adaptive integration (HAI) at its end.

    HAI adds the input of the block, with each channel scaled by the learned `gamma`.

    Source: section 3.4 of the paper.
    """

    def __init__(self, dim: int, attention: nn.Module, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GatedMLP(dim, share(dim, mlp_ratio))
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return (B, H, W, C) tokens for (B, H, W, C) tokens, in the memory of `out` if it is given."""
        out = self.mlp(self.attn(x, self.norm1, out), self.norm2)
        if torch.is_grad_enabled():
            return torch.addcmul(out, x, self.gamma)
        return out.addcmul_(x, self.gamma)


class ResidualGroup(nn.Module):
    """Alternating L-SA and RG-SA blocks, a convolution, and a shortcut around them.

    The windows of every other L-SA block are shifted; in odd groups those of the first one are.
    """

    def __init__(self, config: RGTConfig, index: int) -> None:
        super().__init__()
        dim, num_heads = config.embed_dim, config.num_heads[index]
        self.blocks = nn.ModuleList()
        for i in range(config.depth[index]):
            attention: nn.Module
            if i % 2 == 0:
                shifted = (i // 2 + index) % 2 == 1
                attention = LocalSelfAttention(
                    dim, num_heads, config.split_size, config.qkv_bias, shifted
                )
            else:
                attention = RecursiveGeneralizationSelfAttention(
                    dim, num_heads, config.qkv_bias, config.c_ratio
                )
            self.blocks.append(Block(dim, attention, config.mlp_ratio))
        self.conv = residual_connection(config)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, H, W, C) tokens for (B, H, W, C) tokens; without autograd in place."""
        shortcut, spare = x, None
        for block in self.blocks:
            out = block(x, spare)
            spare = None if x is shortcut else x
            x = out
        return add_convolution(self.conv, x, shortcut)


def residual_connection(config: RGTConfig) -> nn.Module:
    """Return the convolution at the end of a residual group and of the body."""
    dim = config.embed_dim
    if config.resi_connection == "1conv":
        return nn.Conv2d(dim, dim, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(dim, dim // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim // 4, dim // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim // 4, dim, 3, padding=1),
    )


def add_convolution(
    conv: nn.Module, x: Tensor, shortcut: Tensor, norm: nn.Module | None = None
) -> Tensor:
    """Return `shortcut` plus a residual connection; without autograd the sum is in place.

    Args:
        conv: A convolution from `residual_connection`.
        x: (B, H, W, C) tokens.
        shortcut: (B, H, W, C) tokens.
        norm: A normalization before the convolution, or None.
    """
    height, reach = x.shape[1], 2  # the receptive field of "3conv" reaches two pixels to each side

    def parts() -> Iterator[Tensor]:
        for top, bottom in strips(x, tokens=CONVOLUTION_TOKENS):
            above, below = max(0, top - reach), min(height, bottom + reach)
            rows = x[:, above:below]
            y = convolve_tokens(conv, rows if norm is None else norm(rows))
            yield y[:, top - above : bottom - above]

    return add_strips(shortcut, parts(), out=shortcut)


def pixel_shuffle_tail(upscale: int, features: int) -> nn.Sequential:
    """Return convolutions and pixel shuffles that upscale (N, features, H, W).

    Args:
        upscale: The factor.
        features: Channels.

    Raises:
        ValueError: `upscale` is neither 3 nor a power of two.
    """
    if upscale == 3:
        factors = [3]
    elif upscale >= 1 and upscale & (upscale - 1) == 0:
        factors = [2] * int(math.log2(upscale))
    else:
        raise ValueError(f"a pixel-shuffle tail cannot upscale by {upscale}: use 3 or a power of two")
    layers: list[nn.Module] = []
    for factor in factors:
        layers.append(nn.Conv2d(features, features * factor**2, 3, padding=1))
        layers.append(nn.PixelShuffle(factor))
    return nn.Sequential(*layers)


class RGT(nn.Module):
    """The Recursive Generalization Transformer.

    The residual stream is in fp32 under `torch.autocast`, too.

    Args:
        config: The hyper-parameters.

    Raises:
        ValueError: The tail does not support `config.upscale`.
    """

    features = 64
    """Channels of the "pixelshuffle" tail."""

    mean: Tensor

    def __init__(self, config: RGTConfig) -> None:
        super().__init__()
        self.config = config
        dim, channels = config.embed_dim, config.in_chans
        mean = DIV2K_MEAN if channels == 3 else (0.0,) * channels
        mean_tensor = torch.tensor(mean, device="cpu").view(1, -1, 1, 1)  # also in a network on "meta"
        self.register_buffer("mean", mean_tensor, persistent=False)
        self.conv_first = nn.Conv2d(channels, dim, 3, padding=1)
        # The keys of published checkpoints count a layer without weights at position 0.
        self.before_RG = nn.Sequential(nn.Identity(), nn.LayerNorm(dim))
        self.layers = nn.ModuleList(ResidualGroup(config, i) for i in range(len(config.depth)))
        self.norm = nn.LayerNorm(dim)
        self.conv_after_body = residual_connection(config)
        if config.upsampler == "direct":
            direct = nn.Conv2d(dim, channels * config.upscale**2, 3, padding=1)
            self.upsample = nn.Sequential(direct, nn.PixelShuffle(config.upscale))
        else:
            before = nn.Conv2d(dim, self.features, 3, padding=1)
            self.conv_before_upsample = nn.Sequential(before, nn.LeakyReLU())
            self.upsample = pixel_shuffle_tail(config.upscale, self.features)
            self.conv_last = nn.Conv2d(self.features, channels, 3, padding=1)
            self._folded: tuple[State, Tensor, Tensor] | None = None

    def forward(self, image: Tensor) -> Tensor:
        """Upscale images.

        Args:
            image: (N, in_chans, H, W) in 0..1, of any size from 1 x 1 pixels. An image that is too small
                for recursive generalization is extended by reflection, and the result is cropped.

        Returns:
            (N, in_chans, s * H, s * W) float32, not clamped.
        """
        height, width = image.shape[-2:]
        shortest = 4 ** recursions(height, width)
        x = reflect_to(image, max(height, shortest), max(width, shortest))
        tokens = self.conv_first((x - self.mean).to(memory_format=torch.channels_last))
        shallow = tokens.permute(0, 2, 3, 1).float()
        deep = self.before_RG(shallow)
        for group in self.layers:
            deep = group(deep)
        deep = add_convolution(self.conv_after_body, deep, shallow, self.norm)
        del shallow, x
        upscaled = self._upscale(deep)
        scale = self.config.upscale
        return upscaled[..., : height * scale, : width * scale].float() + self.mean

    def _upscale(self, deep: Tensor) -> Tensor:
        """Run the tail: return (B, in_chans, s * H, s * W) for (B, H, W, C) tokens."""
        if self.config.upsampler == "direct":
            return self._upscale_strips(deep, self.upsample)
        if torch.is_grad_enabled():
            return self._tail(deep.permute(0, 3, 1, 2))
        image = self._upscale_strips(deep, self._folded_tail)
        # Every convolution pads with zeros, but the folded one pads only once. So pixels near the edges
        # differ, and are computed by the plain tail.
        scale, seen = self.config.upscale, TAIL_REACH + 1
        for near, at in (
            (slice(None, seen), slice(None, scale)),
            (slice(-seen, None), slice(-scale, None)),
        ):
            image[:, :, at] = self._tail(deep[:, near].permute(0, 3, 1, 2))[:, :, at]
            image[..., at] = self._tail(deep[:, :, near].permute(0, 3, 1, 2))[..., at]
        return image

    def _upscale_strips(self, deep: Tensor, tail: Callable[[Tensor], Tensor]) -> Tensor:
        """Run `tail`, which maps (B, C, n, W) to (B, in_chans, s * n, s * W), over strips of n rows."""
        height, scale = deep.shape[1], self.config.upscale

        def parts() -> Iterator[Tensor]:
            for top, bottom in strips(deep, tokens=TAIL_TOKENS):
                above, below = max(0, top - TAIL_REACH), min(height, bottom + TAIL_REACH)
                image = tail(deep[:, above:below].permute(0, 3, 1, 2))
                yield image[:, :, (top - above) * scale : (bottom - above) * scale].transpose(1, 2)

        return assemble(parts(), height * scale).transpose(1, 2)

    def _tail(self, image: Tensor) -> Tensor:
        """Run the "pixelshuffle" tail as it is: from (B, C, H, W) to (B, in_chans, s * H, s * W)."""
        upscaled: Tensor = self.conv_last(self.upsample(self.conv_before_upsample(image)))
        return upscaled

    def _folded_tail(self, image: Tensor) -> Tensor:
        """Run `_tail` in a tenth of the operations, with other results near edges: see `_upscale`."""
        layers = [*self.upsample, self.conv_last]
        state = state_of(*self.upsample.parameters(), *self.conv_last.parameters())
        if self._folded is None or self._folded[0] != state:
            self._folded = state, *fold_convolutions(layers)
        weight, bias = self._folded[1:]
        image = F.conv2d(self.conv_before_upsample(image), weight, bias, padding=weight.shape[-1] // 2)
        for layer in layers:
            image = layer(image) if isinstance(layer, nn.PixelShuffle) else image
        return image


def fold_convolutions(layers: list[nn.Module]) -> tuple[Tensor, Tensor]:
    """Fold convolutions and pixel shuffles, which are all linear, into one convolution.

    Followed by all the pixel shuffles, it has the results of the layers but for the edges of the image.

    Args:
        layers: 3x3 convolutions and pixel shuffles; the last is a convolution.

    Returns:
        Weight and bias of the convolution.
    """
    weight, bias = _in_double(layers[-1])
    for layer in reversed(layers[:-1]):
        if isinstance(layer, nn.PixelShuffle):
            weight = weight_before_shuffle(weight, layer.upscale_factor)
            bias = bias.repeat_interleave(layer.upscale_factor**2)
        else:
            first, first_bias = _in_double(layer)
            bias = bias + weight.sum((2, 3)) @ first_bias
            turned, grow = weight.flip(2, 3), weight.shape[-1] - 1
            weight = F.conv2d(first.transpose(0, 1), turned, padding=grow).transpose(0, 1)
    kind = next(layers[-1].parameters())
    return weight.to(kind).contiguous(), bias.to(kind)


def _in_double(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias in double precision, on the CPU because MPS does not support it."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return conv.weight.detach().cpu().double(), conv.bias.detach().cpu().double()


def weight_before_shuffle(weight: Tensor, factor: int) -> Tensor:
    """Return the weight of a 3x3 convolution before a pixel shuffle that equals a wider one after it.

    A pixel after the shuffle is one of the factor ** 2 channels of a pixel before it. Its neighbors are
    channels of the same pixel or of the next one.

    Args:
        weight: (out, features, k, k) of the wider convolution, with k <= 2 * factor + 1.
        factor: The factor of the pixel shuffle.
    """
    out, features, size, _ = weight.shape
    wide = weight.new_zeros(out, factor, factor, features, factor, factor, 3, 3)
    steps = [(i, u, *divmod(i + u - size // 2, factor)) for i in range(factor) for u in range(size)]
    for i, u, down, p in steps:
        for j, v, right, q in steps:
            wide[:, i, j, :, p, q, 1 + down, 1 + right] = weight[:, :, u, v]
    return wide.view(out * factor**2, features * factor**2, 3, 3)


def reflect_to(image: Tensor, height: int, width: int) -> Tensor:
    """Extend (N, C, H, W) at the bottom and the right by reflection, repeated as often as necessary.

    A side of one pixel is repeated.
    """
    for axis, wanted in ((-2, height), (-1, width)):
        size = image.shape[axis]
        if wanted > size:
            period = max(1, 2 * size - 2)
            index = torch.arange(wanted, device=image.device) % period
            image = image.index_select(axis, torch.minimum(index, period - index) % size)
    return image
