"""The contact sheet of `rgt compare`: all images of a comparison in one, with their names."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rgt_cli.errors import UsageError
from rgt_cli.media import MAX_PIXELS, Picture
from rgt_cli.media.identify import no_pixel_limit
from rgt_cli.pages.comparison import Comparison, Scene, View
from rgt_cli.size import Dimensions

_PAPER, _INK, _SOFT = (255, 255, 255), (20, 24, 31), (75, 85, 99)
_MOST_COLUMNS = 4
_GAP = 16
"""Pixels around each image."""


def contact_sheet(comparison: Comparison) -> Picture:
    """Return all images of a comparison in rows, each at its full size below its name.

    Raises:
        UsageError: They are too large for one image.
    """
    scenes = comparison.scenes
    count = max(len(_shown(scene)) for scene in scenes)
    columns = count if count <= _MOST_COLUMNS else math.ceil(count / 2)
    rows = [
        (scene, views[start : start + columns])
        for scene in scenes
        for views in [_shown(scene)]
        for start in range(0, len(views), columns)
    ]
    tile = Dimensions(max(s.size.width for s in scenes), max(s.size.height for s in scenes))
    text = max(12, min(28, tile.width // 22))
    caption = round(3.2 * text)
    width = columns * (tile.width + _GAP) + _GAP
    height = len(rows) * (tile.height + caption + _GAP) + _GAP
    if width * height > MAX_PIXELS:
        raise UsageError(
            f"a contact sheet of {width} x {height} pixels is too large: use --crop, or a page (.html)"
        )
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (scene, views) in enumerate(rows):
        top = _GAP + row * (tile.height + caption + _GAP)
        for column, view in enumerate(views):
            left = _GAP + column * (tile.width + _GAP)
            title = f"{view.name}, {scene.title}" if len(scenes) > 1 else view.name
            for line, (words, color) in enumerate(((title, _INK), (_details(view), _SOFT))):
                font = _fitting(words, text, tile.width)
                draw.text((left, top + line * 1.4 * text), words, color, font=font)
            sheet.paste(_opened(view, scene.size), (left, top + caption))
    return Picture(np.asarray(sheet))


def _shown(scene: Scene) -> list[View]:
    return [view for view in scene.views if not view.is_secondary]


def _details(view: View) -> str:
    parts = [str(view.size)]
    if view.seconds is not None:
        parts.append(f"{view.seconds:.2f} s")
    if view.psnr is not None and view.ssim is not None:
        parts.append(f"{view.psnr:.2f} dB, SSIM {view.ssim:.4f}")
    return ", ".join(parts)


def _fitting(words: str, height: int, width: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return a font of at most a height, in which the text is no wider than `width` if possible."""
    font = ImageFont.load_default(height)
    length = font.getlength(words)
    return font if length <= width else ImageFont.load_default(max(8, int(height * width / length)))


def _opened(view: View, size: Dimensions) -> Image.Image:
    """Return a view in color and at its shown size, transparent pixels on white."""
    with no_pixel_limit(), Image.open(io.BytesIO(view.png)) as opened:
        image = opened.convert("RGBA")
        paper = Image.new("RGBA", image.size, _PAPER)
        flat = Image.alpha_composite(paper, image).convert("RGB")
    return flat if flat.size == size else flat.resize(size, Image.Resampling.NEAREST)
