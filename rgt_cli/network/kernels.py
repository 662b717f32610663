"""The few operations that dominate the time of RGT, each in the fastest way that PyTorch offers.

Under autograd, and if the fast way is not available, each one is the plain operation of its name.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgt_cli.network.precision import compute_dtype

STRIP_VALUES = {"cpu": 180 << 12, "cuda": 180 << 18, "xpu": 180 << 18, "mps": 180 << 18}
"""Numbers of the residual stream to process at a time, for each type of device. They are few enough for
the caches of a processor, and enough that the overhead of a call is small."""

Channels = tuple[int, ...]
"""Indices of channels of a layer, in order; -1 is a channel that is always zero."""

Weights = tuple[Tensor, Tensor | None]
"""Weight and bias of a layer."""

has_onednn: Callable[[], bool] = torch.backends.mkldnn.is_available  # has no annotations

State = tuple[object, ...]
"""A value that changes when weights change: see `state_of`."""

_cached_weights: weakref.WeakKeyDictionary[nn.Module, dict[State, tuple[State, Weights]]]
_cached_weights = weakref.WeakKeyDictionary()


def convolve_tokens(conv: nn.Module, x: Tensor) -> Tensor:
    """Run a convolution over (B, H, W, C) tokens and return tokens."""
    image: Tensor = conv(x.permute(0, 3, 1, 2))
    return image.permute(0, 2, 3, 1)


def convolve_channels(conv: nn.Conv2d, x: Tensor, channels: Channels) -> Tensor:
    """Run a depth-wise 3x3 convolution over (B, H, W, C) tokens that have these of its channels."""
    dtype = compute_dtype(x)
    key = (channels, dtype)
    weight, bias = _cached(conv, key, lambda: _cast(*_pick(conv, channels, None), dtype))
    image = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1, groups=len(channels))
    return image.permute(0, 2, 3, 1)


def strip_tokens(x: Tensor) -> int:
    """Return about how many of the (..., C) tokens of `x` are processed at a time."""
    return max(1, STRIP_VALUES[x.device.type] // x.shape[-1])


def strips(x: Tensor, multiple: int = 1, tokens: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (first row, last row + 1) of strips of (B, H, W, C) tokens; a single strip under autograd.

    Args:
        x: The tokens.
        multiple: The number of rows of all strips but the last is a multiple of this.
        tokens: About how many tokens of an image a strip has; None is `strip_tokens`.
    """
    height, width = x.shape[1:3]
    rows = height
    if not torch.is_grad_enabled():
        wanted = (tokens or strip_tokens(x)) // width
        rows = max(multiple, 2, wanted // multiple * multiple)  # 2: see `lagging`
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def lagging(parts: Iterator[Tensor], height: int) -> Iterator[tuple[Tensor, slice]]:
    """Prepend to each strip the last two rows of the previous strip, which a 3x3 convolution needs.

    Args:
        parts: (B, n, ...) strips of an image; the first has at least two rows.
        height: Rows of the image.

    Yields:
        A strip, and the slice of its rows that have both neighbors in it. The slices cover every row of
        the image once.
    """
    carried, done = None, 0
    for part in parts:
        done += part.shape[1]
        rows = part if carried is None else torch.cat([carried, part], dim=1)
        yield rows, slice(0 if carried is None else 1, None if done == height else -1)
        carried = rows[:, -2:]


def state_of(*tensors: Tensor | None) -> State:
    """Return a value that changes when any of these weights changes."""
    return tuple(
        (t.data_ptr(), t.dtype, t.device, 0 if t.is_inference() else t._version)
        for t in tensors
        if t is not None
    )


def project(
    linear: nn.Linear,
    x: Tensor,
    rows: Channels | None = None,
    columns: Channels | None = None,
    gelu: bool = False,
) -> Tensor:
    """Return `linear(x)`.

    Args:
        linear: The layer.
        x: (..., C) tokens.
        rows: The outputs of the layer to compute, in order; None is all of them.
        columns: The inputs of the layer that `x` has, in order; None is all of them.
        gelu: Apply GELU to the result.
    """
    dtype = compute_dtype(x)
    key = (rows, columns, dtype)
    if torch.is_grad_enabled() or x.device.type != "cpu" or not _can_pack(dtype):
        weights = _cached(linear, key, lambda: _cast(*_pick(linear, rows, columns), dtype))
        plain = F.linear(x.to(dtype), *weights)
        return F.gelu(plain) if gelu else plain
    weight, bias = _cached(linear, key, lambda: _pack(*_pick(linear, rows, columns), dtype))
    flat = x.to(dtype).reshape(-1, x.shape[-1])
    activation = "gelu" if gelu else "none"
    y: Tensor = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, activation, [], "none")
    return y.view(*x.shape[:-1], -1)


