"""`rgt bench`: how fast, in how much memory, how exactly."""

import dataclasses
import json

import click

from rgt_cli.cli import options
from rgt_cli.cli.console import Console


class ListType(click.ParamType):
    """Values between commas."""

    name = "LIST"

    def __init__(self, item: click.ParamType) -> None:
        self.item = item

    def convert(
        self, value: str | list, param: click.Parameter | None, ctx: click.Context | None
    ) -> list:
        if isinstance(value, list):
            return value
        return [self.item.convert(part.strip(), param, ctx) for part in value.split(",")]


@click.command()
@options.model
@click.option("-s", "--scale", type=click.IntRange(2, 4), help="Default: 4, or the model's own.")
@options.device
@click.option(
    "--precision", "precisions", type=ListType(click.Choice(["auto", "fp32", "fp16", "bf16"])),
    default="auto", show_default=True, help="One or more, with commas between them.",
)  # fmt: skip
@click.option(
    "--tiles", type=ListType(click.IntRange(min=16)), default="64,128,192", show_default=True,
    help="Sides of the tiles, in pixels.",
)  # fmt: skip
@click.option(
    "--runs", type=click.IntRange(min=1), default=5, show_default=True, help="The median of so many."
)
@options.threads
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_obj
def bench(
    console: Console,
    model: str,
    scale: int | None,
    device: str,
    precisions: list[str],
    tiles: list[int],
    runs: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Time a model on this machine, tile by tile.

    The error is that against the same network in fp32, on values of 0..1. The share of the peak
    compares the network with a product of two large matrices, timed here in the same precision.
    """
    from rgt_cli.measure.benchmark import benchmark

    timings = list(benchmark(model, scale, device, precisions, tiles, runs, threads))
    if as_json:
        rows = [dataclasses.asdict(t) | {"peak_fraction": t.peak_fraction} for t in timings]
        for row in rows:
            row["psnr"] = None if row["psnr"] == float("inf") else row["psnr"]
        click.echo(json.dumps(rows, indent=2))
        return
    first = timings[0]
    console.info(f"{first.model} on {first.device}, {first.threads} threads, median of {runs}")
    columns = ["precision", "tile", "s/tile", "MP/s in", "peak memory", "of the peak", "error", "PSNR"]
    table = [
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
    console.table(columns, table)
