"""`rgt upscale`: pictures in, larger pictures out."""

from __future__ import annotations

import glob
import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from rgt_cli.batch import (
    DEFAULT_NAME,
    Existing,
    Job,
    Journal,
    find_sources,
    output_folder,
    plan_batch,
    plan_job,
    read_list,
    run_job,
    run_jobs,
    sort_out,
)
from rgt_cli.checkpoints.catalogue import Entry, find
from rgt_cli.cli import options
from rgt_cli.cli.batch import Record, Stop, conclude, stopping_gently
from rgt_cli.cli.console import Console
from rgt_cli.errors import ExitCode, NoInputError

if TYPE_CHECKING:
    from rgt_cli.inference import Upscaler


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), metavar="TARGET",
    help="A file or a folder. Default: in_x4.png beside in.png, photos_upscaled beside a folder photos.",
)  # fmt: skip
@click.option("-r", "--recursive", is_flag=True, help="Look into the folders of a folder as well.")
@click.option(
    "--from-file", "lists", type=click.File("rb"), multiple=True, metavar="FILE",
    help="A list of sources, one a line; - is stdin.",
)  # fmt: skip
@click.option("-0", "--null", is_flag=True, help="The lists have NUL bytes between the sources.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Of a folder, only these: '*.jpg'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Of a folder, all but these.")
@click.option(
    "--name", "template", default=DEFAULT_NAME, show_default=True,
    help="Names of the results of a batch; also {name} (of the source) and {index}.",
)  # fmt: skip
@click.option(
    "-s", "--scale", type=click.IntRange(2, 4),
    help="How much larger. Default: 4, or what a model given by path does.",
)  # fmt: skip
@options.model
@click.option(
    "--tile", type=options.TileType(), default="auto", show_default=True,
    help="Side of a tile in pixels of the source; auto: the whole picture if it fits in memory.",
)  # fmt: skip
@click.option(
    "--overlap", type=click.IntRange(min=0),
    help="Pixels of the source that neighbouring tiles share. Default: 32, less in tiles below 96.",
)  # fmt: skip
@options.device
@click.option(
    "--memory", type=options.SizeType(), help="The most memory to use, like 6G. Default: what is free."
)
@options.threads
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), default="auto",
    show_default=True, help="auto: fp16 on CUDA, fp32 elsewhere.",
)  # fmt: skip
@click.option(
    "--format", "format_name", type=click.Choice(["png", "jpeg", "webp", "tiff", "bmp"]),
    help="Format of the result. Default: by the suffix of the target, or the source's.",
)  # fmt: skip
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True,
    help="For JPEG and WebP.",
)  # fmt: skip
@click.option(
    "--overwrite", "existing", flag_value=Existing.OVERWRITE, default=Existing.REFUSE, type=Existing,
    help="Replace targets that exist.",
)  # fmt: skip
@click.option(
    "--skip-existing", "existing", flag_value=Existing.SKIP, type=Existing,
    help="Leave targets that exist. Those of a run that is resumed always are.",
)  # fmt: skip
@click.option(
    "--update", "existing", flag_value=Existing.UPDATE, type=Existing,
    help="Replace targets that are older than their sources.",
)  # fmt: skip
@click.option("--fail-fast", is_flag=True, help="Stop at the first picture that fails.")
@click.option(
    "--report", "report_path", type=click.Path(path_type=Path), metavar="FILE",
    help="Write what became of every picture, as JSON.",
)  # fmt: skip
@click.option("--json", "events", is_flag=True, help="Print events on stdout, a line of JSON each.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def upscale(
    console: Console,
    sources: tuple[Path, ...],
    target: Path | None,
    recursive: bool,
    lists: tuple[IO[bytes], ...],
    null: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    template: str,
    scale: int | None,
    existing: Existing,
    fail_fast: bool,
    report_path: Path | None,
    events: bool,
    quiet: bool,
    quality: int,
    format_name: str | None,
    **computing: Any,
) -> int:
    """Enlarge pictures: files, folders, patterns. PNG, JPEG, WebP, TIFF or BMP, 8-bit RGB or gray.

    A folder is enlarged into another one. A run that was interrupted is resumed by the same
    command: what was finished stays, and only what is missing is made.
    """
    console.quiet |= quiet
    for file in lists:
        sources += tuple(read_list(file.read(), b"\0" if null else b"\n"))
    if not sources:
        raise NoInputError("no source is named")
    # Refuse what can be refused before torch takes its second to start.
    scale = _expected_scale(computing, scale)
    one = len(sources) == 1 and not sources[0].is_dir() and not _is_pattern(sources[0])
    if one and not _means_folder(target, format_name):
        if scale is not None:
            plan_job(sources[0], target, scale, format_name, existing is Existing.OVERWRITE)
        upscaler = _upscaler(console, scale, computing)
        job = plan_job(sources[0], target, upscaler.scale, format_name, existing is Existing.OVERWRITE)
        record = Record(events, {"planned": 1, "there": 0, "ignored": {}})
        _run_one(console, job, upscaler, quality, record)
        code = int(ExitCode.DONE)
    else:
        found = find_sources(sources, recursive, include, exclude)
        if not found.sources:
            left_out = ", ".join(f"{count} {why}" for why, count in found.ignored.items())
            raise NoInputError(f"{sources[0]}: no pictures in it" + f" ({left_out})" * bool(left_out))
        folder = target or output_folder(found)
        if scale is not None:
            plan_batch(found.sources, folder, scale, template, format_name)
        upscaler = _upscaler(console, scale, computing)
        jobs = plan_batch(found.sources, folder, upscaler.scale, template, format_name)
        record = Record(events, {"ignored": found.ignored})
        settings = _settings(upscaler, quality, format_name)
        with (
            Journal(folder, settings, anew=existing is Existing.OVERWRITE) as journal,
            stopping_gently(console) as stop,
        ):
            to_do, there = sort_out(jobs, journal, existing)
            record.facts |= {"planned": len(to_do), "there": len(there)}
            try:
                _run_batch(console, to_do, upscaler, quality, journal, record, stop, fail_fast)
            finally:
                if report_path:
                    record.write(report_path)
            code = conclude(console, record, stop)
    if one and report_path:
        record.write(report_path)
    _tell_what_happened(console, upscaler)
    return code


