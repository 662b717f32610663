"""`rgt upscale`: one picture in, one larger picture out."""

import time
from pathlib import Path

import click

from rgt_cli.checkpoints.catalogue import Entry, find
from rgt_cli.cli import options
from rgt_cli.cli.console import Console


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), metavar="TARGET",
    help="A file or an existing folder. Default: SOURCE_x4.png beside the source.",
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
@click.option("--overwrite", is_flag=True, help="Replace a target that exists.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def upscale(
    console: Console,
    source: Path,
    target: Path | None,
    scale: int | None,
    model: str,
    tile: str | int,
    overlap: int | None,
    device: str,
    memory: int | None,
    threads: int | None,
    precision: str,
    format_name: str | None,
    quality: int,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Enlarge the picture SOURCE: PNG, JPEG, WebP, TIFF or BMP, 8-bit RGB or gray."""
    from rgt_cli.batch import plan_job, run_job

    console.quiet |= quiet
    started = time.monotonic()
    if isinstance(tile, int) and overlap is not None and overlap >= tile:
        raise click.BadParameter(f"must be below --tile {tile}", param_hint="--overlap")
    if model == "auto":
        scale = scale or 4
    elif isinstance(found := find(model, scale), Entry):  # refuse an unknown name at once
        scale = scale or found.scale
    if scale is not None:
        # Refuse what can be refused before torch takes its second to start.
        plan_job(source, target, scale, format_name, overwrite)
    from rgt_cli.inference import Upscaler, use_threads

    use_threads(threads)
    with console.downloads() as progress:
        upscaler = Upscaler(model, scale, device, precision, tile, overlap, memory, progress)
    for note in upscaler.notes:
        console.warn(note)
    if upscaler.scale != upscaler.native_scale:
        console.warn(
            f"{upscaler.name} enlarges by {upscaler.native_scale}; "
            f"the result is then shrunk to x{upscaler.scale} by Lanczos"
        )
    job = plan_job(source, target, upscaler.scale, format_name, overwrite)
    with console.tiles(source.name) as report:
        written = run_job(job, upscaler, quality, report)
    if upscaler.redone_tiles:
        console.warn(f"{upscaler.redone_tiles} tiles overflowed half precision and were redone")
    if upscaler.shrunk_to:
        console.warn(f"memory ran out, so tiles were shrunk to {upscaler.shrunk_to} pixels")
    if (written.icc or written.exif) and not job.format.has_metadata:
        console.warn(
            f"{job.target}: {job.format.name} cannot hold the ICC profile and EXIF of the source"
        )
    height, width = written.pixels.shape[:2]
    seconds = time.monotonic() - started
    console.say(f"{job.target}: {width} x {height}, by {upscaler.name} in {seconds:.1f} s")
