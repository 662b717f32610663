"""One images into a larger one: what is asked for besides the model and the size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rgt_cli.errors import OutOfMemoryError
from rgt_cli.media import (
    MAX_PIXELS,
    Encoding,
    ImageSequence,
    Metadata,
    Picture,
    strip_gps,
    strip_metadata,
    update_metadata,
)
from rgt_cli.media.video.codecs import VideoEncoding

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler

ProgressCallback = Callable[[int, int], None]
"""(tiles or frames done, in all)."""


@dataclass(frozen=True)
class VideoOptions:
    """How films are made, besides."""

    encoding: VideoEncoding = field(default_factory=VideoEncoding)
    """How they are encoded."""
    deinterlace: bool = False
    """Make whole frames of interlaced fields."""
    start: float | None = None
    """Seconds from the beginning of the film; what is before is left out."""
    end: float | None = None
    """Seconds from the beginning of the film; what is after is left out."""
    segment_seconds: float = 10.0
    """Of film, that are lost at most when a run is killed."""


@dataclass(frozen=True)
class Recipe:
    """How every picture of a run is made."""

    encoding: Encoding = field(default_factory=Encoding)
    """How results are written."""
    bits: int | None = None
    """Of a channel of the results, 8 or 16; None is as in the source."""
    dpi: str | float = "keep"
    """Pixels an inch of the results: "keep" those of the source, "scale" them, so that it is printed
    as large as before, or a number."""
    strip: bool = False
    """Leave out all metadata, and convert to sRGB."""
    strip_gps: bool = False
    """Leave out where a picture was taken."""
    max_pixels: int = MAX_PIXELS
    """The most pixels of a source that are decoded."""
    film: VideoOptions = field(default_factory=VideoOptions)
    """What is asked for films alone."""


def enlarge(
    images: ImageSequence, recipe: Recipe, upscaler: MultiPassUpscaler, report: ProgressCallback
) -> ImageSequence:
    """Enlarge every picture of an images and bring its metadata up to date.

    Raises:
        OutOfMemoryError: all frames of an animation would not fit, or as `Upscaler.upscale` says.
    """
    count = len(images.frames)
    if count > 1:
        _check_memory(images, upscaler)
    pictures = []
    for index, picture in enumerate(images.frames):
        if count > 1:
            report(index, count)
        pictures.append(_enlarged(picture, recipe, upscaler, report if count == 1 else None))
    if count > 1:
        report(count, count)
    return replace(images, frames=pictures)


def can_batch(one: ImageSequence, other: ImageSequence) -> bool:
    """Whether two sequences hold one picture each, of one size and kind, that can be enlarged at once."""
    first, second = one.first, other.first
    return (
        len(one.frames) == len(other.frames) == 1
        and first.alpha is second.alpha is None
        and first.pixels.shape == second.pixels.shape
        and first.pixels.dtype == second.pixels.dtype
    )


def upscale_same_size(
    sequences: Sequence[ImageSequence], recipe: Recipe, upscaler: MultiPassUpscaler
) -> list[ImageSequence]:
    """As `enlarge`, for sequences that are `can_batch`: their pictures share the device."""
    sources = [_as_computed(images.first, recipe) for images in sequences]
    results = upscaler.enlarge_batch([(source.pixels, source.alpha) for source in sources])
    return [
        replace(images, frames=[_finished(images.first, *result, recipe)])
        for images, result in zip(sequences, results, strict=True)
    ]


def _enlarged(
    picture: Picture, recipe: Recipe, upscaler: MultiPassUpscaler, report: ProgressCallback | None
) -> Picture:
    source = _as_computed(picture, recipe)
    return _finished(picture, *upscaler.enlarge(source.pixels, source.alpha, report), recipe)


def _as_computed(picture: Picture, recipe: Recipe) -> Picture:
    return picture.with_bits(16) if recipe.bits == 16 else picture


def _finished(picture: Picture, pixels: np.ndarray, alpha: np.ndarray | None, recipe: Recipe) -> Picture:
    """The enlarged `pixels` and `alpha` with what `picture` carries, as the recipe wants it."""
    large = Picture(pixels, alpha, picture.metadata)
    if recipe.bits == 8:
        large = large.with_bits(8)
    if recipe.strip:
        return strip_metadata(large)
    metadata = with_dpi(picture.metadata, recipe.dpi, large.size[0] / picture.size[0])
    metadata = update_metadata(large, metadata)
    return replace(large, metadata=strip_gps(metadata) if recipe.strip_gps else metadata)


def with_dpi(metadata: Metadata, dpi: str | float, factor: float) -> Metadata:
    """The metadata of a picture enlarged by `factor`, its resolution as `Recipe.dpi` says."""
    if dpi == "keep":
        return metadata
    if not isinstance(dpi, str):
        return replace(metadata, dpi=(dpi, dpi))
    if metadata.dpi is None:
        return metadata
    return replace(metadata, dpi=(metadata.dpi[0] * factor, metadata.dpi[1] * factor))


def _check_memory(images: ImageSequence, upscaler: MultiPassUpscaler) -> None:
    """Refuse an animation whose enlarged frames do not fit, since all of them wait to be encoded."""
    needed = 0
    for picture in images.frames:
        width, height = upscaler.size.of(picture.size)
        needed += 2 * width * height * len(picture.mode) * picture.bits // 8
    if needed > (free := upscaler.free_memory()):
        raise OutOfMemoryError(
            f"its {len(images.frames)} frames need {needed / 1e9:.1f} GB when they are enlarged, and "
            f"{free / 1e9:.1f} GB are free"
        )
