"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from rgt_cli.cli import candidates
from rgt_cli.cli.command import Function, group, option
from rgt_cli.cli.param_types import MemoryType, TileType
from rgt_cli.errors import UsageError
from rgt_cli.jobs.options import ModelOptions

_DEVICES = ("auto", "cuda", "xpu", "mps", "cpu")

json_flag = option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
native_scale = option(
    "-s", "--scale", type=click.IntRange(2, 4), metavar="N", help="Factor of the model. [default: 4]"
)

model = option(
    "-m", "--model", default="auto", show_default=True, metavar="NAME",
    shell_complete=candidates.models,
    help="Model name, Hub repository, URL or path; `rgt models` lists the names.",
)  # fmt: skip
self_ensemble = option(
    "--self-ensemble", is_flag=True, help="Average 8 flips and rotations: better, and 8 times slower."
)
device = option(
    "--device", default="auto", show_default=True, metavar="NAME",
    shell_complete=candidates.words(_DEVICES),
    help="auto, cuda, cuda:N, xpu, xpu:N, mps or cpu; auto prefers CUDA, then MPS.",
)  # fmt: skip
devices = option(
    "--device", default="auto", show_default=True, metavar="NAME",
    shell_complete=candidates.words([*_DEVICES, "all"]),
    help="auto, cuda, cuda:N, xpu, xpu:N, mps or cpu; auto prefers CUDA, then MPS. all, or several "
    "like cuda:0,cuda:1, start a worker on each.",
)  # fmt: skip
precision = option(
    "--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), default="auto",
    show_default=True, metavar="NAME",
    help="auto, fp32, fp16 or bf16; auto is fp16 on CUDA and XPU, fp32 elsewhere.",
)  # fmt: skip
tile = option(
    "--tile", type=TileType(), default="auto", show_default=True, metavar="N",
    shell_complete=candidates.words(["auto", "none"]),
    help="Tile size in pixels of the input, none for the whole image, or auto for the whole image if "
    "it fits in memory.",
)  # fmt: skip
overlap = option(
    "--overlap", type=click.IntRange(min=0), metavar="N",
    help="Pixels that neighboring tiles share. [default: 32, or a third of a tile below 96]",
)  # fmt: skip
batch_size = option(
    "--batch-size", type=click.IntRange(min=1), metavar="N",
    help="Images or frames of one size computed at once. "
    "[default: up to 8 on CUDA and XPU, 8 tiny images on a CPU, else 1]",
)  # fmt: skip
memory = option("--memory", type=MemoryType(), help="Memory limit, like 6G. [default: what is free]")
threads = option(
    "--threads", type=click.IntRange(min=1), metavar="N",
    help="CPU threads. [default: the processors that this process may use]",
)  # fmt: skip


def _model_options(**values: Any) -> ModelOptions:
    tile_size, shared = values.get("tile"), values.get("overlap")
    if isinstance(tile_size, int) and shared is not None and shared >= tile_size:
        raise UsageError(f"--overlap: {shared} is not below --tile {tile_size}")
    return ModelOptions(**values)


def model_group(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Return a decorator that adds these options of a model, which arrive as `ModelOptions`."""
    return group("Model and performance", "model", _model_options, *options)
