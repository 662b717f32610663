"""What a run prints about its model: how it is used, and whether another one would suit the inputs."""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

from rgt_cli.checkpoints.catalogue import (
    AUTOMATIC,
    CatalogueEntry,
    available_scales,
    for_compressed,
    lookup,
)
from rgt_cli.cli.console import Console
from rgt_cli.jobs import Job
from rgt_cli.jobs.automatic import COMPRESSED, compression_of
from rgt_cli.size import Size

if TYPE_CHECKING:
    from rgt_cli.inference import MultiPassUpscaler


_EXAMINED = 1000
"""The most inputs whose headers a run reads before it starts, to suggest a model."""


def better_model(jobs: Collection[Job], model: str, size: Size) -> str:
    """Return which model would suit compressed images better than a named one, as a hint, or empty.

    Args:
        jobs: The jobs of a run, of which the first `_EXAMINED` are examined.
        model: The name of the model.
        size: The size of the outputs.
    """
    if model in AUTOMATIC or not (scales := available_scales(model)):
        return ""
    entry = lookup(model, min(math.ceil(size.scale or 4), max(scales)))
    better = for_compressed(entry) if isinstance(entry, CatalogueEntry) else None
    if better is None:
        return ""
    found = [(job, compression_of(job)) for job in islice(jobs, _EXAMINED) if not job.is_video]
    compressed = [(job, by.reason) for job, by in found if by.model == COMPRESSED]
    if not compressed:
        return ""
    job, reason = compressed[0]
    which, them = f"{job.name} ({reason}) is", "it"
    if others := len(compressed) - 1:
        some = f"{others} other input{'s' * (others > 1)}"
        if len(jobs) > _EXAMINED:
            some = f"{others} more of the first {_EXAMINED} inputs"
        which, them = f"{job.name} ({reason}) and {some} are", "them"
    made_for = f"{model} is made for clean images"
    return f"{which} compressed, and {made_for}: -m {better.short} suits {them} better"


def warn_multi_pass(console: Console, upscaler: MultiPassUpscaler, scale: float) -> None:
    """Warn if the requested factor is not one that the model has."""
    passes = upscaler.plan_passes(scale)
    if not passes or passes == (scale,):
        return
    *first, last = (f"x{factor}" for factor in passes)
    by = f"{', '.join(first)} and {last}" if first else last
    downscaled = f", then downscaling to x{scale:g}" if math.prod(passes) != scale else ""
    console.warn(f"x{scale:g} is not a factor of this model: upscaling by {by}{downscaled}")


def warn_fallbacks(console: Console, upscaler: MultiPassUpscaler) -> None:
    """Warn if tiles were computed in another way than planned."""
    for part in upscaler.upscalers:
        if part.redone_tiles:
            console.warn(
                f"{part.redone_tiles} tiles overflowed in half precision and were computed again"
            )
        if part.reduced_tile:
            console.warn(f"memory ran out: the tile size was reduced to {part.reduced_tile} pixels")
