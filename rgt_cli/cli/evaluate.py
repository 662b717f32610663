"""`rgt evaluate`: PSNR and SSIM of models on datasets, beside bicubic, Lanczos and the paper."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rgt_cli.checkpoints.catalogue import CatalogueEntry, lookup
from rgt_cli.cli import candidates, options
from rgt_cli.cli.command import Command, common, group, section
from rgt_cli.cli.console import Console
from rgt_cli.cli.json_output import print_json
from rgt_cli.cli.param_types import whole_number
from rgt_cli.errors import NoInputError, RGTError
from rgt_cli.files import write_text
from rgt_cli.jobs import ModelOptions
from rgt_cli.jobs.plan import check_folder, check_output_folder

if TYPE_CHECKING:
    from rgt_cli.inference import NetworkUpscaler
    from rgt_cli.measure.evaluate import Dataset, Result, Scores

_FOLDER = click.Path(path_type=Path)
_COLUMNS = ["PSNR", "SSIM", "PSNR RGB", "SSIM RGB", "VMAF"]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """The images that models are evaluated on."""

    hr: tuple[Path, ...]
    """Folders of ground truth."""
    lr: tuple[Path, ...]
    """Folders of low-resolution inputs, in the order of `hr`; if empty, inputs are computed."""
    scale: int
    jpeg: int | None
    """Quality with which inputs are compressed first."""

    def find(self) -> list[Dataset]:
        """Find the images.

        Raises:
            NoInputError: As `find_dataset`, or no folder is named.
        """
        from rgt_cli.measure.evaluate import find_dataset

        if not self.hr:
            raise NoInputError(
                "no folder of ground truth is named: `rgt evaluate --help` shows examples"
            )
        if self.lr and len(self.lr) != len(self.hr):
            raise click.UsageError("--lr: give one folder for each folder of ground truth, or none")

        return [
            find_dataset(folder, self.lr[index] if self.lr else None, self.scale)
            for index, folder in enumerate(self.hr)
        ]

    @property
    def title(self) -> str:
        """The kind of inputs, for tables."""
        return f"x{self.scale}" + (f", JPEG {self.jpeg}" if self.jpeg else "")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is measured and printed."""

    vmaf: bool
    images: bool
    """Print the scores of each image too."""
    as_json: bool
    csv: Path | None
    save_images: Path | None
    """The folder for the results."""

    def check(self) -> None:
        """Refuse outputs that cannot be written.

        Raises:
            OutputError: A folder does not exist, or cannot be created or written.
        """
        if self.csv:
            check_folder(self.csv.parent)
        if self.save_images:
            check_output_folder(self.save_images)


dataset_group = group(
    "Datasets", "datasets", DatasetOptions,
    click.option(
        "--hr", type=_FOLDER, multiple=True, metavar="FOLDER", shell_complete=candidates.folders,
        help="Folder of ground truth, like the argument FOLDER. Repeatable.",
    ),
    click.option(
        "--lr", type=_FOLDER, multiple=True, metavar="FOLDER", shell_complete=candidates.folders,
        help="Folder of low-resolution inputs, in the order of the ground truth. "
        "[default: computed like MATLAB's bicubic]",
    ),
    click.option(
        "-s", "--scale", type=whole_number(2, 4), default=4, show_default=True,
        help="Upscaling factor: 2, 3 or 4.",
    ),
    click.option(
        "--jpeg", type=whole_number(1, 100), metavar="1-100",
        help="Compress the inputs with this JPEG quality first.",
    ),
)  # fmt: skip

