"""Read every hyper-parameter of an RGT off the names and shapes of its tensors."""

import re
from collections.abc import Mapping

from torch import Tensor

from rgt_cli.errors import CheckpointError
from rgt_cli.network import RGTConfig

_DERIVED = re.compile(r"\.(attn_mask_[01]|relative_position_index|rpe_biases)$")


def is_derived(key: str) -> bool:
    """Whether `key` is a buffer that follows from the hyper-parameters: no weight."""
    return bool(_DERIVED.search(key))


def detect_config(state: Mapping[str, Tensor]) -> RGTConfig:
    """Return the hyper-parameters of the RGT that `state` belongs to.

    The window is read from `rpe_biases` (offsets of -(H - 1)..H - 1 rows and -(W - 1)..W - 1 columns)
    or `relative_position_index`. A file with neither is taken to have the published 8 x 32. A network
    without RG-SA blocks has no c_ratio, one without L-SA no heads: they get the published values.

    Raises:
        CheckpointError: `state` is not that of an RGT; the message names what is missing.
    """
    try:
        return _detect(state)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"this is no RGT checkpoint: cannot make sense of {error}") from error


def _detect(state: Mapping[str, Tensor]) -> RGTConfig:
    embed_dim, in_chans = state["conv_first.weight"].shape[:2]
    depth = _depth(state)
    first = "layers.0.blocks.0"
    window_heads = [
        state[f"layers.{group}.blocks.0.attn.attns.0.pos.pos3.2.weight"].shape[0]
        for group in range(len(depth))
    ]
    reduced = next((v.shape[0] for k, v in state.items() if k.endswith("attn.conv.weight")), None)
    direct = "conv_before_upsample.0.weight" not in state
    return RGTConfig(
        upscale=_upscale(state, in_chans if direct else None),
        in_chans=in_chans,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=tuple(2 * heads for heads in window_heads),
        mlp_ratio=state[f"{first}.mlp.fc1.weight"].shape[0] / embed_dim,
        qkv_bias=f"{first}.attn.qkv.bias" in state,
        split_size=_split_size(state),
        c_ratio=reduced / embed_dim if reduced is not None else RGTConfig.c_ratio,
        resi_connection="1conv" if "conv_after_body.weight" in state else "3conv",
        upsampler="direct" if direct else "pixelshuffle",
    )


def _depth(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    blocks = {
        (int(match[1]), int(match[2]))
        for match in (re.match(r"layers\.(\d+)\.blocks\.(\d+)\.gamma$", key) for key in state)
        if match
    }
    groups = 1 + max((group for group, _ in blocks), default=-1)
    if not groups:
        raise KeyError("layers.0.blocks.0.gamma")
    return tuple(sum(group == index for group, _ in blocks) for index in range(groups))


def _upscale(state: Mapping[str, Tensor], direct_channels: int | None) -> int:
    if direct_channels is not None:
        weight = state["upsample.0.weight"]
        return _root(weight.shape[0] // direct_channels, "upsample.0.weight")
    scale = 1
    for key in sorted(k for k in state if re.match(r"upsample\.\d+\.weight$", k)):
        out, features = state[key].shape[:2]
        scale *= _root(out // features, key)
    return scale


def _root(square: int, key: str) -> int:
    root = round(square**0.5)
    if root < 1 or root * root != square:
        raise ValueError(f"the shape of {key}")
    return root


def _split_size(state: Mapping[str, Tensor]) -> tuple[int, int]:
    offsets = next((v for k, v in state.items() if k.endswith("attns.0.rpe_biases")), None)
    if offsets is not None:
        height, width = (int(offsets[:, axis].max()) + 1 for axis in (0, 1))
        return height, width
    index = next((v for k, v in state.items() if k.endswith("attns.0.relative_position_index")), None)
    if index is not None:
        # Along a row of the window the offset falls by one; at the next row it falls by 2 W - 1.
        falls = (index[0, 0] - index[0]).tolist()
        width = next((at for at, fall in enumerate(falls) if fall != at), len(falls))
        return len(falls) // width, width
    return RGTConfig.split_size
