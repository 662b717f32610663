"""Golden vectors: weights, inputs and outputs of the published network."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from safetensors import safe_open

from tests.helpers import DATA

SHARED = DATA.parents[2] / "shared/reference/golden"
"""A folder with larger vectors (deep recursion, full width), which the project does not ship."""


@dataclass(frozen=True)
class Golden:
    """One network of the published code."""

    config: dict[str, object]
    """The hyper-parameters that it was made with."""
    weights: dict[str, torch.Tensor]
    """The state dict."""
    pairs: list[tuple[torch.Tensor, torch.Tensor]]
    """(1, C, H, W) inputs and (1, C, s * H, s * W) outputs."""


def golden_files() -> list[ParameterSet]:
    """Return the files for `pytest.mark.parametrize`; larger ones are skipped if they are missing."""
    shipped = sorted((DATA / "golden").glob("*.safetensors"))
    assert len(shipped) == 4
    larger = [SHARED / f"{name}.safetensors" for name in ("x2-deep-recursion", "x4-wide")]
    skip = pytest.mark.skip(reason="the project does not ship the larger golden vectors")
    return [
        pytest.param(path, id=path.stem, marks=[] if path.is_file() else [skip])
        for path in [*shipped, *larger]
    ]


def load_golden(path: Path) -> Golden:
    """Read one file."""
    with safe_open(path, "pt") as file:
        tensors: dict[str, torch.Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata: dict[str, str] = file.metadata()
    config: dict[str, object] = {}
    for name, text in metadata.items():
        value = text if name == "resi_connection" else ast.literal_eval(text)
        config[name] = tuple(value) if isinstance(value, list) else value
    inputs = [key for key in tensors if key.startswith("input.")]
    assert inputs
    return Golden(
        config=config,
        weights={
            key.removeprefix("weights."): tensor
            for key, tensor in tensors.items()
            if key.startswith("weights.")
        },
        pairs=[(tensors[key].float(), tensors[key.replace("input.", "output.")]) for key in inputs],
    )
