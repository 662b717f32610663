"""`rgt upscale`: one picture in, one larger picture out."""

import time
from pathlib import Path

import click

from rgt_cli.checkpoints.catalogue import Entry, find
from rgt_cli.cli.console import Console

SMALLEST_TILE = 16


class TileType(click.ParamType):
    """A side in pixels, or one of the words."""

    name = "N|auto|none"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        if value in ("auto", "none"):
            return value
        try:
            side = int(value)
        except ValueError:
            self.fail(f"{value!r} is no number of pixels, nor auto or none", param, ctx)
        if side < SMALLEST_TILE:
            self.fail(f"a tile has at least {SMALLEST_TILE} pixels a side, not {side}", param, ctx)
        return side


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
@click.option("-m", "--model", default="auto", show_default=True, help="A name, or a checkpoint.")
@click.option(
    "--tile", type=TileType(), default="auto", show_default=True,
    help="Side of a tile in pixels of the source; auto: the whole picture if it fits in memory.",
)  # fmt: skip
@click.option(
    "--overlap", type=click.IntRange(min=0),
    help="Pixels of the source that neighbouring tiles share. Default: 32, less in tiles below 96.",
)  # fmt: skip
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cuda|cuda:N|mps|cpu",
    help="Where to compute.",
)  # fmt: skip
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
    from rgt_cli.inference import Upscaler

    with console.downloads() as progress:
        upscaler = Upscaler(model, scale, device, precision, tile, overlap, progress)
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
        console.warn(f"{upscaler.redone_tiles} tiles overflowed half precision and were redone in fp32")
    if (written.icc or written.exif) and not job.format.has_metadata:
        console.warn(
            f"{job.target}: {job.format.name} cannot hold the ICC profile and EXIF of the source"
        )
    height, width = written.pixels.shape[:2]
    seconds = time.monotonic() - started
    console.say(f"{job.target}: {width} x {height}, by {upscaler.name} in {seconds:.1f} s")
