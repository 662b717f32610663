"""`rgt evaluate`: models beside bicubic, Lanczos and the paper, on benchmarks."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rgt_cli.checkpoints.catalogue import CatalogueEntry, lookup
from rgt_cli.cli import options
from rgt_cli.cli.console import Console
from rgt_cli.errors import OutputError

if TYPE_CHECKING:
    from rgt_cli.inference import Upscaler
    from rgt_cli.measure.evaluate import Result, Scores

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--hr", "highs", type=_FOLDER, multiple=True, required=True, metavar="FOLDER",
    help="Ground truth, as PNG; may be repeated.",
)  # fmt: skip
@click.option(
    "--lr", "lows", type=_FOLDER, multiple=True, metavar="FOLDER",
    help="Its reductions, in the order of --hr. Default: made as MATLAB's bicubic does.",
)  # fmt: skip
@click.option("-s", "--scale", type=click.IntRange(2, 4), default=4, show_default=True)
@options.model
@click.option("--compare", metavar="A,B,C", help="Several models instead of one.")
@click.option("--self-ensemble", is_flag=True, help="The mean over 8 flips and rotations, as RGT+.")
@click.option(
    "--jpeg", type=click.IntRange(1, 100), metavar="QUALITY",
    help="Compress the reductions first, as photos on the web are.",
)  # fmt: skip
@click.option("--vmaf", "with_vmaf", is_flag=True, help="Measure VMAF as well.")
@click.option("--images", is_flag=True, help="A table of every picture as well.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON instead of tables.")
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write a line for each picture and method.",
)  # fmt: skip
@options.device
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), default="auto",
    show_default=True, help="auto: fp16 on CUDA, fp32 elsewhere.",
)  # fmt: skip
@click.option(
    "--tile", type=options.TileType(), default="auto", show_default=True,
    help="Side of a tile in pixels of the input.",
)  # fmt: skip
@options.threads
@click.pass_obj
def evaluate(
    console: Console,
    highs: tuple[Path, ...],
    lows: tuple[Path, ...],
    scale: int,
    model: str,
    compare: str | None,
    self_ensemble: bool,
    jpeg: int | None,
    with_vmaf: bool,
    images: bool,
    as_json: bool,
    csv_path: Path | None,
    device: str,
    precision: str,
    tile: int | str,
    threads: int | None,
) -> None:
    """Score models on benchmarks, by the protocol of the papers.

    PSNR in dB and SSIM on luma (BT.601), and on RGB, with `scale` pixels of border left out;
    beside bicubic, Lanczos and what RGT's paper reports of the model.

    rgt evaluate --hr Set5/HR --hr Set14/HR -s 4 -m rgt
    """
    if lows and len(lows) != len(highs):
        raise click.UsageError("--lr: give one for each --hr, or none")
    from rgt_cli.inference import Upscaler, use_threads
    from rgt_cli.inference.memory import peak_memory
    from rgt_cli.measure.evaluate import baselines, find_dataset
    from rgt_cli.measure.evaluate import evaluate as score_all

    benchmarks = [find_dataset(high, lows[at] if lows else None, scale) for at, high in enumerate(highs)]
    use_threads(threads)
    methods, variants = baselines(scale), dict[str, str]()
    upscalers: list[Upscaler] = []
    for name in [part.strip() for part in compare.split(",")] if compare else [model]:
        with console.downloads() as progress:
            upscaler = Upscaler(
                name, scale, device, precision, tile, progress=progress, self_ensemble=self_ensemble
            )
        for note in upscaler.notes:
            console.warn(note)
        title = upscaler.name + " +" * self_ensemble
        methods[title] = upscaler.upscale
        variants[title] = "" if jpeg else _variant(upscaler, self_ensemble)
        upscalers.append(upscaler)
    results: list[Result] = []
    in_all = len(methods) * sum(len(benchmark.pictures) for benchmark in benchmarks)
    with console.tiles("pictures") as report:
        for result in score_all(benchmarks, methods, scale, with_vmaf, jpeg):
            results.append(result)
            report(len(results), in_all)
    peak = max(peak_memory(upscaler.device) for upscaler in upscalers)
    if csv_path:
        _write_csv(csv_path, results)
    if as_json:
        click.echo(json.dumps(_facts(results, variants, scale, jpeg, peak), indent=2))
        return
    _tell(console, results, variants, f"x{scale}" + (f", JPEG {jpeg}" if jpeg else ""), scale, images)
    console.info(f"peak memory {peak / 2**20:.0f} MiB")


def _variant(upscaler: Upscaler, self_ensemble: bool) -> str:
    """The row of the paper's table that a model belongs to; empty if there is none."""
    try:
        entry = lookup(upscaler.name, upscaler.scale)
    except Exception:  # a file, which the paper does not know
        return ""
    if not isinstance(entry, CatalogueEntry) or entry.purpose != "bicubic":
        return ""
    if self_ensemble:
        return "RGT+" if entry.variant == "RGT" else ""
    return entry.variant


