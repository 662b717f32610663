"""`rgt evaluate`: the PSNR of a model on a folder of ground truth."""

from pathlib import Path

import click

from rgt_cli.cli import options
from rgt_cli.cli.console import Console


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-s", "--scale", type=click.IntRange(2, 4), help="Default: 4, or the model's own.")
@options.model
@options.device
@options.threads
@click.pass_obj
def evaluate(
    console: Console, folder: Path, scale: int | None, model: str, device: str, threads: int | None
) -> None:
    """Score a model on FOLDER, the PNG pictures of a benchmark, as papers do.

    Each picture is shrunk as MATLAB's bicubic does, enlarged again, and compared on luma, in dB,
    with `scale` pixels of border left out.
    """
    from rgt_cli.inference import Upscaler, use_threads
    from rgt_cli.measure.evaluate import evaluate as score_folder

    use_threads(threads)
    with console.downloads() as progress:
        upscaler = Upscaler(model, scale, device, progress=progress)
    for note in upscaler.notes:
        console.warn(note)
    scores = score_folder(folder, upscaler)
    console.say(f"{folder}, x{upscaler.scale}, PSNR in dB on luma")
    for line in scores:
        click.echo(f"{line.model:6.2f}  bicubic {line.bicubic:6.2f}  {line.name}")
    mean = sum(score.model for score in scores) / len(scores)
    bicubic = sum(score.bicubic for score in scores) / len(scores)
    click.echo(f"{mean:6.2f}  bicubic {bicubic:6.2f}  mean, {upscaler.name}")
