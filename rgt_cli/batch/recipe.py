"""One album into a larger one: what is asked for besides the model and the size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rgt_cli.errors import OutOfMemoryError
from rgt_cli.media import (
    MAX_PIXELS,
    Album,
    Encoding,
    Envelope,
    Picture,
    brought_up_to_date,
    stripped,
    without_place,
)
from rgt_cli.media.video.codecs import VideoEncoding

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import Enlarger

Report = Callable[[int, int], None]
"""(tiles or frames done, in all)."""


@dataclass(frozen=True)
class FilmRecipe:
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
    film: FilmRecipe = field(default_factory=FilmRecipe)
    """What is asked for films alone."""


def enlarge(album: Album, recipe: Recipe, enlarger: Enlarger, report: Report) -> Album:
    """Enlarge every picture of an album and bring its metadata up to date.

    Raises:
        OutOfMemoryError: all frames of an animation would not fit, or as `Upscaler.upscale` says.
    """
    count = len(album.pictures)
    if count > 1:
        _check_memory(album, enlarger)
    pictures = []
    for index, picture in enumerate(album.pictures):
        if count > 1:
            report(index, count)
        pictures.append(_enlarged(picture, recipe, enlarger, report if count == 1 else None))
    if count > 1:
        report(count, count)
    return replace(album, pictures=pictures)


def alike(one: Album, other: Album) -> bool:
    """Whether two albums hold one picture each, of one size and kind, that can be enlarged at once."""
    first, second = one.first, other.first
    return (
        len(one.pictures) == len(other.pictures) == 1
        and first.alpha is second.alpha is None
        and first.pixels.shape == second.pixels.shape
        and first.pixels.dtype == second.pixels.dtype
    )


def enlarge_alike(albums: Sequence[Album], recipe: Recipe, enlarger: Enlarger) -> list[Album]:
    """As `enlarge`, for albums that are `alike`: their pictures share the device."""
    sources = [_as_computed(album.first, recipe) for album in albums]
    results = enlarger.enlarge_batch([(source.pixels, source.alpha) for source in sources])
    return [
        replace(album, pictures=[_finished(album.first, *result, recipe)])
        for album, result in zip(albums, results, strict=True)
    ]


def _enlarged(picture: Picture, recipe: Recipe, enlarger: Enlarger, report: Report | None) -> Picture:
    source = _as_computed(picture, recipe)
    return _finished(picture, *enlarger.enlarge(source.pixels, source.alpha, report), recipe)


def _as_computed(picture: Picture, recipe: Recipe) -> Picture:
    return picture.with_bits(16) if recipe.bits == 16 else picture


def _finished(picture: Picture, pixels: np.ndarray, alpha: np.ndarray | None, recipe: Recipe) -> Picture:
    """The enlarged `pixels` and `alpha` with what `picture` carries, as the recipe wants it."""
    large = Picture(pixels, alpha, picture.envelope)
    if recipe.bits == 8:
        large = large.with_bits(8)
    if recipe.strip:
        return stripped(large)
    envelope = with_dpi(picture.envelope, recipe.dpi, large.size[0] / picture.size[0])
    envelope = brought_up_to_date(large, envelope)
    return replace(large, envelope=without_place(envelope) if recipe.strip_gps else envelope)


def with_dpi(envelope: Envelope, dpi: str | float, factor: float) -> Envelope:
    """The envelope of a picture enlarged by `factor`, its resolution as `Recipe.dpi` says."""
    if dpi == "keep":
        return envelope
    if not isinstance(dpi, str):
        return replace(envelope, dpi=(dpi, dpi))
    if envelope.dpi is None:
        return envelope
    return replace(envelope, dpi=(envelope.dpi[0] * factor, envelope.dpi[1] * factor))


def _check_memory(album: Album, enlarger: Enlarger) -> None:
    """Refuse an animation whose enlarged frames do not fit, since all of them wait to be encoded."""
    needed = 0
    for picture in album.pictures:
        width, height = enlarger.size.of(*picture.size)
        needed += 2 * width * height * len(picture.mode) * picture.bits // 8
    if needed > (free := enlarger.free_memory()):
        raise OutOfMemoryError(
            f"its {len(album.pictures)} frames need {needed / 1e9:.1f} GB when they are enlarged, and "
            f"{free / 1e9:.1f} GB are free"
        )
