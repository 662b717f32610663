"""The two attentions of RGT: local windows (L-SA) and recursive generalization (RG-SA).

Tokens travel as (B, H, W, C) from the first convolution to the last: a linear layer reads them
as they are, and a convolution sees the same memory as a channels-last image.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED = -100.0
"""Added to the logit of two tokens that a shifted window joins and the image does not."""

Region = tuple[slice | Tensor, slice | Tensor, Tensor]
"""Rows and columns of an image that hold windows of one kind, and the bias of those windows."""


def convolve_tokens(conv: nn.Module, x: Tensor) -> Tensor:
    """Run a convolution over (B, H, W, C) tokens and return tokens."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def share(dim: int, ratio: float) -> int:
    """`dim * ratio` rounded down, forgiving the rounding of a ratio that was read off shapes."""
    return int(dim * ratio + 1e-6)


class DynamicPositionBias(nn.Module):
    """The bias of a window's attention, computed by a small MLP from relative positions.

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
        """(M, 2) offsets in pixels -> (M, heads) biases."""
        return self.pos3(self.pos2(self.pos1(self.pos_proj(offsets))))


class WindowAttention(nn.Module):
    """Self-attention inside the rectangular windows of one branch of L-SA.

    Args:
        dim: channels of this branch.
        num_heads: heads of this branch.
        window: height and width of a window, in pixels.
        shift: how far windows are moved down and right, in pixels; (0, 0) for a plain turn.
    """

    def __init__(
        self, dim: int, num_heads: int, window: tuple[int, int], shift: tuple[int, int]
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        self.pos = DynamicPositionBias(dim // 4, num_heads)
        self._folded: tuple[tuple, Tensor] | None = None

    def forward(self, qkv: Tensor) -> Tensor:
        """(B, H, W, 3, C) queries, keys and values -> (B, H, W, C); windows must tile H x W."""
        bias = self._bias()
        if self.shift == (0, 0):
            return self._attend(qkv, bias)
        out = qkv.new_empty(qkv.shape[:3] + qkv.shape[4:])
        for rows, columns, kind_bias in self._shifted_regions(qkv.shape[1:3], bias):
            out[:, rows, columns] = self._attend(qkv[:, rows, columns], kind_bias)
        return out

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        batch, height, width, _, channels = qkv.shape
        win_h, win_w = self.window
        rows, columns = height // win_h, width // win_w
        head_dim = channels // self.num_heads
        parts = qkv.reshape(batch, rows, win_h, columns, win_w, 3, self.num_heads, head_dim)
        parts = parts.permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = parts.reshape(3, -1, self.num_heads, win_h * win_w, head_dim).unbind()
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype).unsqueeze(0))
        out = out.reshape(batch, rows, columns, self.num_heads, win_h, win_w, head_dim)
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, channels)

    def _shifted_regions(self, size: torch.Size, bias: Tensor) -> Iterator[Region]:
        """Yield (rows, columns, bias) of the four kinds of shifted window.

        A window that wraps around an edge holds pixels of both edges, which must not see each
        other. Only the last row and the last column of windows wrap, so interior, right edge,
        bottom edge and corner are all there is, each with one bias for all its windows.
        """
        (height, width), (win_h, win_w), (down, right) = size, self.window, self.shift
        device = bias.device
        wrapped_rows = (torch.arange(height - win_h, height, device=device) + down) % height
        wrapped_columns = (torch.arange(width - win_w, width, device=device) + right) % width
        far_rows = (torch.arange(win_h, device=device) >= win_h - down).repeat_interleave(win_w)
        far_columns = (torch.arange(win_w, device=device) >= win_w - right).repeat(win_h)
        split_rows = far_rows[:, None] != far_rows
        split_columns = far_columns[:, None] != far_columns

        inner_rows = slice(down, down + height - win_h)
        inner_columns = slice(right, right + width - win_w)
        if height > win_h and width > win_w:
            yield inner_rows, inner_columns, bias
        if height > win_h:
            yield inner_rows, wrapped_columns, bias + MASKED * split_columns
        if width > win_w:
            yield wrapped_rows, inner_columns, bias + MASKED * split_rows
        yield wrapped_rows[:, None], wrapped_columns, bias + MASKED * (split_rows | split_columns)

    def _bias(self) -> Tensor:
        """The (heads, N, N) position bias: computed anew under autograd, folded once otherwise."""
        if torch.is_grad_enabled():
            return self._compute_bias()
        state = tuple(
            (p.data_ptr(), p.dtype, 0 if p.is_inference() else p._version) for p in self.pos.parameters()
        )
        if self._folded is None or self._folded[0] != state:
            self._folded = state, self._compute_bias()
        return self._folded[1]

    def _compute_bias(self) -> Tensor:
        win_h, win_w = self.window
        weight = self.pos.pos_proj.weight
        y = torch.arange(1 - win_h, win_h, device=weight.device)
        x = torch.arange(1 - win_w, win_w, device=weight.device)
        with torch.autocast(weight.device.type, enabled=False):
            table = self.pos(torch.cartesian_prod(y, x).to(weight.dtype))
        row = torch.arange(win_h, device=weight.device).repeat_interleave(win_w)
        column = torch.arange(win_w, device=weight.device).repeat(win_h)
        dy = row[:, None] - row + win_h - 1
        dx = column[:, None] - column + win_w - 1
        return table[dy * (2 * win_w - 1) + dx].permute(2, 0, 1).contiguous()


class LocalSelfAttention(nn.Module):
    """L-SA: half of the channels attend in H_sp x W_sp windows, the other half in W_sp x H_sp ones.

    Source: section 3.2 of the RGT paper; the windows are those of CAT (Chen et al., 2022).

    Args:
        dim: channels of a token.
        num_heads: heads of both branches together.
        split_size: (H_sp, W_sp), the window of the first branch, in pixels.
        shifted: whether this block takes the shifted turn (by half a window).
    """

    def __init__(
        self, dim: int, num_heads: int, split_size: tuple[int, int], qkv_bias: bool, shifted: bool
    ) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.get_v = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.proj = nn.Linear(dim, dim)
        self.multiple = max(split_size)

        def branch(window: tuple[int, int]) -> WindowAttention:
            shift = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
            return WindowAttention(dim // 2, num_heads // 2, window, shift)

        self.attns = nn.ModuleList([branch(split_size), branch(split_size[::-1])])

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, dim = x.shape
        qkv = self.qkv(x)
        local = convolve_tokens(self.get_v, qkv[..., 2 * dim :])
        # The published network pads with zeros after the projection, so padded keys have no bias.
        qkv = F.pad(qkv, (0, 0, 0, -width % self.multiple, 0, -height % self.multiple))
        qkv = qkv.view(batch, *qkv.shape[1:3], 3, 2, dim // 2)
        halves = [attn(qkv[..., i, :])[:, :height, :width] for i, attn in enumerate(self.attns)]
        del qkv
        return self.proj(torch.cat(halves, dim=-1) + local)


def recursions(height: int, width: int) -> int:
    """How often the recursive generalization module reduces an image of this size (in pixels).

    max(2, floor(log4(H / 16)), floor(log4(W / 16))), in integers: section 4.1 of the RGT paper.
    """
    times, side = 2, max(height, width) // 16
    while side >= 4 ** (times + 1):
        times += 1
    return times


class RecursiveGeneralizationSelfAttention(nn.Module):
    """RG-SA: every pixel attends to a representative map a few pixels wide.

    The recursive generalization module applies one stride-4 depth-wise convolution again and
    again until the map is of nearly constant size, so the cost stays linear in pixels.

    Source: section 3.3 of the RGT paper.

    Args:
        dim: channels of a token.
        c_ratio: channels of queries and keys as a share of `dim`.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, c_ratio: float) -> None:
        super().__init__()
        reduced = share(dim, c_ratio)
        self.num_heads = num_heads
        self.scale = (dim // num_heads * c_ratio) ** -0.5
        self.reduction1 = nn.Conv2d(dim, dim, 4, stride=4, groups=dim)
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.conv = nn.Conv2d(dim, reduced, 1)
        self.norm_act = nn.Sequential(nn.LayerNorm(reduced), nn.GELU())
        self.q = nn.Linear(dim, reduced, bias=qkv_bias)
        self.k = nn.Linear(reduced, reduced, bias=qkv_bias)
        self.v = nn.Linear(reduced, dim, bias=qkv_bias)
        self.cpe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C); the shorter side must be 4 ** recursions or more."""
        batch, height, width, dim = x.shape
        reduced = x.permute(0, 3, 1, 2)
        for _ in range(recursions(height, width)):
            reduced = self.reduction1(reduced)
        reduced = self.conv(self.dwconv(reduced)).permute(0, 2, 3, 1)
        representative = self.norm_act(reduced)

        v = self.v(representative)
        v = v + convolve_tokens(self.cpe, v)
        q, k, v = (
            t.reshape(batch, -1, self.num_heads, t.shape[-1] // self.num_heads).transpose(1, 2)
            for t in (self._widened(self.q, x), self._widened(self.k, representative), v)
        )
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(out.transpose(1, 2).reshape(batch, height, width, dim))

    def _widened(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """Project, with zeros appended to each head until it is as wide as a head of the values.

        Fused attention wants q, k and v equally wide; anything else falls back to a matrix of
        pixels x reduced pixels. Zeros in the weights change no product and cost no copy.
        """
        head_dim = self.v.out_features // self.num_heads
        missing = head_dim - linear.out_features // self.num_heads
        if missing == 0:
            return linear(x)
        weight = linear.weight.unflatten(0, (self.num_heads, -1))
        weight = F.pad(weight, (0, 0, 0, missing)).flatten(0, 1)
        bias: Tensor | None = linear.bias
        if bias is not None:
            bias = F.pad(bias.unflatten(0, (self.num_heads, -1)), (0, missing)).flatten()
        return F.linear(x, weight, bias)
