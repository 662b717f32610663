"""The job of an image: read it, upscale it, write it."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rgt_cli.errors import OutOfMemoryError
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.jobs.options import JobOptions
from rgt_cli.jobs.plan import check_header, check_output, smallest_output
from rgt_cli.media import (
    Container,
    Header,
    ImageSequence,
    Metadata,
    Picture,
    check_pixels,
    read_header,
    read_images,
    strip_gps,
    strip_metadata,
    update_metadata,
    write_images,
)
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

_ALWAYS_TRIED = 64 << 20
"""Bytes of an image and its output that are not compared with the free memory."""


@dataclass(frozen=True, kw_only=True)
class Computed:
    """An upscaled image that is not written yet."""

    images: ImageSequence
    source_size: Dimensions
    seconds: float
    peak_memory: int


def upscale_image(job: Job, context: RunContext) -> Outcome:
    """Upscale an image, an animation or a file of several pages, all of it in memory.

    Raises:
        InputError: The input is damaged, not an image, or of an unsupported kind.
        UsageError: The output format does not support the output.
        OutOfMemoryError, OutputError: As `compute` and `write`.
    """
    return write(job, compute(job, read(job, context), context), context)


def read(job: Job, context: RunContext) -> ImageSequence:
    """Decode the input of a job, and check that its output can be written.

    Raises:
        InputError, UsageError: As `upscale_image`.
        OutOfMemoryError: As `check`.
    """
    check(job, context)
    on_frame = functools.partial(context.on_read, job)
    images = read_images(job.source, context.options.max_pixels, on_frame)
    check_output(job, images, context.upscaler.size, context.options.image.encoding)
    return images


def check(job: Job, context: RunContext) -> Header:
    """Refuse a job, as far as the header of its input shows that it would fail.

    Returns:
        What the input contains.

    Raises:
        InputError: The input is not an image, is damaged, has too many pixels, or has no decoder here.
        UsageError: The output format does not support the output.
        OutOfMemoryError: The input and its output do not fit in memory.
    """
    options = context.options
    header = read_header(job.source)
    check_pixels(job.source, header, options.max_pixels)
    check_header(job, header, context.upscaler.size, options.image.encoding)
    output = smallest_output(header, context.upscaler.size)
    check_memory(job, header, context, math.sqrt(math.prod(output) / math.prod(header.size)))
    return header


def check_memory(job: Job, header: Header, context: RunContext, scale: float) -> None:
    """Refuse an input that does not fit in memory together with its output.

    A single small image is tried in any case, as the smallest tile is.

    Args:
        job: The job.
        header: The header of its input.
        context: The context of the run.
        scale: The upscaling factor; 0 if the output is never in memory.

    Raises:
        OutOfMemoryError: There is not enough memory.
    """
    from rgt_cli.inference.memory import bytes_in_memory  # imports torch, which planning does not need

    is_deeper = context.options.image.bits == 16 and header.bits == 8
    needed = max(header.peak_bytes, bytes_in_memory(header.decoded_bytes * (1 + is_deeper), scale))
    free = context.upscaler.free_memory()
    logger.debug("%s: %s needs %d bytes, %d are free", job.name, header, needed, free)
    if needed > (free if header.frames > 1 else max(free, _ALWAYS_TRIED)):
        kind = "frames" if header.is_animation else "pages"
        what = f"{header.frames} {kind}" if header.frames > 1 else f"{header.size} pixels"
        if scale:
            what += " and their output"
        raise OutOfMemoryError(
            f"{job.source}: {what} need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        )


def compute(job: Job, images: ImageSequence, context: RunContext) -> Computed:
    """Upscale every frame, and update the metadata.

    Raises:
        OutOfMemoryError: Not even the smallest tile fits in memory.
    """
    started = time.perf_counter()
    count = len(images.frames)
    frames = []
    try:
        for index, picture in enumerate(images.frames):
            if count > 1:
                context.on_progress(job, index, count)
            frames.append(_upscaled(job, picture, context, report_tiles=count == 1))
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{job.source}: {error}") from error
    if count > 1:
        context.on_progress(job, count, count)
    return Computed(
        images=replace(images, frames=frames),
        source_size=images.first.size,
        seconds=time.perf_counter() - started,
        peak_memory=context.upscaler.peak_memory(),
    )


def can_batch(one: ImageSequence, other: ImageSequence) -> bool:
    """Return whether two inputs are single images of one size and kind that can share the device."""
    first, second = one.first, other.first
    return (
        len(one.frames) == len(other.frames) == 1
        and first.alpha is second.alpha is None
        and first.pixels.shape == second.pixels.shape
        and first.pixels.dtype == second.pixels.dtype
    )


def compute_batch(
    jobs: Sequence[Job], inputs: Sequence[ImageSequence], context: RunContext
) -> list[Computed]:
    """Upscale single images of one size at once; see `can_batch`.

    Raises:
        OutOfMemoryError: As `compute`.
    """
    started = time.perf_counter()
    context.on_progress(jobs[0], 0, 1)
    sources = [_at_working_depth(images.first, context.options) for images in inputs]
    results = context.upscaler.upscale_batch([(source.pixels, source.alpha) for source in sources])
    context.on_progress(jobs[0], 1, 1)
    seconds = (time.perf_counter() - started) / len(jobs)
    return [
        Computed(
            images=replace(images, frames=[_finished(images.first, *result, context.options)]),
            source_size=images.first.size,
            seconds=seconds,
            peak_memory=context.upscaler.peak_memory(),
        )
        for images, result in zip(inputs, results, strict=True)
    ]


def write(job: Job, computed: Computed, context: RunContext) -> Outcome:
    """Write an upscaled image.

    Raises:
        OutputError: It cannot be written.
    """
    assert not isinstance(job.format, Container)
    images = computed.images
    with context.recorded(job, images.stamp):
        lost = write_images(images, job.target, job.format, context.options.image.encoding)
    return Outcome(
        job=job,
        source_size=computed.source_size,
        target_size=images.first.size,
        frames=len(images.frames),
        seconds=computed.seconds,
        peak_memory=computed.peak_memory,
        warnings=(*images.warnings, *lost),
    )


def _upscaled(job: Job, picture: Picture, context: RunContext, *, report_tiles: bool) -> Picture:
    def on_progress(done: int, total: int) -> None:
        if report_tiles:
            context.on_progress(job, done, total)

    source = _at_working_depth(picture, context.options)
    result = context.upscaler.upscale(source.pixels, source.alpha, on_progress)
    return _finished(picture, *result, context.options)


def _at_working_depth(picture: Picture, options: JobOptions) -> Picture:
    return picture.with_bits(16) if options.image.bits == 16 else picture


def _finished(
    picture: Picture, pixels: np.ndarray, alpha: np.ndarray | None, options: JobOptions
) -> Picture:
    """Return the upscaled `pixels` and `alpha` with the metadata of `picture` that the options keep."""
    large = Picture(pixels, alpha, picture.metadata)
    if options.image.bits == 8:
        large = large.with_bits(8)
    if options.output.strip:
        return strip_metadata(large)
    factor = large.size.width / picture.size.width
    metadata = update_metadata(large, with_dpi(picture.metadata, options.image.dpi, factor))
    return replace(large, metadata=strip_gps(metadata) if options.output.strip_gps else metadata)


def with_dpi(metadata: Metadata, dpi: float | str, factor: float) -> Metadata:
    """Return the metadata of an image upscaled by `factor`, with the resolution that `dpi` asks for."""
    if dpi == "keep":
        return metadata
    if not isinstance(dpi, str):
        return replace(metadata, dpi=(dpi, dpi))
    if metadata.dpi is None:
        return metadata
    return replace(metadata, dpi=(metadata.dpi[0] * factor, metadata.dpi[1] * factor))
