"""Detect every hyper-parameter of an RGT from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from rgt_cli.errors import CheckpointError
from rgt_cli.network import RGTConfig

_MAX_GROUPS = 64
_MAX_BLOCKS = 256
"""Blocks in all groups. The published RGT has 48."""
_MAX_CHANNELS = 4096
_MAX_HEADS = 256
_MAX_RATIO = 64
_MAX_UPSCALE = 16
_MAX_WINDOW = 4096
"""Pixels of a window. The memory of L-SA grows with their square; the published RGT has 256."""
_BLOCK = re.compile(r"layers\.(0|[1-9][0-9]{0,8})\.blocks\.(0|[1-9][0-9]{0,8})\.gamma")


def detect_config(state: Mapping[str, Tensor]) -> RGTConfig:
    """Return the hyper-parameters of the RGT with this state dict.

    The window size comes from `rpe_biases` (offsets of -(H - 1)..H - 1 rows and -(W - 1)..W - 1 columns)
    or from `relative_position_index`. A file with neither gets the published 8 x 32. A network without
    RG-SA blocks gets the published `c_ratio`.

    Args:
        state: Tensors by the names that the published code gives them, unwrapped.

    Raises:
        CheckpointError: `state` does not belong to an RGT. The message names the tensor that is missing
            or has the wrong shape.
    """
    try:
        config = _detect(state)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError("not an RGT checkpoint: its tensors have unexpected shapes") from error
    _check_limits(config)
    return config


def _detect(state: Mapping[str, Tensor]) -> RGTConfig:
    embed_dim, in_chans, *_ = _shape(state, "conv_first.weight", 4)
    depth = _depth(state)
    first = "layers.0.blocks.0"
    head_keys = [
        f"layers.{group}.blocks.0.attn.attns.0.pos.pos3.2.weight" for group in range(len(depth))
    ]
    reduced = next((v.shape[0] for k, v in state.items() if k.endswith("attn.conv.weight")), None)
    direct = "conv_before_upsample.0.weight" not in state
    return RGTConfig(
        upscale=_upscale(state, in_chans if direct else None),
        in_chans=in_chans,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=tuple(2 * _shape(state, key, 2)[0] for key in head_keys),
        mlp_ratio=_shape(state, f"{first}.mlp.fc1.weight", 2)[0] / embed_dim,
        qkv_bias=f"{first}.attn.qkv.bias" in state,
        split_size=_split_size(state),
        c_ratio=reduced / embed_dim if reduced is not None else RGTConfig.c_ratio,
        resi_connection="1conv" if "conv_after_body.weight" in state else "3conv",
        upsampler="direct" if direct else "pixelshuffle",
    )


def _check_limits(config: RGTConfig) -> None:
    """Refuse a network that is absurd, before time and memory are spent on it.

    Raises:
        CheckpointError: The message names the hyper-parameter.
    """
    height, width = config.split_size
    limits = {
        "channels": (config.embed_dim, _MAX_CHANNELS),
        "channels of an image": (config.in_chans, _MAX_CHANNELS),
        "heads": (*config.num_heads, _MAX_HEADS),
        "ratio of the MLP": (config.mlp_ratio, _MAX_RATIO),
        "ratio of RG-SA": (config.c_ratio, _MAX_RATIO),
        "upscaling factor": (config.upscale, _MAX_UPSCALE),
        "pixels of a window": (height, width, height * width, _MAX_WINDOW),
    }
    for name, (*values, limit) in limits.items():
        if unsupported := [value for value in values if not 0 < value <= limit]:
            raise CheckpointError(f"not an RGT checkpoint: unsupported {name}: {unsupported[0]:.10g}")


def _shape(state: Mapping[str, Tensor], key: str, dimensions: int) -> tuple[int, ...]:
    """Return the shape of a tensor that every RGT has."""
    if key not in state:
        raise CheckpointError(f"not an RGT checkpoint: the tensor {key} is missing")
    shape = tuple(state[key].shape)
    if len(shape) != dimensions:
        raise CheckpointError(
            f"not an RGT checkpoint: the tensor {key} has the shape {shape}, "
            f"not one of {dimensions} dimensions"
        )
    return shape


def _depth(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the number of blocks in each residual group."""
    blocks = [
        (int(match[1]), int(match[2])) for match in map(_BLOCK.fullmatch, state) if match is not None
    ]
    groups = 1 + max((group for group, _ in blocks), default=-1)
    if not groups:
        raise CheckpointError(
            "not an RGT checkpoint: it has no residual groups (layers.0.blocks.0.gamma)"
        )
    if groups > _MAX_GROUPS or len(blocks) > _MAX_BLOCKS:
        raise CheckpointError(
            f"not an RGT checkpoint: it has {groups} residual groups and {len(blocks)} blocks"
        )
    return tuple(sum(group == index for group, _ in blocks) for index in range(groups))


def _upscale(state: Mapping[str, Tensor], direct_channels: int | None) -> int:
    """Return the factor of the upsampler. `direct_channels` is set if it is of the direct kind."""
    if direct_channels is not None:
        key = "upsample.0.weight"
        return _root(_shape(state, key, 4)[0] // direct_channels, key)
    scale = 1
    for key in sorted(k for k in state if re.match(r"upsample\.\d+\.weight$", k)):
        out, features, *_ = _shape(state, key, 4)
        scale *= _root(out // features, key)
        if scale > _MAX_UPSCALE:
            break  # it is refused, and could become too large to be printed
    return scale


def _root(square: int, key: str) -> int:
    """Return the factor of a pixel shuffle that reduces the channels by `square`."""
    root = math.isqrt(square)
    if root < 1 or root * root != square:
        raise CheckpointError(
            f"not an RGT checkpoint: the channels of the tensor {key} do not fit any scale"
        )
    return root


def _split_size(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return height and width of the windows of L-SA, in pixels."""
    offsets = next((v for k, v in state.items() if k.endswith("attns.0.rpe_biases")), None)
    if offsets is not None:
        if not offsets.isfinite().all():
            raise CheckpointError("not an RGT checkpoint: rpe_biases is not finite")
        height, width = (int(offsets[:, axis].max()) + 1 for axis in (0, 1))
        if tuple(offsets.shape) != ((2 * height - 1) * (2 * width - 1), 2):
            raise CheckpointError(
                f"not an RGT checkpoint: rpe_biases has the shape {tuple(offsets.shape)}, "
                f"which does not fit a window of {height} x {width} pixels"
            )
        return height, width
    index = next((v for k, v in state.items() if k.endswith("attns.0.relative_position_index")), None)
    if index is not None:
        # Along a row of the window the offset falls by one; at the next row it falls by 2 W - 1.
        falls = (index[0, 0] - index[0]).tolist()
        width = next((at for at, fall in enumerate(falls) if fall != at), len(falls))
        if falls != [at // width * (2 * width - 1) + at % width for at in range(len(falls))]:
            raise CheckpointError("not an RGT checkpoint: relative_position_index fits no window")
        return len(falls) // width, width
    return RGTConfig.split_size
