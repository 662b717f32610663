"""The two attentions of RGT: local windows (L-SA) and recursive generalization (RG-SA).

Tokens are (B, H, W, C) from the first convolution to the last: a linear layer reads them as they are,
and a convolution reads the same memory as a channels-last image. Both attentions add their output to the
residual stream, a strip of rows or a chunk of windows at a time, so that intermediate results fit in the
cache of a processor.
"""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgt_cli.network.kernels import (
    Channels,
    State,
    add_strips,
    assemble,
    attend,
    convolve_channels,
    convolve_tokens,
    project,
    reorder,
    side_by_side,
    state_of,
    strip_tokens,
    strips,
)
from rgt_cli.network.precision import compute_dtype
from rgt_cli.network.windows import MASKED, BranchLayouts, WindowLayout, branch_layouts


def share(dim: int, ratio: float) -> int:
    """Return `dim * ratio` rounded down, although a ratio that was derived from shapes is rounded."""
    return int(dim * ratio + 1e-6)


def heads_of(blocks: list[int], num_heads: int, head_dim: int, width: int) -> Channels:
    """Return the channels of heads, block after block, each head padded with zeros.

    Args:
        blocks: The first channel of each block of consecutive heads.
        num_heads: Heads of a block.
        head_dim: Channels of a head.
        width: Channels of a head with its zeros, which do not change any product.
    """
    heads = [start + head * head_dim for start in blocks for head in range(num_heads)]
    zeros = [-1] * (width - head_dim)
    return tuple(channel for first in heads for channel in [*range(first, first + head_dim), *zeros])


def kernel_width(head_dim: int) -> int:
    """Return the next multiple of 8, because attention and matrix products work on whole vectors."""
    return head_dim + -head_dim % 8