def _by_method(results: list[Result]) -> dict[tuple[str, str], list[Result]]:
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        grouped.setdefault((result.benchmark, result.method), []).append(result)
    return grouped


def _cells(scores: Scores) -> list[str]:
    cells = [f"{scores.psnr:.2f}", f"{scores.ssim:.4f}", f"{scores.psnr_rgb:.2f}"]
    return [*cells, f"{scores.ssim_rgb:.4f}", "" if scores.vmaf is None else f"{scores.vmaf:.2f}"]


def _tell(
    console: Console,
    results: list[Result],
    variants: dict[str, str],
    inputs: str,
    scale: int,
    images: bool,
) -> None:
    from rgt_cli.measure.evaluate import mean_scores, reported

    columns = ["PSNR", "SSIM", "PSNR RGB", "SSIM RGB", "VMAF", "s/MP"]
    rows = []
    for (benchmark, method), group in _by_method(results).items():
        pace = sum(r.seconds for r in group) / sum(r.megapixels for r in group)
        name = f"{benchmark} {inputs}"
        rows.append([name, method, *_cells(mean_scores(group)), f"{pace:.2f}"])
        paper = reported(variants.get(method, ""), benchmark, scale)
        if paper:
            told = [f"{paper[0]:.2f}", f"{paper[1]:.4f}", "", "", "", ""]
            rows.append([name, f"{variants[method]} in the paper", *told])
    console.table(["benchmark", "by", *columns], rows)
    if images:
        listed = [[r.benchmark, r.picture, r.method, *_cells(r.scores)] for r in results]
        console.table(["benchmark", "picture", "by", *columns[:-1]], listed)


def _facts(
    results: list[Result], variants: dict[str, str], scale: int, jpeg: int | None, peak: int
) -> dict:
    """Everything that was measured, for programs."""
    from rgt_cli.measure.evaluate import mean_scores, reported

    means = []
    for (benchmark, method), group in _by_method(results).items():
        paper = reported(variants.get(method, ""), benchmark, scale)
        means.append(
            {
                "benchmark": benchmark,
                "method": method,
                **dataclasses.asdict(mean_scores(group)),
                "pictures": len(group),
                "seconds_per_megapixel": sum(r.seconds for r in group)
                / sum(r.megapixels for r in group),
                "paper": {"psnr": paper[0], "ssim": paper[1]} if paper else None,
            }
        )
    return {
        "scale": scale,
        "jpeg": jpeg,
        "peak_memory": peak,
        "means": means,
        "pictures": [dataclasses.asdict(result) for result in results],
    }


def _write_csv(path: Path, results: list[Result]) -> None:
    """Write every result, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in dataclasses.fields(results[0].scores)]
    writer.writerow(["benchmark", "method", "picture", *names, "seconds", "megapixels"])
    for r in results:
        scores = dataclasses.astuple(r.scores)
        writer.writerow([r.benchmark, r.method, r.picture, *scores, r.seconds, r.megapixels])
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text.getvalue())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
