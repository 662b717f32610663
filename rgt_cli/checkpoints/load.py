"""Load a checkpoint file into a network, strictly, without running any code that it contains."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from rgt_cli.checkpoints.archive import MAX_BYTES, MAX_HEADER
from rgt_cli.checkpoints.detect import detect_config
from rgt_cli.checkpoints.foreign import foreign_architecture
from rgt_cli.checkpoints.pickles import check_pickle
from rgt_cli.checkpoints.tensors import check_tensors, is_derived, shown
from rgt_cli.errors import CheckpointError, first_line
from rgt_cli.network import RGT

logger = logging.getLogger(__name__)

_WRAPPERS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net_g")
"""Keys of the dicts that training frameworks put around a state dict, the preferred ones first."""
_PREFIXES = ("module.", "net_g.")
"""Prefixes that training frameworks put before the names of tensors."""
_MAX_WRAPPERS = 4
"""Dicts around a state dict. A dict may contain itself."""
_MAX_DEFECTS = 5
"""Defects to list in one message."""


def load_network(path: str | Path) -> RGT:
    """Load the RGT in a `.safetensors` or PyTorch (`.pth`) file.

    Returns:
        The network in fp32 on the CPU, in eval mode, whatever the precision of the file.

    Raises:
        CheckpointError: The file is missing, damaged, a pickle that could run code, or not exactly the
            state dict of an RGT. The message names the defect.
    """
    path = Path(path)
    try:
        network = network_from_state_dict(read_state_dict(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    logger.debug("%s: loaded, %s", path, network.config)
    return network


def network_from_state_dict(state: Mapping[str, Tensor]) -> RGT:
    """Build the RGT that an unwrapped state dict describes, and load the weights.

    Raises:
        CheckpointError: A weight is missing, unexpected, of the wrong shape, or not finite.
    """
    config = detect_config(state)
    try:
        with torch.device("meta"):  # the weights come from the file: allocate and initialize none
            network = RGT(config)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"no RGT has these hyper-parameters: {config}: {error}") from error
    weights = {key: value for key, value in state.items() if not is_derived(key)}
    if defects := _defects(weights, network.state_dict()):
        more = f" and {len(defects) - _MAX_DEFECTS} more" if len(defects) > _MAX_DEFECTS else ""
        raise CheckpointError(
            f"the weights do not fit an RGT: {', '.join(defects[:_MAX_DEFECTS])}{more}"
        )
    network.load_state_dict({key: value.float() for key, value in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)


def _defects(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return the defects of `weights`, a few words for each tensor."""
    defects = [f"missing {key}" for key in expected if key not in weights]
    defects += [f"unexpected {shown(key)}" for key in weights if key not in expected]
    defects += [
        f"{key} is {tuple(weights[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    return defects or [f"{k} is not finite" for k, v in weights.items() if not v.isfinite().all()]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file, unwrapped. Those of safetensors are memory maps.

    What the file claims to contain is compared with its size before anything is allocated.

    Raises:
        CheckpointError: The file is missing, damaged, a pickle that could run code, or made for another
            network than RGT.
    """
    try:
        content = _read_content(path)
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError("no such file") from error
    except Exception as error:  # what the libraries raise for a malicious file is not documented
        reason = shown(first_line(error), 200)
        raise CheckpointError(f"damaged, or not a checkpoint: {reason}") from error
    state = _unwrap(content)
    check_tensors(state, path.stat().st_size)
    return state


def _read_content(path: Path) -> object:
    """Return what a checkpoint file contains."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise CheckpointError(f"not an RGT checkpoint: a file of {size} bytes is too large for an RGT")
    if path.suffix.lower() == ".safetensors":
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(size, MAX_HEADER):
            raise CheckpointError(
                f"damaged, or not a checkpoint: it claims to have a header of {header} bytes"
            )
        return load_file(path)
    check_pickle(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd pickle is refused with a message of our own
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(content: object) -> dict[str, Tensor]:
    """Return the state dict inside the content of a checkpoint file, without prefixes."""
    depth = 0
    while isinstance(content, Mapping) and depth < _MAX_WRAPPERS:
        wrapper = next((k for k in _WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if wrapper is None:
            break
        content, depth = content[wrapper], depth + 1
    if not isinstance(content, Mapping):
        raise CheckpointError("not a checkpoint: it contains no state dict")
    state = {_without_prefix(key) if isinstance(key, str) else key: content[key] for key in content}
    if foreign := foreign_architecture(key for key in state if isinstance(key, str)):
        raise CheckpointError(f"contains {foreign}; rgt loads RGT and RGT-S only")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"not a checkpoint: {shown(str(key))} is not a tensor")
    return state


def _without_prefix(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.split(".", 1)[1]
    return key
