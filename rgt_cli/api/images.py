"""The images that `Upscaler` accepts: paths, PIL images and arrays, and what it returns for them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import NoInputError, OutOfMemoryError, RGTError, UsageError
from rgt_cli.jobs.job import is_video_name
from rgt_cli.media import Picture, from_pillow, read_images, to_pillow, update_metadata

logger = logging.getLogger(__name__)

_ROUNDING = 1e-3
"""How far floating point may be outside of 0..1 by rounding; it is clipped."""


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image as the network accepts it."""

    name: str
    """What messages call it."""
    source: Path | Image.Image | None
    """What reveals how it was compressed; None for an array."""
    pixels: np.ndarray
    """(H, W) or (H, W, C), uint8, uint16 or floating point in 0..1."""
    alpha: np.ndarray | None
    """(H, W) of the same dtype, or None."""
    finish: Callable[[np.ndarray, np.ndarray | None], np.ndarray | Image.Image]
    """Returns the upscaled pixels and alpha as the kind of image that was passed."""


def open_image(image: object, name: str) -> InputImage:
    """Return an image of any kind that is accepted as arrays.

    Args:
        image: A path, a PIL image or an array.
        name: What messages call it if it is not a path.

    Raises:
        NoInputError: It does not exist.
        InputError: It cannot be read, is damaged, or is of an unsupported kind.
        UsageError: It is not an image, or not one that fits into memory as a whole.
    """
    if isinstance(image, (str, os.PathLike)):
        return _from_path(Path(os.fspath(image)))
    with named(name):
        if isinstance(image, Image.Image):
            picture = from_pillow(
                image, lambda warning: logger.warning("%s: %s", name or "image", warning)
            )
            return _from_picture(picture, name, image)
        if isinstance(image, np.ndarray):
            return _from_array(image, name)
        kind = f"{type(image).__module__}.{type(image).__qualname__}".removeprefix("builtins.")
        raise UsageError(f"{kind} is not an image: use a path, a PIL image or a NumPy array")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Name the image in the errors of the block; an empty name leaves them as they are.

    Raises:
        OutOfMemoryError: The block ran out of memory.
    """
    try:
        yield
    except RGTError as error:
        if not name or str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{name or 'the image'}: does not fit in memory") from error


def _from_path(path: Path) -> InputImage:
    if not path.exists():
        raise NoInputError(f"{path}: no such file")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder: use upscale_folder")
    if is_video_name(path):
        raise UsageError(f"{path}: is a video: use upscale_video")
    images = read_images(path)
    if len(images.frames) > 1:
        raise UsageError(f"{path}: contains {len(images.frames)} images: use upscale_file")
    for warning in images.warnings:
        logger.warning("%s", warning)
    picture = images.first
    if picture.bits == 16 and picture.mode != "L":
        logger.warning("%s: Pillow supports 8 bits per channel, not 16: use upscale_file", path)
    return _from_picture(picture, str(path), path)


def _from_picture(picture: Picture, name: str, source: Path | Image.Image) -> InputImage:
    def finish(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
        large = Picture(pixels, alpha)
        return to_pillow(replace(large, metadata=update_metadata(large, picture.metadata)))

    pixels = picture.pixels
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = _checked_floats(pixels)
    return InputImage(name=name, source=source, pixels=pixels, alpha=picture.alpha, finish=finish)


def _from_array(array: np.ndarray, name: str) -> InputImage:
    shape = array.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and not 1 <= shape[2] <= 4):
        is_planar = len(shape) == 3 and shape[0] in (1, 3, 4)
        hint = "move the channels to the end" if is_planar else "use (H, W) or (H, W, 3)"
        raise UsageError(f"an array of shape {shape} is not an image: {hint}")
    if 0 in shape:
        raise UsageError(f"an array of shape {shape} has no pixels")
    is_floating = np.issubdtype(array.dtype, np.floating)
    if not is_floating and array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise UsageError(f"{array.dtype} is not supported: use uint8, uint16 or floating point")
    values = np.asarray(array, array.dtype.newbyteorder("="))
    if is_floating:
        values = _checked_floats(values)
    if len(shape) == 2 or shape[2] in (1, 3):
        return InputImage(
            name=name, source=None, pixels=values, alpha=None, finish=lambda pixels, alpha: pixels
        )
    colors = values[..., :-1] if shape[2] == 4 else values[..., 0]
    return InputImage(
        name=name,
        source=None,
        pixels=colors,
        alpha=values[..., -1],
        finish=lambda pixels, alpha: pixels if alpha is None else np.dstack((pixels, alpha)),
    )


def _checked_floats(values: np.ndarray) -> np.ndarray:
    """Return floating point that is in 0..1 as float32.

    Raises:
        UsageError: It is not, or contains NaN.
    """
    least, greatest = float(values.min()), float(values.max())
    if np.isnan(least):
        raise UsageError("an image that contains NaN is not supported: use numbers from 0 to 1")
    if least < -_ROUNDING or greatest > 1 + _ROUNDING:
        hint = "divide them by 255" if least >= 0 and 1 < greatest <= 255 else "use 0 to 1"
        raise UsageError(f"floating point values of {least:g} to {greatest:g} are not supported: {hint}")
    clipped: np.ndarray = np.clip(values, 0, 1).astype(np.float32)
    return clipped
