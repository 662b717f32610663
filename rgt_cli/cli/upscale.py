"""`rgt upscale`: pictures in, larger pictures out."""

from __future__ import annotations

import dataclasses
import glob
import math
import os
import shlex
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from rgt_cli.checkpoints.catalogue import CatalogueEntry, available_scales, lookup
from rgt_cli.cli import options
from rgt_cli.cli.console import Console
from rgt_cli.cli.preview import print_plan, write_previews
from rgt_cli.cli.stdio import STDIO, display_name, stdio_files
from rgt_cli.cli.summary import RunReport, Stop, graceful_shutdown, print_summary
from rgt_cli.errors import ExitCode, NoInputError
from rgt_cli.jobs import (
    DEFAULT_NAME,
    Existing,
    Job,
    Journal,
    Recipe,
    VideoOptions,
    find_sources,
    output_folder,
    plan_batch,
    plan_job,
    read_list,
    run_job,
    run_jobs,
    watch_jobs,
)
from rgt_cli.media import FORMATS, MAX_PIXELS, VIDEO_FORMATS, Encoding
from rgt_cli.media.video.codecs import VideoEncoding
from rgt_cli.size import Size

if TYPE_CHECKING:
    from rgt_cli.inference import MultiPassUpscaler, Upscaler


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
    help="Names of the results of a batch; also {scale}, {name} (of the source) and {index}.",
)  # fmt: skip
@click.option(
    "-s", "--scale", type=click.FloatRange(0, 64, min_open=True),
    help="How much larger, like 2 or 1.5. Default: 4, or what a model given by path does.",
)  # fmt: skip
@click.option("--width", type=click.IntRange(min=1), help="Pixels of the result instead of --scale.")
@click.option("--height", type=click.IntRange(min=1), help="The same; with --width, both are met.")
@click.option(
    "--fit", type=options.BoxType(), help="As large as fits in there, in the proportions of the source."
)
@options.model
@click.option(
    "--tile", type=options.TileType(), default="auto", show_default=True,
    help="Side of a tile in pixels of the source; auto: the whole picture if it fits in memory.",
)  # fmt: skip
@click.option(
    "--overlap", type=click.IntRange(min=0),
    help="Pixels of the source that neighboring tiles share. Default: 32, less in tiles below 96.",
)  # fmt: skip
@click.option(
    "--self-ensemble", is_flag=True, help="The mean over 8 flips and rotations: better, 8 times slower."
)
@click.option(
    "--batch", type=click.IntRange(min=1),
    help="Frames or pictures of one size computed at once. Default: on CUDA, up to 8; else 1.",
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
    "--format", "format_name", type=click.Choice([f.name for f in (*FORMATS, *VIDEO_FORMATS)]),
    help="Format of the result. Default: by the suffix of the target, or the source's.",
)  # fmt: skip
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True,
    help="For JPEG, WebP, AVIF, HEIF and JPEG XL.",
)  # fmt: skip
@click.option("--lossless", is_flag=True, help="For WebP, HEIF and JPEG XL.")
@click.option("--bits", type=click.Choice(["8", "16"]), help="Of a channel. Default: as in the source.")
@click.option(
    "--alpha", type=click.Choice(["network", "lanczos"]), default="network", show_default=True,
    help="What enlarges transparency.",
)  # fmt: skip
@click.option(
    "--background", type=options.ColorType(),
    help="What to put behind transparency in formats that have none, like white or #102030.",
)  # fmt: skip
@click.option(
    "--dpi", type=options.DPIType(), default="keep", show_default=True,
    help="Pixels an inch; scale: printed as large as the source.",
)  # fmt: skip
@click.option("--strip", is_flag=True, help="Leave out all metadata; colors become sRGB.")
@click.option("--strip-gps", is_flag=True, help="Leave out where a picture was taken.")
@click.option(
    "--max-pixels", type=options.PixelsType(), default=MAX_PIXELS, show_default="300M",
    help="Refuse files that decode to more: some are made to fill the memory.",
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
@click.option(
    "--codec", metavar="NAME",
    help="Of films: x264, x265, av1, vp9, prores, ffv1, *_nvenc. Default: x264, or x265 from 10 bits.",
)  # fmt: skip
@click.option("--crf", type=float, help="Quality of films, in the codec's own scale; lower is better.")
@click.option("--preset", help="How slow the codec may be, in its own words.")
@click.option("--pix-fmt", help="Pixel format of films. Default: as the source has it.")
@click.option("--encoder-args", default="", help="More for ffmpeg: '-tune film -g 48'.")
@click.option("--deinterlace", is_flag=True, help="Make whole frames of an interlaced film.")
@click.option("--start", type=options.TimeType(), help="Of a film, only from here on: 90 or 1:30.")
@click.option("--end", type=options.TimeType(), help="Of a film, only until here.")
@click.option(
    "--segment-seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True,
    help="Of film, that are lost at most when a run is killed.",
)  # fmt: skip
@click.option(
    "--preview", type=click.IntRange(min=1), metavar="N", help="Only N frames of a film, as PNG."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it would take.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first picture that fails.")
@click.option("--watch", is_flag=True, help="Go on with whatever comes into a folder, until Ctrl-C.")
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
    existing: Existing,
    fail_fast: bool,
    watch: bool,
    report_path: Path | None,
    events: bool,
    quiet: bool,
    format_name: str | None,
    preview: int | None,
    dry_run: bool,
    **chosen: Any,
) -> int:
    """Enlarge pictures and films: files, folders, patterns; - is one picture from stdin to stdout.

    PNG, JPEG, WebP, TIFF, BMP, AVIF and GIF; HEIF and JPEG XL with rgt-cli[formats]; films into MP4,
    MKV, MOV, WebM, GIF or frames/%06d.png. A folder is enlarged into another one. A run that was
    interrupted is resumed by the same command: what was finished stays, what is missing is made.
    """
    console.quiet |= quiet
    for file in lists:
        sources += tuple(read_list(file.read(), b"\0" if null else b"\n"))
    if not sources:
        raise NoInputError("no source is named")
    # Refuse what can be refused before torch takes its second to start.
    size, recipe = _size(chosen), _recipe(chosen)
    one = len(sources) == 1 and not sources[0].is_dir() and not _is_pattern(sources[0])
    if one and not _means_folder(target, format_name):
        record, code = RunReport(events), int(ExitCode.DONE)
        record.plan(1, 0)
        with stdio_files(sources[0], target, format_name) as (source, named):

            def plan(size: Size) -> Job:
                return plan_job(source, named, size, format_name, existing is Existing.OVERWRITE)

            if size != Size():
                plan(size)
            enlarger = _enlarger(console, size, chosen)
            job = plan(enlarger.size)
            if dry_run:
                print_plan(console, [job], recipe, enlarger)
            elif preview:
                write_previews(console, job, recipe, enlarger, preview)
            else:
                code = _run_one(console, job, recipe, enlarger, record)
        if report_path:
            record.write(report_path)
    else:
        found = find_sources(sources, recursive, include, exclude)
        if not found.sources and not watch:
            left_out = ", ".join(f"{count} {why}" for why, count in found.ignored.items())
            raise NoInputError(f"{sources[0]}: no pictures in it" + f" ({left_out})" * bool(left_out))
        folder = target or output_folder(found)
        if size != Size():
            plan_batch(found.sources, folder, size, template, format_name)
        enlarger = _enlarger(console, size, chosen)

        def look() -> list[Job]:
            now = find_sources(sources, recursive, include, exclude) if watch else found
            return plan_batch(now.sources, folder, enlarger.size, template, format_name)

        if dry_run or preview:
            jobs = look()
            if dry_run:
                print_plan(console, jobs, recipe, enlarger)
            for job in jobs:
                if preview and job.is_video:
                    write_previews(console, job, recipe, enlarger, preview)
            return ExitCode.DONE
        record = RunReport(events, {"ignored": found.ignored})
        settings = _settings(enlarger, recipe, format_name, chosen)
        with (
            Journal(folder, settings, anew=existing is Existing.OVERWRITE) as journal,
            graceful_shutdown(console) as stop,
        ):
            for to_do, there in watch_jobs(look, journal, existing, stop, watch):
                record.plan(len(to_do), len(there))
                try:
                    _run_batch(console, to_do, recipe, enlarger, journal, record, stop, fail_fast)
                finally:
                    if report_path:
                        record.write(report_path)
            code = print_summary(console, record, stop)
    _tell_what_happened(console, enlarger)
    return code


def _size(chosen: dict[str, Any]) -> Size:
    """How large results are to be; `Size()` where only the file of a model can tell."""
    tile, overlap, model = chosen["tile"], chosen["overlap"], chosen["model"]
    if isinstance(tile, int) and overlap is not None and overlap >= tile:
        raise click.BadParameter(f"must be below --tile {tile}", param_hint="--overlap")
    scale, box = chosen.pop("scale"), chosen.pop("fit")
    width, height = chosen.pop("width"), chosen.pop("height")
    if sum((scale is not None, box is not None, width is not None or height is not None)) > 1:
        raise click.UsageError("--scale, --width or --height, and --fit: only one of them")
    if box:
        return Size(width=box[0], height=box[1], fit=True)
    if width or height:
        return Size(width=width, height=height)
    if scale is None and model == "auto":
        scale = 4
    elif scale is None:
        found = lookup(model, None)  # refuses an unknown name
        scale = found.scale if isinstance(found, CatalogueEntry) else None
    return Size(scale=scale)


def _recipe(chosen: dict[str, Any]) -> Recipe:
    encoding = Encoding(*(chosen.pop(name) for name in ("quality", "lossless", "background")))
    bits = chosen.pop("bits")
    rest = {name: chosen.pop(name) for name in ("dpi", "strip", "strip_gps", "max_pixels")}
    film = VideoOptions(
        VideoEncoding(
            chosen.pop("codec"),
            chosen.pop("crf"),
            chosen.pop("preset"),
            chosen.pop("pix_fmt"),
            tuple(shlex.split(chosen.pop("encoder_args"))),
        ),
        *(chosen.pop(name) for name in ("deinterlace", "start", "end", "segment_seconds")),
    )
    return Recipe(encoding, bits=int(bits) if bits else None, film=film, **rest)


def _is_pattern(source: Path) -> bool:
    return glob.has_magic(os.fspath(source)) and not os.path.lexists(source)


def _means_folder(target: Path | None, format_name: str | None) -> bool:
    """Whether a target that is not there yet is to become a folder: no suffix, no format."""
    if target == STDIO:
        return False
    return bool(target and not target.suffix and not format_name and not target.exists())


def _enlarger(console: Console, size: Size, chosen: dict[str, Any]) -> MultiPassUpscaler:
    from rgt_cli.inference import MultiPassUpscaler, Upscaler, use_threads

    use_threads(chosen["threads"])
    names = ("model", "device", "precision", "tile", "overlap", "memory", "self_ensemble", "batch")
    computing = {name: chosen[name] for name in names}

    def load(scale: int | None) -> Upscaler:
        with console.downloads() as progress:
            upscaler = Upscaler(scale=scale, progress=progress, **computing)
        for note in upscaler.notes:
            console.warn(note)
        return upscaler

    enlarger = MultiPassUpscaler(
        size, load, available_scales(chosen["model"]), chosen["alpha"] == "network"
    )
    if enlarger.size.scale:
        _tell_how(console, enlarger, enlarger.size.scale)
    return enlarger


def _tell_how(console: Console, enlarger: MultiPassUpscaler, scale: float) -> None:
    """Say so where a factor is not one that a model has."""
    steps = enlarger.steps(scale)
    if (len(steps) == 1 and steps[0] == scale) or not steps:
        return
    *first, last = (f"x{step}" for step in steps)
    by = f"{', '.join(first)} and {last}" if first else last
    shrunk = f", and then shrunk to x{scale:g} by Lanczos" if math.prod(steps) != scale else ""
    console.warn(f"enlarged by {by}{shrunk}")


def _settings(
    enlarger: MultiPassUpscaler, recipe: Recipe, format_name: str | None, chosen: dict[str, Any]
) -> dict[str, Any]:
    """What the results of a batch depend on, for its journal."""
    made = dataclasses.asdict(recipe)
    del made["max_pixels"]
    encoding = made.pop("encoding")
    background = encoding.pop("background")
    film = made.pop("film")
    film |= film.pop("encoding")
    film["arguments"] = list(film["arguments"])
    return {
        "model": enlarger.name or chosen["model"],
        "size": str(enlarger.size),
        "precision": chosen["precision"],
        "tile": chosen["tile"],
        "overlap": chosen["overlap"],
        "alpha": chosen["alpha"],
        "self_ensemble": chosen["self_ensemble"],
        "format": format_name,
        "background": background and list(background),
        **encoding,
        **made,
        **film,
    }


def _run_one(
    console: Console, job: Job, recipe: Recipe, enlarger: MultiPassUpscaler, record: RunReport
) -> int:
    """Enlarge one picture or film; returns the exit code."""
    if job.is_video:
        with console.frames(display_name(job.source)) as report, graceful_shutdown(console) as stop:
            outcome = run_job(job, recipe, enlarger, report, stop, console.warn)
        if outcome is None:
            console.warn("stopped; the same command goes on from here")
            return stop.exit_code
    else:
        with console.tiles(display_name(job.source)) as report:
            outcome = run_job(job, recipe, enlarger, report)
    assert outcome
    record.add(outcome)
    for warning in () if job.is_video else outcome.warnings:
        console.warn(warning)
    width, height = outcome.target_size or (0, 0)
    seconds = time.monotonic() - record.started
    by = f", by {enlarger.name}" if enlarger.name else ""
    frames = f", {outcome.frames} frames" if job.is_video else ""
    console.info(f"{display_name(job.target)}: {width} x {height}{frames}{by} in {seconds:.1f} s")
    if outcome.error:
        console.error(str(outcome.error))
    return ExitCode.SOME_FAILED if outcome.error else ExitCode.DONE


def _run_batch(
    console: Console,
    jobs: list[Job],
    recipe: Recipe,
    enlarger: MultiPassUpscaler,
    journal: Journal,
    record: RunReport,
    stop: Stop,
    fail_fast: bool,
) -> None:
    with console.pictures(len(jobs)) as progress:

        def report(job: Job, done: int, total: int) -> None:
            progress.tile(job.source.name, done, total)

        for outcome in run_jobs(jobs, recipe, enlarger, journal, report, stop, console.warn):
            record.add(outcome)
            width, height = outcome.source_size or (0, 0)
            progress.picture(width * height * outcome.frames)
            for warning in () if outcome.job.is_video else outcome.warnings:
                console.warn(warning)
            if outcome.error and fail_fast:
                break


def _tell_what_happened(console: Console, enlarger: MultiPassUpscaler) -> None:
    for upscaler in enlarger.upscalers:
        if upscaler.redone_tiles:
            console.warn(f"{upscaler.redone_tiles} tiles overflowed half precision and were redone")
        if upscaler.shrunk_to:
            console.warn(f"memory ran out, so tiles were shrunk to {upscaler.shrunk_to} pixels")
