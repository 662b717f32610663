"""What a run would do with each input, how long it would take, and how large the outputs would be."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rgt_cli.errors import RGTError
from rgt_cli.jobs import image, streaming
from rgt_cli.jobs.job import Job, RunContext
from rgt_cli.jobs.streaming import needs_streaming
from rgt_cli.media import Container, Picture, shown_size, write_images
from rgt_cli.size import Dimensions, Size

if TYPE_CHECKING:  # images do not need the libraries of videos, and planning does not need torch
    from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler

logger = logging.getLogger(__name__)

_SAMPLE_SIDE = 192
"""Pixels. The longest side of what is computed to measure the speed."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run would do with one input."""

    job: Job
    model: str
    source_size: Dimensions
    target_size: Dimensions
    how: str
    """How it would be computed and encoded, in words."""
    frames: int | None = 1
    """None if that is unknown."""
    segments: int = 0
    """Number of segments of a video, which several workers compute side by side."""
    seconds: float | None = None
    """Time to compute it; None if that is unknown."""
    bytes: float | None = None
    """Size of the output; None if that is unknown."""
    warnings: tuple[str, ...] = ()
    """What would be lost or changed."""


def measured_speed(upscaler: MultiPassUpscaler) -> float:
    """Return how many pixels of an input are computed per second, measured on a sample."""
    side = Dimensions(_SAMPLE_SIDE, _SAMPLE_SIDE)
    return 1 / _seconds_per_pixel(upscaler.first_upscaler(), side)


class Forecaster:
    """Forecasts the jobs of a run. Speed and compression are measured on samples, which are reused."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._pace: dict[tuple[str, int], float] = {}
        """Model and magnitude of a tile in pixels -> seconds per pixel."""
        self._growth: dict[tuple[str, str], float] = {}
        """Suffix of an input and format of its output -> see `_growth_of`."""

    def forecast(self, job: Job) -> Forecast:
        """Return what `process` would do with a job.

        Raises:
            RGTError: It would fail, for a reason that shows before its pixels are decoded.
        """
        context = self._context.for_job(job)
        return self._of_video(job, context) if job.is_video else self._of_image(job, context)

    def _of_image(self, job: Job, context: RunContext) -> Forecast:
        is_streamed = needs_streaming(job, context)
        header = (streaming.check if is_streamed else image.check)(job, context)
        if header.has_alpha and not is_streamed:
            image.read(job, context)  # only its pixels show whether the output format supports them
        size = shown_size(job.source)
        upscaler = context.upscaler
        target = upscaler.size.of(size)
        seconds, tiles, entering = 0.0, 0, size
        for step in upscaler.passes_for(size):
            part = upscaler.upscaler_for(step)
            grid = part.plan_tiles(entering, streaming=is_streamed)
            seconds += grid.count * math.prod(grid.tile) * self._seconds_per_pixel(part, grid.tile)
            tiles += grid.count
            entering = Dimensions(entering.width * step, entering.height * step)
        networks = 2 if header.has_alpha and upscaler.alpha_by_network else 1
        how = [str(target), upscaler.name]
        how += [f"{header.frames} frames"] * (header.frames > 1)
        how += [f"{tiles} tiles"] * (tiles > 1) + ["streamed"] * is_streamed
        growth = None if is_streamed else self._growth_of(job, context, target.width / size.width)
        return Forecast(
            job=job,
            model=upscaler.name,
            source_size=size,
            target_size=target,
            how=", ".join(how),
            frames=header.frames,
            seconds=seconds * networks * header.frames,
            bytes=growth and job.source.stat().st_size * growth * math.prod(target) / math.prod(size),
        )

    def _seconds_per_pixel(self, upscaler: NetworkUpscaler, tile: Dimensions) -> float:
        size = Dimensions(min(tile.width, _SAMPLE_SIDE), min(tile.height, _SAMPLE_SIDE))
        key = upscaler.name, round(math.log2(math.prod(size)))
        if key not in self._pace:
            self._pace[key] = _seconds_per_pixel(upscaler, size)
        return self._pace[key]

    def _growth_of(self, job: Job, context: RunContext, factor: float) -> float | None:
        """Return the bytes per pixel of an output, divided by those of the input.

        They are measured on a sample of the first input of each kind.
        """
        key = job.source.suffix.lower(), job.format.name
        if key not in self._growth:
            try:
                self._growth[key] = _encoded_growth(job, context, factor)
            except (RGTError, OSError) as error:  # the next input may be a better sample
                logger.info("%s: no sample for the size of outputs: %s", job.name, error)
        return self._growth.get(key)

    def _of_video(self, job: Job, context: RunContext) -> Forecast:
        from rgt_cli.jobs.video.estimate import estimate_bytes, try_frames
        from rgt_cli.jobs.video.plan import plan_video
        from rgt_cli.jobs.video.spans import SegmentGrid, is_segmented

        plan = plan_video(job, context)
        how = f"{plan.size}, {plan.codec.encoder} {plan.pix_fmt}, {plan.frames or '?'} frames"
        seconds = size = None
        grid = SegmentGrid.of(plan.video, plan.span, context.options.video.segment_seconds)
        if plan.frames:
            trial = try_frames(plan, context)
            seconds = trial.seconds * plan.frames
            size = estimate_bytes(plan, context, trial)
        return Forecast(
            job=job,
            model=context.upscaler.name,
            source_size=plan.video.size,
            target_size=plan.size,
            how=how,
            frames=plan.frames,
            segments=grid.count(plan.video, plan.frames) if is_segmented(job) else 0,
            seconds=seconds,
            bytes=size,
            warnings=plan.warnings,
        )


def _seconds_per_pixel(upscaler: NetworkUpscaler, size: Dimensions) -> float:
    """Upscale an image twice, and measure the second time: the first time warms everything up."""
    sample = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), np.uint8)
    upscaler.upscale(sample)
    started = time.perf_counter()
    upscaler.upscale(sample)
    return (time.perf_counter() - started) / math.prod(size)


def _encoded_growth(job: Job, context: RunContext, factor: float) -> float:
    """Upscale and encode the middle of an image.

    Returns:
        The bytes per pixel of its output, divided by those of the input.
    """
    assert not isinstance(job.format, Container)
    images = image.read(job, context)
    context = replace(context, upscaler=context.upscaler.with_size(Size(scale=factor)))
    sample = replace(images, frames=[_middle(images.first)])
    computed = image.compute(job, sample, context)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sample{job.format.suffixes[0]}")
        write_images(computed.images, path, job.format, context.options.image.encoding)
        encoded = path.stat().st_size / math.prod(computed.images.first.size)
    return encoded / (job.source.stat().st_size / (math.prod(images.first.size) * len(images.frames)))


def _middle(picture: Picture) -> Picture:
    """Return the middle of an image, with sides of at most `_SAMPLE_SIDE`."""
    height, width = picture.pixels.shape[:2]
    top, left = (max(side - _SAMPLE_SIDE, 0) // 2 for side in (height, width))
    part = slice(top, top + _SAMPLE_SIDE), slice(left, left + _SAMPLE_SIDE)
    return Picture(picture.pixels[part], None if picture.alpha is None else picture.alpha[part])
