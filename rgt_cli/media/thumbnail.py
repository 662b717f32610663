"""Small versions of images and of the first frames of videos."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media.formats import VIDEO_READABLE
from rgt_cli.media.metadata import strip_metadata
from rgt_cli.media.modes import split_alpha
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.media.read import read_first

_MOST_PIXELS = 40_000_000
"""Larger images are only decoded where that is possible at a fraction of their size."""


def read_thumbnail(path: Path, longest: int) -> Picture:
    """Return an image, or the first frame of a video, in sRGB and reduced to a longer side.

    Args:
        path: The file.
        longest: The most pixels of a side of the result.

    Raises:
        InputError: The file cannot be read, or is too large.
    """
    if path.suffix.lower() in VIDEO_READABLE:
        picture = _first_frame(path)
    else:
        picture = read_first(path, _MOST_PIXELS, longest)
    return strip_metadata(reduced(picture, longest))


def reduced(picture: Picture, longest: int) -> Picture:
    """Return an image of 8 bits per channel whose sides are at most `longest` pixels."""
    image = Image.fromarray(picture.with_bits(8).channels())
    image.thumbnail((longest, longest), reducing_gap=2.0)
    pixels, alpha = split_alpha(image)
    return replace(picture, pixels=np.array(pixels), alpha=alpha)


def _first_frame(path: Path) -> Picture:
    from rgt_cli.media.video.decode import read_frames  # imports libraries that images do not need
    from rgt_cli.media.video.probe import probe

    with closing(read_frames(probe(path))) as frames:
        frame = next(frames, None)
    if frame is None:
        raise InputError(f"{path}: there is no frame")
    return Picture(frame.pixels, frame.alpha, Metadata())
