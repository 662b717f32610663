"""`rgt bench`: the speed, memory use and error of a model on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from rgt_cli.cli import options, tables
from rgt_cli.cli.candidates import listed, words
from rgt_cli.cli.command import Command, common, group, section
from rgt_cli.cli.console import Console
from rgt_cli.cli.json_output import print_json
from rgt_cli.cli.param_types import BOX, ChoiceType, ListType, whole_number
from rgt_cli.jobs import ModelOptions
from rgt_cli.size import Dimensions
from rgt_cli.values import MIN_TILE, reject_several

if TYPE_CHECKING:
    from rgt_cli.inference.device import Precision
    from rgt_cli.measure.benchmark import Case, Timing

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
TILES = (64, 128, 192)
"""The sides of the tiles that are measured by default, in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured."""

    precisions: list[Precision]
    """The precisions."""
    tiles: list[int] | None
    """Sides of tiles in pixels; None is TILES. Not used with a shape."""
    shape: Dimensions | None
    """Size in pixels of the image that is measured instead of tiles."""
    runs: int
    """Number of runs whose median is printed."""

    @classmethod
    def of(cls, **values: Any) -> Measurement:
        """Return the measurement of these options.

        Raises:
            UsageError: Both tiles and a shape are given.
        """
        reject_several([f"--{name}" for name in ("tiles", "shape") if values[name]])
        return cls(**values)

    def cases(self, model: ModelOptions, scale: int | None) -> list[Case]:
        """Return the cases to measure with a model, precision after precision."""
        from rgt_cli.measure.benchmark import Case

        sizes = [Dimensions(side, side) for side in self.tiles or TILES]
        return [
            Case(
                model=model.model,
                scale=scale,
                device=model.device,
                precision=precision,
                size=size,
                tiles="auto" if self.shape else "none",
                runs=self.runs,
                threads=model.threads,
            )
            for precision in self.precisions
            for size in ([self.shape] if self.shape else sizes)
        ]


@click.command(cls=Command)
@options.model_group(options.model, options.device, options.threads)
@section("Model and performance", options.native_scale)
@group(
    "Measurement", "measurement", Measurement.of,
    click.option(
        "--precision", "precisions", type=ListType(ChoiceType(PRECISIONS)), default="auto",
        show_default=True, metavar="LIST", shell_complete=listed(words(PRECISIONS)),
        help="One or more of auto, fp32, fp16 and bf16, separated by commas.",
    ),
    click.option(
        "--tiles", type=ListType(whole_number(MIN_TILE)), metavar="LIST",
        help="Tile sizes in pixels, separated by commas. [default: 64,128,192]",
    ),
    click.option(
        "--shape", type=BOX,
        help="Measure an image of this size, such as 640x480, instead of tiles.",
    ),
    click.option(
        "--runs", type=whole_number(1), default=5, show_default=True,
        help="Number of runs; their median is printed.",
    ),
)  # fmt: skip
@section(
    "Measurement",
    click.option("--markdown", is_flag=True, help="Print the table in Markdown."),
    options.json_flag,
)
@common
@click.pass_obj
def bench(
    console: Console,
    model: ModelOptions,
    scale: int | None,
    measurement: Measurement,
    markdown: bool,
    as_json: bool,
) -> None:
    """Measure the speed and memory use of a model on this machine.

    \b
    Examples:
      rgt bench
      rgt bench -m rgt-s --precision fp32,fp16 --tiles 128
      rgt bench -m rgt-s --precision fp32,fp16 --shape 640x480 --markdown
      rgt bench -m model.pth --json

    The error is the largest difference from the same model in fp32, for values of 0..1. The share of the
    peak compares the model with a product of two large matrices in the same precision, which is measured
    too.

    --shape prints the columns with which networks are usually compared. An image that does not fit in
    memory as a whole is measured in tiles.
    """
    from rgt_cli.measure.benchmark import benchmark, bf16_instead

    reject_several(["--markdown"] * markdown + ["--json"] * as_json)
    cases = measurement.cases(model, scale)
    timings = list(benchmark(cases))
    if as_json:
        print_json({"timings": [_as_json(t) for t in timings]})
        return
    first = timings[0]
    threads = f"{first.threads} threads, median of {measurement.runs}"
    console.info(f"{first.model} on {first.device}, {threads}")
    columns, rows = _image_table(timings) if measurement.shape else _tile_table(timings)
    if markdown:
        tables.print_markdown(columns, rows)
    else:
        console.table(columns, rows)
    if measurement.shape is None and not any(timing.precision == "bf16" for timing in timings):
        slowest = max(range(len(cases)), key=lambda index: timings[index].seconds)
        if instead := bf16_instead(cases[slowest], timings[slowest]):
            _print_bf16(console, timings[slowest], instead)


def _as_json(timing: Timing) -> dict[str, Any]:
    facts = dataclasses.asdict(timing) | {"peak_fraction": timing.peak_fraction}
    return facts | {"psnr": None if timing.psnr == float("inf") else timing.psnr}


def _tile_table(timings: Sequence[Timing]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows for tiles."""
    rows = [
        [
            timing.precision,
            str(timing.tile),
            f"{timing.seconds:.3f}",
            f"{timing.megapixels_per_second:.4f}",
            _mebibytes(timing),
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
    return columns, rows


def _image_table(timings: Sequence[Timing]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows for images: those with which networks are usually compared."""
    rows = [
        [
            timing.model,
            f"x{timing.scale}",
            timing.precision,
            f"{timing.frames_per_second:.4g}",
            f"{timing.seconds:.4g}",
            _mebibytes(timing),
            f"{timing.output_size}",
            "whole" if timing.tiles == 1 else f"in {timing.tiles} tiles of {timing.tile}",
            timing.device_name,
        ]
        for timing in timings
    ]
    columns = ["model", "scale", "precision", "FPS", "s/image", "memory", "output", "computed", "device"]
    return columns, rows


def _mebibytes(timing: Timing) -> str:
    return f"{timing.peak_memory / 2**20:.0f} MiB"


def _print_bf16(console: Console, automatic: Timing, bf16: Timing) -> None:
    """Print the time and error of --precision bf16, where auto is fp32."""
    share = bf16.seconds / automatic.seconds
    error = "exact" if bf16.psnr == float("inf") else f"PSNR {bf16.psnr:.1f} dB"
    size = f"{automatic.input_size}"
    console.info(f"--precision bf16 takes {share:.0%} of the time of fp32 here ({size}, {error})")
