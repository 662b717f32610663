"""Animated WebP, and animated AVIF with transparency, as videos that Pillow decodes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.size import Dimensions

DEMUXER = "pillow"
"""What stands in place of the name of a demuxer of ffmpeg."""
TIME_BASE = Fraction(1, 1000)
"""Seconds per tick."""
_MAGIC = {"WEBP": b"RIFF", "AVIF": b"ftyp"}
"""Format, as Pillow names it -> what is in the first 8 bytes of its files."""
_DAMAGE = (OSError, EOFError, ValueError, SyntaxError)
"""What Pillow raises if a file is damaged."""


@dataclass(frozen=True, kw_only=True)
class Animation:
    """The properties of an animation."""

    codec: str
    size: Dimensions
    frames: int
    has_alpha: bool
    duration: int
    """Ticks."""


@dataclass(frozen=True, kw_only=True)
class AnimationFrame:
    """One frame of an animation."""

    time: int
    """When it is shown, in ticks."""
    duration: int
    """How long it is shown, in ticks."""
    samples: np.ndarray
    """(H, W, 3 or 4) uint8."""


def open_animation(path: Path) -> Animation | None:
    """Return the properties of an animation that Pillow decodes; None if the file is anything else."""
    with path.open("rb") as file:
        start = file.read(12)
    if not any(magic in (start[:4], start[4:8]) for magic in _MAGIC.values()):
        return None
    try:
        with Image.open(path, formats=list(_MAGIC)) as opened:
            has_alpha = opened.mode == "RGBA"
            if getattr(opened, "n_frames", 1) < 2 or (opened.format == "AVIF" and not has_alpha):
                return None
            codec, size = str(opened.format).lower(), Dimensions(*opened.size)
    except _DAMAGE:
        return None
    frames = duration = 0
    with suppress(*_DAMAGE):  # it is reported when the frames are read
        for frame in _timed(path):
            frames, duration = frames + 1, frame.time + frame.duration
    return Animation(codec=codec, size=size, frames=frames, has_alpha=has_alpha, duration=duration)


def read_animation(path: Path) -> Generator[AnimationFrame]:
    """Yield the frames of an animation.

    Raises:
        InputError: The file is damaged. It is raised after the last frame that can be decoded.
    """
    try:
        yield from _timed(path)
    except _DAMAGE as error:
        raise InputError(f"{path}: the video is damaged: {error}") from error


def _timed(path: Path) -> Generator[AnimationFrame]:
    time = 0
    with Image.open(path, formats=list(_MAGIC)) as opened:
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            opened.load()
            # A frame that is shown for no time at all would have the time of the next one.
            duration = max(1, round(opened.info.get("duration", 0) or 0))
            mode = "RGBA" if opened.mode == "RGBA" else "RGB"
            yield AnimationFrame(time=time, duration=duration, samples=np.asarray(opened.convert(mode)))
            time += duration
