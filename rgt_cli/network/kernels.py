"""The few operations that RGT spends its time in, each done in the fastest way PyTorch has for it.

Under autograd, and wherever a fast way is missing, all of them are what their names say, plainly.
"""

import itertools
import weakref
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIP_TOKENS = {"cpu": 1 << 12, "cuda": 1 << 20, "mps": 1 << 18}
"""How many tokens are worked on at a time: few enough for the caches of a processor."""

Rows = tuple[int, ...]
"""Chosen outputs of a linear layer; -1 is an output that is always zero."""

Packed = tuple[tuple, tuple[Tensor, Tensor | None]]
_packed_weights: weakref.WeakKeyDictionary[nn.Module, dict[Rows | None, Packed]]
_packed_weights = weakref.WeakKeyDictionary()


def convolve_tokens(conv: nn.Module, x: Tensor) -> Tensor:
    """Run a convolution over (B, H, W, C) tokens and return tokens."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def strips(
    height: int, width: int, device: torch.device, multiple: int = 1, tokens: int | None = None
) -> Iterator[tuple[int, int]]:
    """Cut rows into (first, last + 1) strips; one strip under autograd.

    Args:
        multiple: all strips but the last have a multiple of so many rows.
        tokens: about how many tokens a strip has; None is STRIP_TOKENS of the device.
    """
    rows = height
    if not torch.is_grad_enabled():
        wanted = (tokens or STRIP_TOKENS[device.type]) // width
        rows = max(multiple, 2, wanted // multiple * multiple)  # 2: see `lagging`
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def lagging(parts: Iterator[Tensor], height: int) -> Iterator[tuple[Tensor, slice]]:
    """Prepend to each strip of rows the last two of the one before, so that a 3x3 convolution goes on.

    Args:
        parts: (B, n, ...) strips of an image of `height` rows, the first of two rows or more.

    Yields:
        A strip, and which of its rows have both neighbours in it: all rows of the image, once each.
    """
    carried, done = None, 0
    for part in parts:
        done += part.shape[1]
        rows = part if carried is None else torch.cat([carried, part], dim=1)
        yield rows, slice(0 if carried is None else 1, None if done == height else -1)
        carried = rows[:, -2:]


def state_of(*tensors: Tensor | None) -> tuple:
    """Something that changes when any of these weights does."""
    return tuple(
        (t.data_ptr(), t.dtype, t.device, 0 if t.is_inference() else t._version)
        for t in tensors
        if t is not None
    )


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype that matrix products have: that of autocast where it is on, else that of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def project(
    linear: nn.Linear,
    x: Tensor,
    rows: Rows | None = None,
    gelu: bool = False,
) -> Tensor:
    """`linear(x)`, then GELU if asked for.

    Args:
        x: (..., C) tokens.
        rows: which outputs, and in what order; None is all of them as they are.
    """
    dtype = compute_dtype(x)
    packed = None if torch.is_grad_enabled() or x.device.type != "cpu" else _pack(linear, rows, dtype)
    if packed is None:
        y = F.linear(x, *_pick(linear, rows))
        return F.gelu(y) if gelu else y
    weight, bias = packed
    flat = x.to(dtype).reshape(-1, x.shape[-1])
    y = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "gelu" if gelu else "none", [], "none")
    return y.view(*x.shape[:-1], -1)


def _pick(linear: nn.Linear, rows: Rows | None) -> tuple[Tensor, Tensor | None]:
    """The chosen rows of weight and bias."""
    if rows is None:
        return linear.weight, linear.bias
    index = torch.tensor(rows, device=linear.weight.device)
    weight = F.pad(linear.weight, (0, 0, 0, 1))[index]  # the last row, -1, is zero
    return weight, None if linear.bias is None else F.pad(linear.bias, (0, 1))[index]


def _pack(
    linear: nn.Linear, rows: Rows | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias as oneDNN likes them best; None where it cannot be had."""
    if not torch.backends.mkldnn.is_available() or dtype not in (torch.float32, torch.bfloat16):
        return None
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    state = (dtype, *state_of(linear.weight, linear.bias))
    known = _packed_weights.setdefault(linear, {})
    if rows not in known or known[rows][0] != state:
        weight, bias = _pick(linear, rows)
        weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous())
        known[rows] = state, (weight, None if bias is None else bias.detach().to(dtype))
    return known[rows][1]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Scaled dot-product attention of (N, heads, L, D) queries over (N, heads, S, D) keys and values.

    Args:
        bias: (heads, L, S), added to the logits.

    Returns:
        (N, L, heads, D).
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and not torch.is_grad_enabled():
        return _attend_by_products(q, k, v, bias, scale)
    mask = None if bias is None else bias.to(q.dtype).unsqueeze(0)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.transpose(1, 2)


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """The same by two batched products, which oneDNN does faster in bf16 than the fused kernel."""
    count, heads, length, _ = q.shape
    out = q.new_empty(count, length, heads, v.shape[-1])
    for head in range(heads):
        keys = k[:, head].transpose(1, 2)
        if bias is None:
            logits = torch.bmm(q[:, head], keys).mul_(scale)
        else:
            added = bias[head].to(q.dtype).expand(count, -1, -1)
            logits = torch.baddbmm(added, q[:, head], keys, alpha=scale)
        out[:, :, head] = torch.bmm(logits.softmax(-1), v[:, head])
    return out


class _Reorder(torch.autograd.Function):
    """A permutation of tokens, whose gradient is the permutation back."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, order: Tensor, back: Tensor
    ) -> Tensor:
        ctx.save_for_backward(order, back)
        return x.index_select(1, order)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        _, back = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient.index_select(1, back), None, None


def reorder(x: Tensor, order: Tensor, back: Tensor) -> Tensor:
    """Put (B, N, C) tokens into `order`; `back` is its inverse where it is a permutation of them all."""
    if torch.is_grad_enabled() and len(order) == len(back):
        return _Reorder.apply(x, order, back)
    return x.index_select(1, order)


def assemble(parts: Iterator[Tensor], length: int, out: Tensor | None = None) -> Tensor:
    """Put (B, n, ...) parts one after the other into one (B, length, ...) tensor.

    Args:
        out: memory of that shape to put them in, used if it has their dtype. Not used under autograd.
    """
    if torch.is_grad_enabled():
        return torch.cat(list(parts), dim=1)
    first = next(parts)
    if out is None or out.dtype != first.dtype:
        out = first.new_empty((first.shape[0], length, *first.shape[2:]))
    done = 0
    for part in itertools.chain([first], parts):
        out[:, done : done + part.shape[1]] = part
        done += part.shape[1]
    return out


def add_strips(x: Tensor, parts: Iterator[Tensor], out: Tensor | None) -> Tensor:
    """`x` plus the (B, n, ...) parts one after the other.

    Args:
        out: where the sum goes, `x` itself at choice; None takes new memory. Not used under autograd.
    """
    if torch.is_grad_enabled():
        return x + torch.cat(list(parts), dim=1)
    out = torch.empty_like(x) if out is None else out
    done = 0
    for part in parts:
        rows = slice(done, done + part.shape[1])
        torch.add(x[:, rows], part, out=out[:, rows])
        done = rows.stop
    return out
