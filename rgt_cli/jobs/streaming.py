"""The job of an image that does not fit in memory, or whose output does not: it is streamed."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from rgt_cli.errors import InputError
from rgt_cli.jobs.image import check_memory, with_dpi
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.media import (
    STREAMABLE,
    Container,
    Header,
    Metadata,
    RowSource,
    check_rows,
    decoded_bytes,
    open_rows,
    read_header,
    strip_gps,
    write_streamed,
)
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

_SHARE = 0.5
"""The part of the free memory that an image and its output may fill; the rest is the network's."""


def needs_streaming(job: Job, context: RunContext) -> bool:
    """Return whether an image should be streamed: it would not fit in memory, and it can be streamed."""
    scale = context.upscaler.size.scale
    if scale is None or context.upscaler.plan_passes(scale) != (scale,):
        return False
    if job.is_video or job.format.name not in STREAMABLE:
        return False
    from rgt_cli.inference.memory import bytes_in_memory  # imports torch, which planning does not need

    needed = bytes_in_memory(decoded_bytes(job.source), scale)
    free = context.upscaler.free_memory()
    if needed > _SHARE * free:
        logger.info("%s: streaming, since it needs %.0f of %.0f MB", job.name, needed / 1e6, free / 1e6)
        return True
    return False


def upscale_streaming(job: Job, context: RunContext) -> Outcome:
    """Upscale an image from file to file; the whole of its output is never in memory.

    Raises:
        InputError: The input is damaged, or the options need it in memory as a whole.
        OutOfMemoryError: As `NetworkUpscaler.upscale_rows`.
        OutputError: The output cannot be written.
    """
    assert not isinstance(job.format, Container)
    check(job, context)
    started = time.perf_counter()
    (scale,) = context.upscaler.plan_passes(context.upscaler.size.scale or 1)
    with (
        context.recorded(job),
        open_rows(job.source, context.options.max_pixels, job.target.parent) as source,
    ):
        source = replace(source, metadata=_metadata(source, context, scale))
        rows = context.upscaler.upscaler_for(scale).upscale_rows(
            source, lambda done, total: context.on_progress(job, done, total)
        )
        lost = write_streamed(source, rows, scale, job.target, job.format)
    height, width = source.shape[:2]
    return Outcome(
        job=job,
        source_size=Dimensions(width, height),
        target_size=Dimensions(width * scale, height * scale),
        seconds=time.perf_counter() - started,
        peak_memory=context.upscaler.peak_memory(),
        warnings=(*source.warnings, *lost),
    )


def check(job: Job, context: RunContext) -> Header:
    """Refuse a job for which `needs_streaming` is true, as far as the header shows that it would fail.

    Returns:
        What the input contains.

    Raises:
        InputError: The input is damaged or has no decoder here, or the options need it in memory as a
            whole.
        OutOfMemoryError: The input cannot be read in rows, and does not fit in memory.
    """
    options = context.options
    header = read_header(job.source)
    if options.image.bits:
        raise InputError(f"{job.source}: does not fit in memory, and --bits cannot be streamed")
    plan = check_rows(job.source, options.max_pixels)
    if options.output.strip and plan.metadata.icc and header.bits == 8:
        raise InputError(
            f"{job.source}: does not fit in memory, and --strip cannot convert its ICC profile"
        )
    if plan.in_memory:
        check_memory(job, header, context, 0)
    return header


def _metadata(source: RowSource, context: RunContext, scale: int) -> Metadata:
    """Return the metadata of the output that the options keep, before its sizes are updated."""
    options = context.options
    if options.output.strip:
        return Metadata(icc=source.metadata.icc)
    metadata = with_dpi(source.metadata, options.image.dpi, scale)
    return strip_gps(metadata) if options.output.strip_gps else metadata
