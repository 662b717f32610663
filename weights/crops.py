"""Show what the bundled checkpoints make of a piece of a picture, beside bicubic and the truth.

    python weights/crops.py PICTURE --box 140,60 --model tiny --model tiny-photo --jpeg 60 -o crops.png

The picture is reduced as MATLAB's bicubic does, jpeg_roundtrip if asked for, and enlarged again.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rgt_cli import Upscaler
from rgt_cli.measure import bicubic_resize, jpeg_roundtrip, psnr_luma

SIDE = 96
"""Pixels of the picture that are shown, each way."""
ZOOM = 2
LABEL = 22


@click.command(help=__doc__)
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--scale", type=click.IntRange(2, 4), default=4, show_default=True)
@click.option("--box", default="0,0", help="Left and top of the piece.")
@click.option("--model", "models", multiple=True, default=["tiny"])
@click.option("--jpeg", type=click.IntRange(1, 100))
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
def crops(
    picture: Path, scale: int, box: str, models: tuple[str, ...], jpeg: int | None, out: Path
) -> None:
    truth = np.asarray(Image.open(picture).convert("RGB"))
    height, width = (side // scale * scale for side in truth.shape[:2])
    truth = truth[:height, :width]
    small = bicubic_resize(truth, 1 / scale)
    if jpeg:
        small = jpeg_roundtrip(small, jpeg)
    shown = {
        "input": small.repeat(scale, 0).repeat(scale, 1),
        "bicubic": bicubic_resize(small, scale),
        **{Path(name).stem: Upscaler(name, scale).upscale(small) for name in models},
        "truth": truth,
    }
    left, top = (int(n) for n in box.split(","))
    sheet = Image.new("RGB", (len(shown) * (SIDE * ZOOM + 4) - 4, SIDE * ZOOM + LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (title, pixels) in enumerate(shown.items()):
        piece = Image.fromarray(pixels[top : top + SIDE, left : left + SIDE])
        x = index * (SIDE * ZOOM + 4)
        sheet.paste(piece.resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.NEAREST), (x, LABEL))
        if title not in ("input", "truth"):
            title += f"  {psnr_luma(pixels, truth, scale):.2f} dB"
        draw.text((x + 2, 4), title, fill="black", font=ImageFont.load_default(12))
    sheet.save(out)


if __name__ == "__main__":
    crops()