def _expected_scale(computing: dict[str, Any], scale: int | None) -> int | None:
    """The scale that a model will have, without loading it; None where only its file can tell."""
    tile, overlap, model = computing["tile"], computing["overlap"], computing["model"]
    if isinstance(tile, int) and overlap is not None and overlap >= tile:
        raise click.BadParameter(f"must be below --tile {tile}", param_hint="--overlap")
    if model == "auto":
        return scale or 4
    found = find(model, scale)  # refuses an unknown name
    return scale or (found.scale if isinstance(found, Entry) else None)


def _is_pattern(source: Path) -> bool:
    return glob.has_magic(os.fspath(source)) and not os.path.lexists(source)


def _means_folder(target: Path | None, format_name: str | None) -> bool:
    """Whether a target that is not there yet is to become a folder: no suffix, no format."""
    return bool(target and not target.suffix and not format_name and not target.exists())


def _upscaler(console: Console, scale: int | None, computing: dict[str, Any]) -> Upscaler:
    from rgt_cli.inference import Upscaler, use_threads

    use_threads(computing.pop("threads"))
    with console.downloads() as progress:
        upscaler = Upscaler(scale=scale, progress=progress, **computing)
    for note in upscaler.notes:
        console.warn(note)
    if upscaler.scale != upscaler.native_scale:
        console.warn(
            f"{upscaler.name} enlarges by {upscaler.native_scale}; "
            f"the result is then shrunk to x{upscaler.scale} by Lanczos"
        )
    return upscaler


def _settings(upscaler: Upscaler, quality: int, format_name: str | None) -> dict[str, Any]:
    """What the results of a batch depend on, for its journal."""
    return {
        "model": upscaler.name,
        "scale": upscaler.scale,
        "precision": str(upscaler.dtype).removeprefix("torch."),
        "tile": upscaler.tile,
        "overlap": upscaler.overlap,
        "format": format_name,
        "quality": quality,
    }


def _run_one(console: Console, job: Job, upscaler: Upscaler, quality: int, record: Record) -> None:
    with console.tiles(job.source.name) as report:
        outcome = run_job(job, upscaler, quality, report)
    record.add(outcome)
    for warning in outcome.warnings:
        console.warn(warning)
    width, height = outcome.target_size or (0, 0)
    seconds = time.monotonic() - record.started
    console.say(f"{job.target}: {width} x {height}, by {upscaler.name} in {seconds:.1f} s")


def _run_batch(
    console: Console,
    jobs: list[Job],
    upscaler: Upscaler,
    quality: int,
    journal: Journal,
    record: Record,
    stop: Stop,
    fail_fast: bool,
) -> None:
    record.event("start", **record.facts)
    with console.pictures(len(jobs)) as progress:

        def report(job: Job, done: int, total: int) -> None:
            progress.tile(job.source.name, done, total)

        for outcome in run_jobs(jobs, upscaler, quality, journal, report, stop):
            record.add(outcome)
            width, height = outcome.source_size or (0, 0)
            progress.picture(width * height)
            for warning in outcome.warnings:
                console.warn(warning)
            if outcome.error and fail_fast:
                break


def _tell_what_happened(console: Console, upscaler: Upscaler) -> None:
    if upscaler.redone_tiles:
        console.warn(f"{upscaler.redone_tiles} tiles overflowed half precision and were redone")
    if upscaler.shrunk_to:
        console.warn(f"memory ran out, so tiles were shrunk to {upscaler.shrunk_to} pixels")
