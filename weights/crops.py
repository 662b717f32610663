"""Show a crop of an image, upscaled by several models, beside bicubic and the original.

\b
Example:
  python weights/crops.py IMAGE --box 140,60 --model tiny --model tiny-photo --jpeg 60 -o crops.png

The image is downscaled as MATLAB's bicubic does, compressed if --jpeg is given, and upscaled again.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rgt_cli import Upscaler
from rgt_cli.measure import bicubic_resize, jpeg_roundtrip, psnr_luma

SIDE = 96
"""Width and height of the crop, in pixels of the original."""
ZOOM = 2
"""Factor by which the crop is shown, by repeating pixels."""
LABEL = 22
"""Height of the labels in pixels."""
GAP = 4
"""Pixels between two crops."""


@click.command(help=__doc__)
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--scale", type=click.IntRange(2, 4), default=4, show_default=True, help="Upscaling factor."
)
@click.option("--box", default="0,0", show_default=True, help="Left and top of the crop.")
@click.option("--model", "models", multiple=True, default=["tiny"], help="Model to show. Repeatable.")
@click.option("--jpeg", type=click.IntRange(1, 100), help="JPEG quality of the input.")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Image to write."
)
def crops(
    image: Path, scale: int, box: str, models: tuple[str, ...], jpeg: int | None, out: Path
) -> None:
    """Run the command."""
    truth = np.asarray(Image.open(image).convert("RGB"))
    height, width = (side // scale * scale for side in truth.shape[:2])
    truth = truth[:height, :width]
    small = bicubic_resize(truth, 1 / scale)
    if jpeg:
        small = jpeg_roundtrip(small, jpeg)
    columns = {
        "input": small.repeat(scale, 0).repeat(scale, 1),
        "bicubic": bicubic_resize(small, scale),
        **{Path(name).stem: Upscaler(name, scale).upscale(small) for name in models},
        "truth": truth,
    }
    left, top = (int(n) for n in box.split(","))
    sheet = {}
    for title, pixels in columns.items():
        if title not in ("input", "truth"):
            title = f"{title}  {psnr_luma(pixels, truth, scale):.2f} dB"
        sheet[title] = pixels[top : top + SIDE, left : left + SIDE]
    draw_sheet(sheet).save(out)


def draw_sheet(columns: dict[str, np.ndarray]) -> Image.Image:
    """Draw (SIDE, SIDE, 3) uint8 crops side by side, each below its title."""
    step = SIDE * ZOOM + GAP
    sheet = Image.new("RGB", (len(columns) * step - GAP, SIDE * ZOOM + LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (title, pixels) in enumerate(columns.items()):
        x = index * step
        crop = Image.fromarray(pixels)
        sheet.paste(crop.resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.NEAREST), (x, LABEL))
        draw.text((x + 2, 4), title, fill="black", font=ImageFont.load_default(12))
    return sheet


if __name__ == "__main__":
    crops()
