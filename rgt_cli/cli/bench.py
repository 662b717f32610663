"""`rgt bench`: the speed, memory use and error of a model on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from rgt_cli.cli import options
from rgt_cli.cli.candidates import listed, words
from rgt_cli.cli.command import Command, common, option
from rgt_cli.cli.console import Console
from rgt_cli.cli.param_types import ListType
from rgt_cli.jobs import ModelOptions
from rgt_cli.values import MIN_TILE

if TYPE_CHECKING:
    from rgt_cli.inference.device import Precision
    from rgt_cli.measure.benchmark import Timing

PRECISIONS = ("auto", "fp32", "fp16", "bf16")


@click.command(cls=Command)
@options.model_group(options.model, options.device, options.threads)
@options.native_scale
@option(
    "--precision", "precisions", type=ListType(click.Choice(PRECISIONS)), default="auto",
    show_default=True, metavar="LIST", shell_complete=listed(words(PRECISIONS)),
    help="One or more of auto, fp32, fp16 and bf16, with commas between.",
)  # fmt: skip
@option(
    "--tiles", type=ListType(click.IntRange(min=MIN_TILE)), default="64,128,192", show_default=True,
    metavar="LIST", help="Tile sizes in pixels, with commas between.",
)  # fmt: skip
@option(
    "--runs", type=click.IntRange(min=1), default=5, show_default=True, metavar="N",
    help="Number of runs; their median is printed.",
)  # fmt: skip
@options.json_flag
@common
@click.pass_obj
def bench(
    console: Console,
    model: ModelOptions,
    scale: int | None,
    precisions: list[Precision],
    tiles: list[int],
    runs: int,
    as_json: bool,
) -> None:
    """Measure the speed and memory use of a model on this machine.

    \b
    Examples:
      rgt bench
      rgt bench -m rgt-s --precision fp32,fp16 --tiles 128
      rgt bench -m model.pth --json

    The error is that against the same model in fp32, for values of 0..1. The share of the peak compares
    the model with a product of two large matrices in the same precision, which is measured too.
    """
    from rgt_cli.measure.benchmark import Case, benchmark

    cases = [
        Case(
            model=model.model,
            scale=scale,
            device=model.device,
            precision=precision,
            tile=tile,
            runs=runs,
            threads=model.threads,
        )
        for precision in precisions
        for tile in tiles
    ]
    timings = list(benchmark(cases))
    if as_json:
        click.echo(json.dumps({"schema": 1, "timings": [_as_json(t) for t in timings]}, indent=2))
    else:
        _print(console, timings, runs)


def _as_json(timing: Timing) -> dict[str, Any]:
    facts = dataclasses.asdict(timing) | {"peak_fraction": timing.peak_fraction}
    return facts | {"psnr": None if timing.psnr == float("inf") else timing.psnr}


def _print(console: Console, timings: Sequence[Timing], runs: int) -> None:
    first = timings[0]
    console.info(f"{first.model} on {first.device}, {first.threads} threads, median of {runs}")
    rows = [
        [
            timing.precision,
            str(timing.tile),
            f"{timing.seconds:.3f}",
            f"{timing.megapixels_per_second:.4f}",
            f"{timing.peak_memory / 2**20:.0f} MiB",
            f"{timing.peak_fraction:.0%} of {timing.matrix_peak / 1e9:.0f} GFLOP/s",
            f"{timing.max_error:.1e}",
            "exact" if timing.psnr == float("inf") else f"{timing.psnr:.1f} dB",
        ]
        for timing in timings
    ]
    columns = [
        "precision",
        "tile",
        "s/tile",
        "input MP/s",
        "memory",
        "share of the peak",
        "error",
        "PSNR",
    ]
    console.table(columns, rows)
