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
    add_strips,
    assemble,
    convolve_tokens,
    lagging,
    project,
    state_of,
    strips,
)

CONVOLUTION_TOKENS = 1 << 15
"""How many tokens the convolutions outside the blocks take at a time, which keeps them small."""
TAIL_TOKENS = 1 << 14
"""The same for the tail, which makes more of each token."""
TAIL_REACH = 3
"""How many pixels of its input to each side the tail sees: 1 + 1 + 1/2 + 1/4 + ... < 3."""

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean RGB of the training set of the paper; subtracted from three-channel input."""


@dataclass(frozen=True)
class RGTConfig:
    """The hyper-parameters of one RGT. The defaults are those of the published RGT-S at x4."""

    upscale: int = 4
    """Scale factor: 1, 3 or a power of two."""
    in_chans: int = 3
    """Channels of the image, in and out."""
    embed_dim: int = 180
    """Channels of a token."""
    depth: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
    """Blocks of each residual group; they alternate L-SA, RG-SA, L-SA, ..."""
    num_heads: tuple[int, ...] = (6, 6, 6, 6, 6, 6)
    """Attention heads of each residual group; an even number, half of them for each L-SA branch."""
    mlp_ratio: float = 2.0
    """Hidden channels of the MLP as a multiple of `embed_dim`; the gate halves them."""
    qkv_bias: bool = True
    """Whether the projections to queries, keys and values add a bias."""
    split_size: tuple[int, int] = (8, 32)
    """Height and width of the windows of L-SA's first branch, in pixels; the second turns them."""
    c_ratio: float = 0.5
    """Channels of RG-SA's queries and keys as a share of `embed_dim`."""
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
        """(B, H, W, 2 * dim) -> (B, H, W, dim)."""
        kept, gate = x.chunk(2, dim=-1)
        return kept * convolve_tokens(self.conv, self.norm(gate))


class GatedMLP(nn.Module):
    """Two linear layers with GELU and a spatial gate between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.sg = SpatialGate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, dim)

    def forward(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Add the MLP of `norm(x)` to the (B, H, W, C) residual stream, in place without autograd."""
        return add_strips(x, self._strips(x, norm), out=x)

    def _strips(self, x: Tensor, norm: nn.LayerNorm) -> Iterator[Tensor]:
        parts = (project(self.fc1, norm(x[:, top:bottom]), gelu=True) for top, bottom in strips(x))
        for hidden, inner in lagging(parts, x.shape[1]):
            yield project(self.fc2, self.sg(hidden)[:, inner])


class Block(nn.Module):
    """A transformer block around either attention, closed by hybrid adaptive integration (HAI).

    HAI adds the block's input, scaled per channel by the learned `gamma` (section 3.4 of the paper).
    """

    def __init__(self, dim: int, attention: nn.Module, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GatedMLP(dim, share(dim, mlp_ratio))
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C), in the memory of `out` if given."""
        out = self.mlp(self.attn(x, self.norm1, out), self.norm2)
        if torch.is_grad_enabled():
            return torch.addcmul(out, x, self.gamma)
        return out.addcmul_(x, self.gamma)


class ResidualGroup(nn.Module):
    """Alternating L-SA and RG-SA blocks, a convolution, and a shortcut around them.

    L-SA blocks take plain and shifted turns; odd groups begin with a shifted one.
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
        """(B, H, W, C) -> (B, H, W, C), in place without autograd."""
        shortcut, spare = x, None
        for block in self.blocks:
            out = block(x, spare)
            spare = None if x is shortcut else x
            x = out
        return add_convolution(self.conv, x, shortcut)


def residual_connection(config: RGTConfig) -> nn.Module:
    """The convolution that ends a residual group and the body."""
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
    """`shortcut` plus a residual connection over (B, H, W, C) tokens, in place without autograd."""
    height, reach = x.shape[1], 2  # "3conv" sees two pixels to each side

    def parts() -> Iterator[Tensor]:
        for top, bottom in strips(x, tokens=CONVOLUTION_TOKENS):
            above, below = max(0, top - reach), min(height, bottom + reach)
            rows = x[:, above:below]
            y = convolve_tokens(conv, rows if norm is None else norm(rows))
            yield y[:, top - above : bottom - above]

    return add_strips(shortcut, parts(), out=shortcut)


def pixel_shuffle_tail(upscale: int, features: int) -> nn.Sequential:
    """Convolutions and pixel shuffles that enlarge (N, features, H, W) by `upscale`.

    Raises:
        ValueError: `upscale` is neither 3 nor a power of two.
    """
    if upscale == 3:
        factors = [3]
    elif upscale >= 1 and upscale & (upscale - 1) == 0:
        factors = [2] * int(math.log2(upscale))
    else:
        raise ValueError(f"no pixel-shuffle tail enlarges by {upscale}")
    layers: list[nn.Module] = []
    for factor in factors:
        layers.append(nn.Conv2d(features, features * factor**2, 3, padding=1))
        layers.append(nn.PixelShuffle(factor))
    return nn.Sequential(*layers)


