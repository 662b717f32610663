"""The few operations that RGT spends its time in, each done in the fastest way PyTorch has for it.

Under autograd, and wherever a fast way is missing, all of them are what their names say, plainly.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIP_VALUES = {"cpu": 180 << 12, "cuda": 180 << 18, "mps": 180 << 18}
"""How many numbers of the residual stream are worked on at a time: few enough for the caches of a
processor, many enough for the cost of a call to be small beside what it does."""

Channels = tuple[int, ...]
"""Chosen channels of a layer, in the order wanted; -1 is a channel that is always zero."""

Weights = tuple[Tensor, Tensor | None]
_kept_weights: weakref.WeakKeyDictionary[nn.Module, dict[tuple, tuple[tuple, Weights]]]
_kept_weights = weakref.WeakKeyDictionary()


def convolve_tokens(conv: nn.Module, x: Tensor) -> Tensor:
    """Run a convolution over (B, H, W, C) tokens and return tokens."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def convolve_channels(conv: nn.Conv2d, x: Tensor, channels: Channels) -> Tensor:
    """Run a depth-wise 3x3 convolution over (B, H, W, C) tokens that hold these channels of it."""
    weight, bias = _kept(conv, (channels,), lambda: _pick(conv, channels, None))
    image = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1, groups=len(channels))
    return image.permute(0, 2, 3, 1)


def strip_tokens(x: Tensor) -> int:
    """About how many of the (..., C) tokens of `x` are worked on at a time."""
    return max(1, STRIP_VALUES[x.device.type] // x.shape[-1])


def strips(x: Tensor, multiple: int = 1, tokens: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut the rows of (B, H, W, C) tokens into (first, last + 1) strips; one strip under autograd.

    Args:
        multiple: all strips but the last have a multiple of so many rows.
        tokens: about how many tokens of an image a strip has; None is `strip_tokens`.
    """
    height, width = x.shape[1:3]
    rows = height
    if not torch.is_grad_enabled():
        wanted = (tokens or strip_tokens(x)) // width
        rows = max(multiple, 2, wanted // multiple * multiple)  # 2: see `lagging`
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def lagging(parts: Iterator[Tensor], height: int) -> Iterator[tuple[Tensor, slice]]:
    """Prepend to each strip of rows the last two of the one before, so that a 3x3 convolution goes on.

    Args:
        parts: (B, n, ...) strips of an image of `height` rows, the first of two rows or more.

    Yields:
        A strip, and which of its rows have both neighbors in it: all rows of the image, once each.
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
    rows: Channels | None = None,
    columns: Channels | None = None,
    gelu: bool = False,
) -> Tensor:
    """`linear(x)`, then GELU if asked for.

    Args:
        x: (..., C) tokens.
        rows: which outputs, and in what order; None is all of them as they are.
        columns: which inputs `x` holds, and in what order.
    """
    dtype = compute_dtype(x)
    packed = None
    if x.device.type == "cpu" and not torch.is_grad_enabled() and _can_pack(dtype):
        key = (rows, columns, dtype)
        packed = _kept(linear, key, lambda: _pack(*_pick(linear, rows, columns), dtype))
    if packed is None:
        y = F.linear(x, *_kept(linear, (rows, columns), lambda: _pick(linear, rows, columns)))
        return F.gelu(y) if gelu else y
    weight, bias = packed
    flat = x.to(dtype).reshape(-1, x.shape[-1])
    y = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "gelu" if gelu else "none", [], "none")
    return y.view(*x.shape[:-1], -1)


def _pick(layer: nn.Linear | nn.Conv2d, rows: Channels | None, columns: Channels | None) -> Weights:
    """Weight and bias for chosen outputs and inputs."""
    weight: Tensor = layer.weight
    bias: Tensor | None = layer.bias
    if rows is not None:
        index = torch.tensor(rows, device=weight.device)
        weight = torch.cat([weight, torch.zeros_like(weight[:1])])[index]  # the last row, -1, is zero
        bias = None if bias is None else F.pad(bias, (0, 1))[index]
    if columns is not None:
        weight = F.pad(weight, (0, 1))[:, torch.tensor(columns, device=weight.device)]
    return weight, bias


def _kept(layer: nn.Linear | nn.Conv2d, key: tuple, make: Callable[[], Weights]) -> Weights:
    """What `make` makes of the weights as they are now; kept unless under autograd."""
    if torch.is_grad_enabled():
        return make()
    state = state_of(layer.weight, layer.bias)
    known = _kept_weights.setdefault(layer, {})
    if key not in known or known[key][0] != state:
        known[key] = state, make()
    return known[key][1]


def _can_pack(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or dtype not in (torch.float32, torch.bfloat16):
        return False
    return dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _pack(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Weights:
    """Weight and bias as oneDNN likes them best."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous())
    return packed, None if bias is None else bias.detach().to(dtype)


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
