"""How strongly an image was compressed, as far as its file reveals it."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image

from rgt_cli.media.identify import identify, open_by_pillow

_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""The quantization table of luminance in Annex K of ITU-T T.81."""


def jpeg_quality(source: Path | Image.Image) -> int | None:
    """Return the quality of a JPEG, 1..100 on the scale of libjpeg; None for any other image.

    Args:
        source: A file, or an image that was opened from one.

    It is the quality at which the luminance table of libjpeg has about the same sum as that of the file.
    libjpeg scales the table of the standard by 50 / quality below a quality of 50, and by
    2 - quality / 50 otherwise.
    """
    if isinstance(source, Image.Image):
        tables = getattr(source, "quantization", None)
    else:
        try:
            if identify(source) != "jpeg":
                return None
            with open_by_pillow(source) as image:
                tables = getattr(image, "quantization", None)
        except Exception:  # the job itself reports what is wrong with the file
            return None
    if not tables:
        return None
    divisors = sum(next(iter(tables.values())))
    return min(range(1, 101), key=lambda quality: abs(_standard_sum(quality) - divisors))


@functools.cache  # a run may ask for thousands of images
def _standard_sum(quality: int) -> int:
    """Return the sum of the divisors that libjpeg uses for luminance at a quality."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((value * percent + 50) // 100, 1), 255) for value in _LUMINANCE)