class RGT(nn.Module):
    """The whole network: (N, in_chans, H, W) in 0..1 -> (N, in_chans, s * H, s * W), not clamped.

    Any size from 1x1 up is accepted: one that the recursive generalization module cannot reduce
    is extended by reflection and the result cropped. The residual stream stays in fp32 under
    `torch.autocast`.

    Raises:
        ValueError: `config.upscale` has no tail.
    """

    features = 64
    """Channels of the "pixelshuffle" tail."""

    mean: Tensor

    def __init__(self, config: RGTConfig) -> None:
        super().__init__()
        self.config = config
        dim, channels = config.embed_dim, config.in_chans
        mean = DIV2K_MEAN if channels == 3 else (0.0,) * channels
        mean_tensor = torch.tensor(mean, device="cpu").view(1, -1, 1, 1)  # real even in a meta network
        self.register_buffer("mean", mean_tensor, persistent=False)
        self.conv_first = nn.Conv2d(channels, dim, 3, padding=1)
        # Slot 0 of the published sequence holds no weights; the keys of its checkpoints count it.
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
            self._folded: tuple[tuple, Tensor, Tensor] | None = None

    def forward(self, image: Tensor) -> Tensor:
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
        enlarged = self._enlarge(deep)
        scale = self.config.upscale
        return enlarged[..., : height * scale, : width * scale].float() + self.mean

    def _enlarge(self, deep: Tensor) -> Tensor:
        """Run the tail over (B, H, W, C) tokens: (B, in_chans, s * H, s * W)."""
        if self.config.upsampler == "direct":
            return self._enlarge_strips(deep, self.upsample)
        if torch.is_grad_enabled():
            return self._tail(deep.permute(0, 3, 1, 2))
        image = self._enlarge_strips(deep, self._folded_tail)
        # Around the image each convolution sees zeros; the folded one, what the others make of zeros.
        scale, seen = self.config.upscale, TAIL_REACH + 1
        for near, at in (
            (slice(None, seen), slice(None, scale)),
            (slice(-seen, None), slice(-scale, None)),
        ):
            image[:, :, at] = self._tail(deep[:, near].permute(0, 3, 1, 2))[:, :, at]
            image[..., at] = self._tail(deep[:, :, near].permute(0, 3, 1, 2))[..., at]
        return image

    def _enlarge_strips(self, deep: Tensor, tail: Callable[[Tensor], Tensor]) -> Tensor:
        """Run `tail`, from (B, C, n, W) to (B, in_chans, s * n, s * W), over strips of n rows."""
        height, scale = deep.shape[1], self.config.upscale

        def parts() -> Iterator[Tensor]:
            for top, bottom in strips(deep, tokens=TAIL_TOKENS):
                above, below = max(0, top - TAIL_REACH), min(height, bottom + TAIL_REACH)
                image = tail(deep[:, above:below].permute(0, 3, 1, 2))
                yield image[:, :, (top - above) * scale : (bottom - above) * scale].transpose(1, 2)

        return assemble(parts(), height * scale).transpose(1, 2)

    def _tail(self, image: Tensor) -> Tensor:
        """The "pixelshuffle" tail as it is: (B, C, H, W) tokens -> (B, in_chans, s * H, s * W)."""
        return self.conv_last(self.upsample(self.conv_before_upsample(image)))

    def _folded_tail(self, image: Tensor) -> Tensor:
        """The same in a tenth of the operations, but not for the outermost pixels: see `_enlarge`."""
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
    """Weight and bias of one convolution that, with all pixel shuffles after it, does what `layers` do.

    Nothing that is not linear lies between them; only at the edges of the image do they differ.

    Args:
        layers: 3x3 convolutions and pixel shuffles; the last is a convolution.
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
    """Weight and bias in double precision, on the processor: MPS has none."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return conv.weight.detach().cpu().double(), conv.bias.detach().cpu().double()


def weight_before_shuffle(weight: Tensor, factor: int) -> Tensor:
    """Weight of a 3x3 convolution that does before a pixel shuffle what a wider one does after it.

    A pixel of the enlarged image is one of factor ** 2 channels of a pixel of the small one, and so are
    its neighbors: of the same pixel, or of the next.

    Args:
        weight: (out, features, k, k), k <= 2 * factor + 1.
    """
    out, features, size, _ = weight.shape
    wide = weight.new_zeros(out, factor, factor, features, factor, factor, 3, 3)
    steps = [(i, u, *divmod(i + u - size // 2, factor)) for i in range(factor) for u in range(size)]
    for i, u, down, p in steps:
        for j, v, right, q in steps:
            wide[:, i, j, :, p, q, 1 + down, 1 + right] = weight[:, :, u, v]
    return wide.view(out * factor**2, features * factor**2, 3, 3)


def reflect_to(image: Tensor, height: int, width: int) -> Tensor:
    """Extend (N, C, H, W) at the bottom and the right by mirroring at its edges, as often as needed.

    A side of one pixel has nothing to mirror and is repeated.
    """
    for axis, wanted in ((-2, height), (-1, width)):
        size = image.shape[axis]
        if wanted > size:
            period = max(1, 2 * size - 2)
            index = torch.arange(wanted, device=image.device) % period
            image = image.index_select(axis, torch.minimum(index, period - index) % size)
    return image
