"""Pictures that are too large for memory, or whose results are: enlarged in strips."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rgt_cli.errors import UsageError
from rgt_cli.jobs.image import ProgressCallback, Recipe, with_dpi
from rgt_cli.jobs.plan import Job
from rgt_cli.media import (
    STREAMABLE,
    Metadata,
    RowSource,
    decoded_bytes,
    open_rows,
    strip_gps,
    write_streamed,
)

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler

_SHARE = 0.5
"""The part of the free memory that a picture and its result may fill; the rest is the network's."""


def needs_streaming(job: Job, recipe: Recipe, upscaler: MultiPassUpscaler) -> bool:
    """Whether a picture should be enlarged in strips: if all of it would not fit, and it can be."""
    scale = upscaler.size.scale
    if scale is None or len(upscaler.steps(scale)) != 1 or upscaler.steps(scale)[0] != scale:
        return False
    if job.format.name not in STREAMABLE:
        return False
    # The source as decoded and as an array; the result as an array and as it is encoded.
    needed = decoded_bytes(job.source) * (2 + 2 * scale**2)
    return needed > _SHARE * upscaler.free_memory()


def upscale_streaming(
    job: Job, recipe: Recipe, upscaler: MultiPassUpscaler, report: ProgressCallback
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Enlarge one picture from file to file, never holding the whole of its result.

    Returns:
        Width and height in pixels, of the source and of the result.

    Raises:
        InputError, OutOfMemoryError, OutputError: as those say that it calls.
        UsageError: the recipe asks for what needs the whole picture.
    """
    if recipe.bits:
        raise UsageError(f"{job.source}: too large for the memory there is; --bits needs it whole")
    scale = upscaler.steps(upscaler.size.scale or 1)[0]
    with open_rows(job.source, recipe.max_pixels, job.target.parent) as source:
        source = replace(source, metadata=_metadata(job, source, recipe, scale))
        rows = upscaler.upscaler(scale).upscale_rows(source, report)
        write_streamed(source, rows, scale, job.target, job.format)
        height, width = source.shape[:2]
    return (width, height), (width * scale, height * scale)


def _metadata(job: Job, source: RowSource, recipe: Recipe, scale: int) -> Metadata:
    """What goes along of what `source` carries, as for a picture that is enlarged as a whole."""
    if recipe.strip and source.metadata.icc and source.dtype.itemsize == 1:
        raise UsageError(
            f"{job.source}: too large for the memory there is; to --strip its ICC profile needs it whole"
        )
    if recipe.strip:
        return Metadata(icc=source.metadata.icc)
    metadata = with_dpi(source.metadata, recipe.dpi, scale)
    return strip_gps(metadata) if recipe.strip_gps else metadata