class DynamicPositionBias(nn.Module):
    """The position bias of window attention, computed by a small MLP from relative positions.

    Source: CrossFormer (Wang et al., 2021), used by L-SA (section 3.2 of the RGT paper).
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        hidden = dim // 4

        def layer(out: int) -> nn.Sequential:
            return nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, out))

        self.pos_proj = nn.Linear(2, hidden)
        self.pos1 = layer(hidden)
        self.pos2 = layer(hidden)
        self.pos3 = layer(num_heads)

    def forward(self, offsets: Tensor) -> Tensor:
        """Return (M, heads) biases for (M, 2) offsets in pixels."""
        biases: Tensor = self.pos3(self.pos2(self.pos1(self.pos_proj(offsets))))
        return biases


class WindowAttention(nn.Module):
    """Self-attention inside the rectangular windows of one branch of L-SA.

    Args:
        dim: Channels of this branch.
        num_heads: Heads of this branch.
        window: Height and width of a window in pixels.
        first: The first channel of this branch among the query channels of both branches.
    """

    def __init__(self, dim: int, num_heads: int, window: tuple[int, int], first: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.head_dim = dim // num_heads
        blocks = [first, first + 2 * dim, first + 4 * dim]  # q of both branches, then k, then v
        self.width = kernel_width(self.head_dim)
        self.rows = heads_of(blocks, num_heads, self.head_dim, self.width)
        self.pos = DynamicPositionBias(dim // 4, num_heads)
        self._folded: tuple[State, list[Tensor]] | None = None

    def forward(
        self, x: Tensor, qkv: nn.Linear, layout: WindowLayout
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Attend in all windows, a chunk of them at a time.

        Args:
            x: (B, H * W, 2 * dim) tokens of both branches.
            qkv: The projection to queries, keys and values of both branches.
            layout: The order of the tokens by window.

        Yields:
            The output of attention and the values, each (B, n, heads * width) in the order of `layout`.
        """
        size = self.window[0] * self.window[1]
        scale, start = self.head_dim**-0.5, 0
        for bias, (count, _) in zip(self._biases(layout, compute_dtype(x)), layout.kinds, strict=True):
            step = max(1, count if torch.is_grad_enabled() else strip_tokens(x) // size)
            for first in range(0, count, step):
                end = start + min(step, count - first) * size
                parts = project(qkv, reorder(x, layout.order[start:end], layout.back), self.rows)
                if layout.real is not None:  # padding is zero after the projection and its bias
                    parts = parts * layout.real[start:end].to(parts.dtype)
                windows = parts.view(-1, size, 3, self.num_heads, self.width)
                q, k, v = windows.permute(2, 0, 3, 1, 4)
                attended = attend(q, k, v, bias, scale)
                yield attended.reshape(len(x), end - start, -1), parts.chunk(3, dim=-1)[2]
                start = end

    def _biases(self, layout: WindowLayout, dtype: torch.dtype) -> list[Tensor]:
        """Return the (heads, n, n) biases of each kind of window: of positions, and of masks.

        They are cached unless autograd needs them. The kinds are the same for all sizes of images.
        """
        state = (dtype, *state_of(*self.pos.parameters()))
        if torch.is_grad_enabled() or self._folded is None or self._folded[0] != state:
            bias = self._position_bias()
            biases = [
                (bias if split is None else bias + MASKED * split).to(dtype) for _, split in layout.kinds
            ]
            if torch.is_grad_enabled():
                return biases
            self._folded = state, biases
        return self._folded[1]

    def _position_bias(self) -> Tensor:
        """Return the (heads, n, n) position bias in fp32."""
        win_h, win_w = self.window
        weight = self.pos.pos_proj.weight
        y = torch.arange(1 - win_h, win_h, device=weight.device)
        x = torch.arange(1 - win_w, win_w, device=weight.device)
        with torch.autocast(weight.device.type, enabled=False):
            table: Tensor = self.pos(torch.cartesian_prod(y, x).to(weight.dtype))
        row = torch.arange(win_h, device=weight.device).repeat_interleave(win_w)
        column = torch.arange(win_w, device=weight.device).repeat(win_h)
        dy = row[:, None] - row + win_h - 1
        dx = column[:, None] - column + win_w - 1
        return table[dy * (2 * win_w - 1) + dx].permute(2, 0, 1).contiguous()


class LocalSelfAttention(nn.Module):
    """L-SA: half of the channels attend in H_sp x W_sp windows, the other half in W_sp x H_sp windows.

    Source: section 3.2 of the RGT paper; the windows are those of CAT (Chen et al., 2022).

    Args:
        dim: Channels of a token.
        num_heads: Heads of both branches together.
        split_size: (H_sp, W_sp), the window of the first branch in pixels.
        qkv_bias: Give the projection to queries, keys and values a bias.
        shifted: Shift the windows of this block by half a window.
    """

    def __init__(
        self, dim: int, num_heads: int, split_size: tuple[int, int], qkv_bias: bool, shifted: bool
    ) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.proj = nn.Linear(dim, dim)
        self.split_size, self.is_shifted = split_size, shifted

        def branch(index: int, window: tuple[int, int]) -> WindowAttention:
            return WindowAttention(dim // 2, num_heads // 2, window, index * dim // 2)

        self.attns = nn.ModuleList([branch(0, split_size), branch(1, split_size[::-1])])
        head_dim = dim // num_heads
        self.columns = heads_of([0], num_heads, head_dim, kernel_width(head_dim))

    def forward(self, x: Tensor, norm: nn.LayerNorm, out: Tensor | None = None) -> Tensor:
        """Return `x` plus L-SA of `norm(x)`.

        Args:
            x: (B, H, W, C) residual stream.
            norm: The normalization before the attention.
            out: Memory for the result; None allocates it.
        """
        height, width = x.shape[1:3]
        dtype = compute_dtype(x)
        parts = (norm(x[:, top:end]).to(dtype) for top, end in strips(x))
        normed = assemble(parts, height, out).flatten(1, 2)  # `out` is not needed before the end
        layouts = branch_layouts(height, width, self.split_size, self.is_shifted, x.device)
        branches = zip(self.attns, layouts.branches, strict=True)
        chunks = itertools.chain(*(attn(normed, self.qkv, layout) for attn, layout in branches))
        both = side_by_side(chunks, normed, len(layouts.order))
        del normed
        return add_strips(x, self._strips(x, layouts, both), out)

    def _strips(self, x: Tensor, layouts: BranchLayouts, both: Tensor) -> Iterator[Tensor]:
        """Yield the output of L-SA for strips of rows.

        Args:
            x: (B, H, W, C) residual stream, for its shape.
            layouts: The order of the tokens in each branch.
            both: (B, P1 + P2, 2, C / 2) outputs of attention and values, branch after branch.
        """
        batch, height, width, _ = x.shape
        for top, bottom in strips(x):
            above, below = max(0, top - 1), min(height, bottom + 1)
            places = layouts.places[above * width : below * width].flatten()
            tokens = reorder(both, places, layouts.order)
            tokens = tokens.view(batch, below - above, width, 2, 2, -1)
            attended, values = tokens.unbind(dim=4)
            local = convolve_channels(self.get_v, values.flatten(3), self.columns).view_as(values)
            rows = slice(top - above, bottom - above)
            yield project(
                self.proj, (attended[:, rows] + local[:, rows]).flatten(3), columns=self.columns
            )


def recursions(height: int, width: int) -> int:
    """Return how many times the recursive generalization module reduces an image of this size in pixels.

    This is max(2, floor(log4(H / 16)), floor(log4(W / 16))), computed in integers.

    Source: section 4.1 of the RGT paper.
    """
    times, side = 2, max(height, width) // 16
    while side >= 4 ** (times + 1):
        times += 1
    return times


class RecursiveGeneralizationSelfAttention(nn.Module):
    """RG-SA: every pixel attends to a representative map that is a few pixels wide.

    The recursive generalization module repeats one depth-wise convolution of stride 4 until the map has
    a nearly constant size, so the cost is linear in the pixels of the image.

    Source: section 3.3 of the RGT paper.

    Args:
        dim: Channels of a token.
        num_heads: Attention heads.
        qkv_bias: Give the projections to queries, keys and values a bias.
        c_ratio: Channels of queries and keys as a share of `dim`.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, c_ratio: float) -> None:
        super().__init__()
        reduced = share(dim, c_ratio)
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = (self.head_dim * c_ratio) ** -0.5
        # Fused attention needs queries and keys as wide as values, so the weights are padded with zeros.
        self.width = kernel_width(self.head_dim)
        self.rows = heads_of([0], num_heads, reduced // num_heads, self.width)
        self.columns = heads_of([0], num_heads, self.head_dim, self.width)
        self.reduction1 = nn.Conv2d(dim, dim, 4, stride=4, groups=dim)
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.conv = nn.Conv2d(dim, reduced, 1)
        self.norm_act = nn.Sequential(nn.LayerNorm(reduced), nn.GELU())
        self.q = nn.Linear(dim, reduced, bias=qkv_bias)
        self.k = nn.Linear(reduced, reduced, bias=qkv_bias)
        self.v = nn.Linear(reduced, dim, bias=qkv_bias)
        self.cpe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, norm: nn.LayerNorm, out: Tensor | None = None) -> Tensor:
        """Return `x` plus RG-SA of `norm(x)`.

        Args:
            x: (B, H, W, C) residual stream. Both sides are 4 ** recursions(H, W) or more.
            norm: The normalization before the attention.
            out: Memory for the result; None allocates it.
        """
        representative = self._generalize(x, norm)
        v = self.v(representative)
        v = v + convolve_tokens(self.cpe, v)
        k = project(self.k, representative, self.rows)
        v = F.pad(v.unflatten(-1, (self.num_heads, -1)), (0, self.width - self.head_dim))
        k, v = (t.reshape(len(x), -1, self.num_heads, self.width).transpose(1, 2) for t in (k, v))
        return add_strips(x, self._strips(x, norm, k, v), out)

    def _generalize(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Reduce (B, H, W, C) tokens to a (B, h, w, c_ratio * C) map: recursive generalization."""
        height, width = x.shape[1:3]
        times = recursions(height, width)
        parts = (
            convolve_tokens(self.reduction1, norm(x[:, top:bottom]))
            for top, bottom in strips(x[:, : height // 4 * 4], multiple=4)
        )
        reduced = assemble(parts, height // 4).permute(0, 3, 1, 2)
        for _ in range(times - 1):
            reduced = self.reduction1(reduced)
        representative: Tensor = self.conv(self.dwconv(reduced)).permute(0, 2, 3, 1)
        normed: Tensor = self.norm_act(representative)
        return normed

    def _strips(self, x: Tensor, norm: nn.LayerNorm, k: Tensor, v: Tensor) -> Iterator[Tensor]:
        """Yield the output of RG-SA for strips of rows of `x`."""
        for top, bottom in strips(x):
            part = x[:, top:bottom]
            q = project(self.q, norm(part), self.rows)
            q = q.view(len(x), -1, self.num_heads, self.width).transpose(1, 2)
            attended = attend(q, k, v, None, self.scale).reshape(*part.shape[:3], -1)
            yield project(self.proj, attended, columns=self.columns)
