"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from rgt_cli.cli import candidates
from rgt_cli.cli.command import Function, group
from rgt_cli.cli.param_types import MEMORY, PIXELS, TILE, ChoiceType, whole_number
from rgt_cli.jobs.options import ModelOptions
from rgt_cli.media import MAX_PIXELS

_DEVICES = ("auto", "cuda", "xpu", "mps", "cpu")

json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
recursive = click.option("-r", "--recursive", is_flag=True, help="Search subfolders too.")
max_pixels = click.option(
    "--max-pixels", type=PIXELS, default=MAX_PIXELS,
    help="Refuse images that decode to more pixels. [default: 300M]",
)  # fmt: skip
native_scale = click.option(
    "-s", "--scale", type=whole_number(2, 4), help="Factor of the model. [default: 4]"
)

model = click.option(
    "-m", "--model", default="auto", show_default=True, metavar="NAME",
    shell_complete=candidates.models,
    help="Model name, Hub repository, URL or path; `rgt models` lists the names.",
)  # fmt: skip
self_ensemble = click.option(
    "--self-ensemble",
    is_flag=True,
    help="Average the results for 8 flips and rotations: better, but 8 times slower.",
)
device = click.option(
    "--device", default="auto", show_default=True, metavar="NAME",
    shell_complete=candidates.words(_DEVICES),
    help="auto, cuda, cuda:N, xpu, xpu:N, mps or cpu; auto prefers CUDA, then MPS.",
)  # fmt: skip
devices = click.option(
    "--device", default="auto", show_default=True, metavar="NAME",
    shell_complete=candidates.words([*_DEVICES, "all"]),
    help="auto, cuda, cuda:N, xpu, xpu:N, mps or cpu; auto prefers CUDA, then MPS. With all, or several "
    "like cuda:0,cuda:1, a worker runs on each.",
)  # fmt: skip
precision = click.option(
    "--precision", type=ChoiceType(["auto", "fp32", "fp16", "bf16"]), default="auto",
    show_default=True, metavar="NAME",
    help="auto, fp32, fp16 or bf16; auto is fp16 on CUDA and XPU, fp32 elsewhere.",
)  # fmt: skip
tile = click.option(
    "--tile", type=TILE, default="auto", show_default=True, metavar="N",
    shell_complete=candidates.words(["auto", "none"]),
    help="Tile size in pixels of the input, none for the whole image, or auto for the whole image if "
    "it fits in memory.",
)  # fmt: skip
overlap = click.option(
    "--overlap", type=whole_number(0),
    help="Pixels that neighboring tiles share. [default: 32, or a third of a tile below 96]",
)  # fmt: skip
batch_size = click.option(
    "--batch-size", type=whole_number(1),
    help="Images or frames of one size computed at once. "
    "[default: up to 8 on CUDA and XPU, 8 tiny images on a CPU, else 1]",
)  # fmt: skip
memory = click.option("--memory", type=MEMORY, help="Memory limit, like 6G. [default: the free memory]")
threads = click.option(
    "--threads", type=whole_number(1),
    help="CPU threads. [default: one per CPU core that this process may use]",
)  # fmt: skip


def split_names(text: str) -> list[str]:
    """Return the names of models that are separated by commas, without empty ones."""
    return [name for part in text.split(",") if (name := part.strip())]


def model_group(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Return a decorator that adds these options of a model, which arrive as `ModelOptions`."""
    return group("Model and performance", "model", ModelOptions, *options)