report_group = group(
    "Report", "report", ReportOptions,
    click.option("--vmaf", is_flag=True, help="Measure VMAF too."),
    click.option("--images", is_flag=True, help="Print a table of all images too."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables."),
    click.option(
        "--csv", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help="Write one line per image and method to FILE.",
    ),
    click.option(
        "--save-images", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
        help="Write the results as PNG to FOLDER/DATASET/METHOD.",
    ),
)  # fmt: skip


@click.command(cls=Command)
@click.argument(
    "folders", metavar="[FOLDER]...", nargs=-1, type=_FOLDER, shell_complete=candidates.folders
)
@dataset_group
@options.model_group(
    options.model,
    options.self_ensemble,
    options.device,
    options.precision,
    options.tile,
    options.threads,
)
@section(
    "Model and performance",
    click.option(
        "--compare", metavar="A,B,C", shell_complete=candidates.listed(candidates.models),
        help="Evaluate these models too, separated by commas.",
    ),
)  # fmt: skip
@report_group
@common
@click.pass_obj
def evaluate(
    console: Console,
    folders: tuple[Path, ...],
    datasets: DatasetOptions,
    model: ModelOptions,
    compare: str | None,
    report: ReportOptions,
) -> None:
    """Measure PSNR and SSIM of models on benchmark datasets.

    \b
    Examples:
      rgt evaluate Set5/HR -s 4 -m rgt
      rgt evaluate Set5/HR Set14/HR -m rgt --compare tiny,rgt-s
      rgt evaluate Set5/HR --lr Set5/LR_x4 --json

    FOLDER contains the ground truth, as PNG images. Their low-resolution inputs are computed, or read
    from --lr. PSNR in dB and SSIM are measured as in papers: on luma (BT.601) and on RGB, without a
    border of SCALE pixels. Bicubic, Lanczos and the scores of the paper are listed too.
    """
    datasets = dataclasses.replace(datasets, hr=(*folders, *datasets.hr))
    found = datasets.find()  # refuse what can be refused before torch takes its second to start
    report.check()
    from rgt_cli.inference.memory import peak_memory

    names = options.split_names(compare or "")
    if not names or model.model != "auto":
        names.insert(0, model.model)
    models = [_Model(console, dataclasses.replace(model, model=name), datasets) for name in names]
    results = _score(console, found, models, datasets, report)
    evaluation = _Evaluation(
        datasets=datasets,
        results=results,
        variants={each.title: each.variant for each in models},
        peak_memory=max(peak_memory(each.upscaler.device) for each in models),
    )
    if report.csv:
        write_text(report.csv, evaluation.as_csv())
    if report.as_json:
        print_json(evaluation.as_json())
    else:
        evaluation.print(console, images=report.images)


class _Model:
    """A model that is evaluated."""

    def __init__(self, console: Console, model: ModelOptions, datasets: DatasetOptions) -> None:
        with console.downloads() as progress:
            self.upscaler = model.load(datasets.scale, progress)
        for note in self.upscaler.notes:
            console.warn(note)
        self.title = self.upscaler.name + " +" * model.self_ensemble
        self.variant = "" if datasets.jpeg else _variant(self.upscaler)
        """Its row in the table of the paper; empty if there is none."""


def _variant(upscaler: NetworkUpscaler) -> str:
    try:
        entry = lookup(upscaler.name, upscaler.scale)
    except RGTError:  # a file, which the paper does not mention
        return ""
    if not isinstance(entry, CatalogueEntry) or entry.purpose != "bicubic":
        return ""
    if upscaler.self_ensemble:
        return "RGT+" if entry.variant == "RGT" else ""
    return entry.variant


def _score(
    console: Console,
    found: list[Dataset],
    models: Sequence[_Model],
    datasets: DatasetOptions,
    report: ReportOptions,
) -> list[Result]:
    from rgt_cli.measure.evaluate import baselines
    from rgt_cli.measure.evaluate import evaluate as evaluate_all

    methods = baselines(datasets.scale) | {each.title: each.upscaler.upscale for each in models}
    total = len(methods) * sum(len(dataset.images) for dataset in found)
    results = []
    with console.counting("evaluating", "results") as on_progress:
        for result in evaluate_all(
            found, methods, datasets.scale, report.vmaf, datasets.jpeg, report.save_images
        ):
            results.append(result)
            on_progress(len(results), total)
    return results


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """The results, and how they are printed."""

    datasets: DatasetOptions
    results: list[Result]
    variants: dict[str, str]
    """Model -> its row in the table of the paper."""
    peak_memory: int
    """Bytes."""

    def _by_method(self) -> dict[tuple[str, str], list[Result]]:
        grouped: dict[tuple[str, str], list[Result]] = {}
        for result in self.results:
            grouped.setdefault((result.dataset, result.method), []).append(result)
        return grouped

    def _paper(self, dataset: str, method: str) -> tuple[float, float] | None:
        from rgt_cli.measure.evaluate import paper_scores

        return paper_scores(self.variants.get(method, ""), dataset, self.datasets.scale)

    def print(self, console: Console, *, images: bool) -> None:
        """Print tables."""
        from rgt_cli.measure.evaluate import mean_scores

        rows = []
        for (dataset, method), results in self._by_method().items():
            title = f"{dataset} {self.datasets.title}"
            rows.append([title, method, *_cells(mean_scores(results)), f"{_pace(results):.2f}"])
            if paper := self._paper(dataset, method):
                cells = [f"{paper[0]:.2f}", f"{paper[1]:.4f}", "", "", "", ""]
                rows.append([title, f"{self.variants[method]} in the paper", *cells])
        _print_table(console, ["dataset", "method", *_COLUMNS, "s/MP"], rows)
        if images:
            listed = [[r.dataset, r.image, r.method, *_cells(r.scores)] for r in self.results]
            _print_table(console, ["dataset", "image", "method", *_COLUMNS], listed)
        console.info(f"peak memory {self.peak_memory / 2**20:.0f} MiB")

    def as_json(self) -> dict[str, Any]:
        """Return everything that was measured."""
        from rgt_cli.measure.evaluate import mean_scores

        means = []
        for (dataset, method), results in self._by_method().items():
            paper = self._paper(dataset, method)
            means.append(
                {
                    "dataset": dataset,
                    "method": method,
                    **dataclasses.asdict(mean_scores(results)),
                    "images": len(results),
                    "seconds_per_megapixel": _pace(results),
                    "paper": {"psnr": paper[0], "ssim": paper[1]} if paper else None,
                }
            )
        return {
            "scale": self.datasets.scale,
            "jpeg": self.datasets.jpeg,
            "peak_memory": self.peak_memory,
            "means": means,
            "images": [dataclasses.asdict(result) for result in self.results],
        }

    def as_csv(self) -> str:
        """Return a line for each image and method."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [field.name for field in dataclasses.fields(self.results[0].scores)]
        writer.writerow(["dataset", "method", "image", *names, "seconds", "megapixels"])
        for r in self.results:
            scores = dataclasses.astuple(r.scores)
            writer.writerow([r.dataset, r.method, r.image, *scores, r.seconds, r.megapixels])
        return text.getvalue()


def _print_table(console: Console, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table without its empty columns: what was not measured has none."""
    shown = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    console.table([columns[at] for at in shown], [[row[at] for at in shown] for row in rows])


def _cells(scores: Scores) -> list[str]:
    cells = [f"{scores.psnr:.2f}", f"{scores.ssim:.4f}", f"{scores.psnr_rgb:.2f}"]
    return [*cells, f"{scores.ssim_rgb:.4f}", "" if scores.vmaf is None else f"{scores.vmaf:.2f}"]


def _pace(results: list[Result]) -> float:
    """Return seconds per megapixel of input."""
    return sum(r.seconds for r in results) / sum(r.megapixels for r in results)
