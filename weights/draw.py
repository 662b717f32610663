"""Draw images for training, with the sharp edges that photos lack: dead leaves, line art and text.

\b
Example:
  python weights/draw.py DRAWN --count 90
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 384
"""Width and height of an image, in pixels."""
OVERSAMPLING = 2
"""Images are drawn larger by this factor and then downscaled, so that their edges are antialiased."""
LETTERS = [chr(c) for c in range(33, 127)]
"""The printable ASCII characters."""

Color = tuple[int, int, int]
"""Red, green and blue, 0..255."""


def color(random: np.random.Generator, gray: float) -> Color:
    """Return a random color. It has no hue with a probability of `gray`."""
    saturation = 0.0 if random.random() < gray else random.random()
    red, green, blue = colorsys.hsv_to_rgb(random.random(), saturation, random.random())
    return round(255 * red), round(255 * green), round(255 * blue)


def dead_leaves(random: np.random.Generator) -> Image.Image:
    """Draw overlapping discs and polygons, with sizes distributed as in nature (power law of -3)."""
    side, gray = SIDE * OVERSAMPLING, random.random()
    image = Image.new("RGB", (side, side), color(random, gray))
    draw = ImageDraw.Draw(image)
    smallest, largest = 6.0, side / 3
    for share in random.random(1500):
        radius = 1 / np.sqrt(1 / largest**2 + share * (1 / smallest**2 - 1 / largest**2))
        x, y = random.uniform(0, side, 2)
        box = (x - radius, y - radius, x + radius, y + radius)
        if random.random() < 0.5:
            draw.ellipse(box, fill=color(random, gray))
        else:
            corners = int(random.integers(3, 7))
            turn = float(random.uniform(0, 360))
            draw.regular_polygon((x, y, radius), corners, rotation=turn, fill=color(random, gray))
    return image


def line_art(random: np.random.Generator) -> Image.Image:
    """Draw curves, outlines and hatching in dark ink on paper and flat colors."""
    side = SIDE * OVERSAMPLING
    image = Image.new("RGB", (side, side), "white" if random.random() < 0.7 else color(random, 0.5))
    draw = ImageDraw.Draw(image)
    ink = color(random, 1.0) if random.random() < 0.3 else (15, 15, 15)
    for _ in range(40):
        x, y = random.uniform(-50, side, 2)
        width, height = random.uniform(20, side / 2, 2)
        thickness = int(random.integers(2, 10))
        kind = int(random.integers(4))
        if kind == 0:
            fill = color(random, 0.5) if random.random() < 0.4 else None
            draw.ellipse((x, y, x + width, y + height), fill=fill, outline=ink, width=thickness)
        elif kind == 1:
            start, sweep = random.uniform(0, 360), random.uniform(40, 250)
            draw.arc((x, y, x + width, y + height), start, start + sweep, fill=ink, width=thickness)
        elif kind == 2:
            points = np.cumsum(random.normal(0, 25, (30, 2)), axis=0) + np.array([x, y])
            draw.line([tuple(p) for p in points], fill=ink, width=thickness, joint="curve")
        else:
            gap, slope = int(random.integers(6, 24)), random.uniform(-1, 1)
            for at in range(0, int(width), gap):
                ends = (x + at, y, x + at + slope * height, y + height)
                draw.line(ends, fill=ink, width=max(2, thickness // 2))
    return image


def text(random: np.random.Generator) -> Image.Image:
    """Draw lines of letters in many sizes, dark on light or light on dark."""
    side = SIDE * OVERSAMPLING
    light = random.random() < 0.6
    paper, ink = ("white", color(random, 0.7)) if light else (color(random, 0.5), "white")
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    top = 4.0
    while top < side:
        size = int(random.integers(18, 90))
        words = "".join(str(c) for c in random.choice([*LETTERS, " ", " ", " "], 80))
        left, font = float(random.uniform(-20, 20)), ImageFont.load_default(size)
        draw.text((left, top), words, fill=ink, font=font)
        top += size * 1.25
    return image


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", type=int, default=90, show_default=True, help="Images to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Start of the random numbers.")
def draw(folder: Path, count: int, seed: int) -> None:
    """Run the command."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = (dead_leaves, line_art, text)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        image = kind(np.random.default_rng((seed, index)))
        small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
        small.save(folder / f"{kind.__name__}_{index:04}.png")


if __name__ == "__main__":
    draw()
