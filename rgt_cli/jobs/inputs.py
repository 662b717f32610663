"""The inputs of a comparison: an image, or frames of a video, or parts of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from rgt_cli.errors import InputError, NoInputError, UsageError
from rgt_cli.jobs.job import is_video_name
from rgt_cli.media import Metadata, Picture, read_images, strip_metadata
from rgt_cli.size import Crop, Dimensions


@dataclass(frozen=True, kw_only=True)
class ComparedInput:
    """An image that several models upscale."""

    title: str
    """What distinguishes it from the others: the file name, or the time of a frame."""
    source: Picture
    """What is upscaled."""
    whole: Dimensions
    """The size of the image that `source` is a part of."""
    aspect: float = 1.0
    """Width of a pixel divided by its height, as shown."""
    finish: Callable[[Picture], Picture]
    """Returns an image with the pixels of `source` or of its upscaled version as a browser shows it."""

    def upscaled(self, pixels: np.ndarray, alpha: np.ndarray | None) -> Picture:
        """Return an upscaled version as a browser shows it."""
        return self.finish(Picture(pixels, alpha, self.source.metadata))


def read_inputs(
    path: Path, times: tuple[float, ...], crop: Crop | None, max_pixels: int
) -> list[ComparedInput]:
    """Read an image, or the frames of a video that are shown at some times.

    Args:
        path: The file.
        times: Seconds; for a video without any, its middle.
        crop: The part to upscale; None for all of it.
        max_pixels: The most pixels that an image may have.

    Raises:
        NoInputError: The file does not exist.
        InputError: It cannot be read, or has no such frame.
        UsageError: It is an image, and there are times; or the part is not inside.
    """
    if not path.exists():
        raise NoInputError(f"{path}: no such file")
    if is_video_name(path):
        found = _read_frames(path, times)
    elif times:
        raise UsageError(f"{path}: is an image: --at is for videos")
    else:
        first = read_images(path, max_pixels).first
        found = [ComparedInput(title=path.name, source=first, whole=first.size, finish=_shown_image)]
    return [replace(each, source=cropped(each.source, crop, str(path))) for each in found]


def cropped(picture: Picture, crop: Crop | None, name: str) -> Picture:
    """Return a part of an image.

    Raises:
        UsageError: The part is not inside the image.
    """
    if crop is None:
        return picture
    right, bottom = crop.left + crop.width, crop.top + crop.height
    if right > picture.size.width or bottom > picture.size.height:
        raise UsageError(f"--crop {crop}: is not inside {name}, which has {picture.size} pixels")
    part = slice(crop.top, bottom), slice(crop.left, right)
    alpha = None if picture.alpha is None else np.ascontiguousarray(picture.alpha[part])
    return replace(picture, pixels=np.ascontiguousarray(picture.pixels[part]), alpha=alpha)


def _shown_image(picture: Picture) -> Picture:
    return strip_metadata(picture.with_bits(8))


def read_truth(path: Path, max_pixels: int) -> Picture:
    """Return the ground truth of an image, as a browser shows it.

    Raises:
        NoInputError: The file does not exist.
        InputError: It cannot be read, or is a video.
    """
    if not path.exists():
        raise NoInputError(f"{path}: no such file")
    if is_video_name(path):
        raise InputError(f"{path}: is a video: --hr is for images")
    return _shown_image(read_images(path, max_pixels).first)


def _read_frames(path: Path, times: tuple[float, ...]) -> list[ComparedInput]:
    from rgt_cli.jobs.video.frames import frame_chunks  # imports libraries that images do not need
    from rgt_cli.jobs.video.samples import frame_at
    from rgt_cli.media.video.probe import probe

    video = probe(path)
    bits = 8 if video.bits <= 8 else 16

    def shown(picture: Picture) -> Picture:
        return replace(picture.with_bits(bits), metadata=Metadata(png=frame_chunks(video)))

    found = []
    for seconds in times or (float((video.frames or 0) / video.rate / 2),):
        frame = frame_at(video, seconds)
        picture = Picture(frame.pixels, frame.alpha)
        found.append(
            ComparedInput(
                title=_time_text(seconds),
                source=picture,
                whole=picture.size,
                aspect=float(video.sample_aspect),
                finish=shown,
            )
        )
    return found


def _time_text(seconds: float) -> str:
    """Return a time as `--at` accepts it: "0:01:30" or "0:01:30.50"."""
    whole, fraction = divmod(seconds, 1)
    return str(timedelta(seconds=int(whole))) + (f"{fraction:.2f}"[1:] if fraction else "")