def _pick(layer: nn.Linear | nn.Conv2d, rows: Channels | None, columns: Channels | None) -> Weights:
    """Return weight and bias for these outputs (`rows`) and inputs (`columns`)."""
    weight: Tensor = layer.weight
    bias: Tensor | None = layer.bias
    if rows is not None:
        index = torch.tensor(rows, device=weight.device)
        weight = torch.cat([weight, torch.zeros_like(weight[:1])])[index]  # the last row, -1, is zero
        bias = None if bias is None else F.pad(bias, (0, 1))[index]
    if columns is not None:
        weight = F.pad(weight, (0, 1))[:, torch.tensor(columns, device=weight.device)]
    return weight, bias


def _cast(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Weights:
    """Return weight and bias in the dtype of matrix products, as autocast would for every call."""
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def _cached(layer: nn.Linear | nn.Conv2d, key: State, make: Callable[[], Weights]) -> Weights:
    """Return the result of `make`, cached until the weights change; not cached under autograd."""
    if torch.is_grad_enabled():
        return make()
    state = state_of(layer.weight, layer.bias)
    cache = _cached_weights.setdefault(layer, {})
    if key not in cache or cache[key][0] != state:
        cache[key] = state, make()
    return cache[key][1]


def _can_pack(dtype: torch.dtype) -> bool:
    """Return whether oneDNN has fast linear layers for this dtype on this processor."""
    if not has_onednn() or dtype not in (torch.float32, torch.bfloat16):
        return False
    return dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _pack(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Weights:
    """Return weight and bias in the layout that is fastest for oneDNN."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous())
    return packed, None if bias is None else bias.detach().to(dtype)


@contextmanager
def computing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute matrix products on a device in a precision.

    On CUDA, float32 is float32: by default, cuDNN rounds the inputs of convolutions to 10 bits (TF32).

    Args:
        device: The device.
        dtype: The precision; float32 leaves all operations in the precision of their tensors.
    """
    half = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    if device.type != "cuda":
        with half:
            yield
        return
    cudnn = torch.backends.cudnn
    kept = {"benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    exact = cudnn.flags(enabled=True, allow_tf32=False, **kept)
    with half, exact, sdpa_kernel(_ATTENTION_ORDER, set_priority=True):
        yield


_ATTENTION_ORDER = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""The kernels of attention on CUDA, the first choice first. That of cuDNN is not among them: some of its
versions have ignored parts of an additive mask, without an error."""


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Compute scaled dot-product attention.

    Args:
        q: (N, heads, L, D) queries.
        k: (N, heads, S, D) keys.
        v: (N, heads, S, D) values.
        bias: (heads, L, S), added to the logits; None adds nothing.
        scale: The factor of the products of queries and keys.

    Returns:
        (N, L, heads, D).
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and not torch.is_grad_enabled():
        return _attend_by_products(q, k, v, bias, scale)
    mask = None if bias is None else bias.to(q.dtype).unsqueeze(0)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.transpose(1, 2)


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """Compute `attend` by two batched products, which are faster in bf16 than the fused kernel."""
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
    """A permutation of tokens, whose gradient is simply the inverse permutation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(order, back)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        _, back = ctx.saved_tensors
        return gradient.index_select(1, back), None, None


_permute: Callable[[Tensor, Tensor, Tensor], Tensor] = _Reorder.apply


def reorder(x: Tensor, order: Tensor, back: Tensor) -> Tensor:
    """Return (B, N, C) tokens in another order.

    Args:
        x: The tokens.
        order: Indices of the tokens to return.
        back: The inverse of `order` if it permutes all tokens; otherwise of another length.
    """
    if torch.is_grad_enabled() and len(order) == len(back):
        return _permute(x, order, back)
    return x.index_select(1, order)


def assemble(parts: Iterator[Tensor], length: int, out: Tensor | None = None) -> Tensor:
    """Concatenate (B, n, ...) parts into one (B, length, ...) tensor.

    Args:
        parts: The parts.
        length: The sum of their lengths n.
        out: Memory for the result, used if it has the dtype of the parts and autograd is off.
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


def side_by_side(chunks: Iterator[tuple[Tensor, Tensor]], x: Tensor, length: int) -> Tensor:
    """Assemble pairs of (B, n, C) tokens into one (B, length, 2, C) tensor, B as in `x`."""
    if torch.is_grad_enabled():
        return torch.cat([torch.stack(pair, dim=2) for pair in chunks], dim=1)
    whole, done = x.new_empty(0), 0
    for pair in chunks:
        if not done:
            whole = pair[0].new_empty(len(x), length, 2, pair[0].shape[2])
        rows = slice(done, done + pair[0].shape[1])
        whole[:, rows, 0], whole[:, rows, 1] = pair
        done = rows.stop
    return whole


def add_strips(x: Tensor, parts: Iterator[Tensor], out: Tensor | None) -> Tensor:
    """Return `x` plus the concatenation of (B, n, ...) parts.

    Args:
        x: (B, H, ...).
        parts: The parts.
        out: Memory for the sum, which can be `x` itself; None allocates it. Not used under autograd.
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
