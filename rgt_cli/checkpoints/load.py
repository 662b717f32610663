"""Read a checkpoint file into a network, strictly, without running anything it carries."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rgt_cli.checkpoints.detect import detect_config, is_derived
from rgt_cli.errors import CheckpointError
from rgt_cli.network import RGT

_WRAPPERS = ("params_ema", "params", "state_dict", "model")
_PREFIXES = ("module.", "net_g.")


def load_network(path: str | Path) -> RGT:
    """Load the RGT stored in a `.safetensors` or PyTorch (`.pth`) file.

    Returns:
        The network in fp32 on the CPU, in eval mode, whatever precision the file has.

    Raises:
        CheckpointError: the file is missing, damaged, wants to run code, or is not exactly the
            state dict of an RGT; the message names what is wrong.
    """
    path = Path(path)
    try:
        network = network_from_state_dict(read_state_dict(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return network


def network_from_state_dict(state: Mapping[str, Tensor]) -> RGT:
    """Build the RGT that an unwrapped state dict describes and fill it.

    Raises:
        CheckpointError: a weight is missing, left over, misshapen or not finite.
    """
    config = detect_config(state)
    try:
        with torch.device("meta"):  # no memory and no random numbers for weights that come from a file
            network = RGT(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"no RGT can be built with {config}: {error}") from error
    weights = {key: value for key, value in state.items() if not is_derived(key)}
    own = network.state_dict()
    problems = [f"missing {key}" for key in own if key not in weights]
    problems += [f"left over {key}" for key in weights if key not in own]
    problems += [
        f"{key} is {tuple(weights[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if not problems:
        problems = [f"{k} is not finite" for k, v in weights.items() if not v.isfinite().all()]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"weights do not fit: {', '.join(problems[:5])}{more}")
    network.load_state_dict({key: value.float() for key, value in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file, unwrapped; those of safetensors are memory maps.

    Raises:
        CheckpointError: the file is missing, damaged, or wants to run code.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            content = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd pickles, which are refused in our own words
                content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError("no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "refused: it is damaged, or a pickle that wants to run code; only plain weights are read"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else "unexpected end of file"
        raise CheckpointError(f"damaged or not a checkpoint: {reason}") from error
    return _unwrap(content)


def _unwrap(content: object) -> dict[str, Tensor]:
    """Take the state dict out of what training frameworks wrap around it."""
    while isinstance(content, Mapping):
        wrapper = next((k for k in _WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if wrapper is None:
            break
        content = content[wrapper]
    if not isinstance(content, Mapping):
        raise CheckpointError("it holds no state dict")
    state: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"it holds no state dict: {key!r} is no tensor")
        while key.startswith(_PREFIXES):
            key = key.split(".", 1)[1]
        state[key] = value
    return state
