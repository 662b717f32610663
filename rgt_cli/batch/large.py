"""Pictures that are too large for memory, or whose results are: enlarged in strips."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rgt_cli.batch.plan import Job
from rgt_cli.batch.recipe import Recipe, Report, with_dpi
from rgt_cli.errors import UsageError
from rgt_cli.media import (
    WRITABLE,
    Envelope,
    Strips,
    decoded_bytes,
    open_strips,
    without_place,
    write_strips,
)

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import Enlarger

_SHARE = 0.5
"""The part of the free memory that a picture and its result may fill; the rest is the network's."""


def needs_strips(job: Job, recipe: Recipe, enlarger: Enlarger) -> bool:
    """Whether a picture should be enlarged in strips: if all of it would not fit, and it can be."""
    scale = enlarger.size.scale
    if scale is None or len(enlarger.steps(scale)) != 1 or enlarger.steps(scale)[0] != scale:
        return False
    if job.format.name not in WRITABLE:
        return False
    # The source as decoded and as an array; the result as an array and as it is encoded.
    needed = decoded_bytes(job.source) * (2 + 2 * scale**2)
    return needed > _SHARE * enlarger.free_memory()


def enlarge_in_strips(
    job: Job, recipe: Recipe, enlarger: Enlarger, report: Report
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Enlarge one picture from file to file, never holding the whole of its result.

    Returns:
        Width and height in pixels, of the source and of the result.

    Raises:
        PictureError, OutOfMemoryError, OutputError: as those say that it calls.
        UsageError: the recipe asks for what needs the whole picture.
    """
    if recipe.bits:
        raise UsageError(f"{job.source}: too large for the memory there is; --bits needs it whole")
    scale = enlarger.steps(enlarger.size.scale or 1)[0]
    with open_strips(job.source, recipe.max_pixels, job.target.parent) as source:
        source = replace(source, envelope=_envelope(job, source, recipe, scale))
        rows = enlarger.upscaler(scale).upscale_rows(source, report)
        write_strips(source, rows, scale, job.target, job.format)
        height, width = source.shape[:2]
    return (width, height), (width * scale, height * scale)


def _envelope(job: Job, source: Strips, recipe: Recipe, scale: int) -> Envelope:
    """What goes along of what `source` carries, as for a picture that is enlarged as a whole."""
    if recipe.strip and source.envelope.icc and source.dtype.itemsize == 1:
        raise UsageError(
            f"{job.source}: too large for the memory there is; to --strip its ICC profile needs it whole"
        )
    if recipe.strip:
        return Envelope(icc=source.envelope.icc)
    envelope = with_dpi(source.envelope, recipe.dpi, scale)
    return without_place(envelope) if recipe.strip_gps else envelope
