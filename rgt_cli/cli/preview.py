"""`rgt upscale --dry-run` and `--preview`: what a run would do, and samples of its output."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from rgt_cli.cli.console import Console
from rgt_cli.cli.summary import RunReport
from rgt_cli.errors import RGTError, UsageError
from rgt_cli.jobs import Job, Outcome, RunContext
from rgt_cli.jobs.forecast import Forecaster, measured_speed
from rgt_cli.jobs.resume import JobSelection

if TYPE_CHECKING:
    from rgt_cli.jobs.workers.cluster import Workers


def forecast_jobs(
    console: Console,
    report: RunReport,
    jobs: JobSelection,
    context: RunContext,
    workers: Workers | None,
) -> None:
    """Add to a report what a run would do with each job, where, and which of them would fail.

    Raises:
        WorkerError: There are workers, but none can take part.
    """
    forecaster = Forecaster(context)
    slowness = 1.0
    if workers and jobs:
        report.workers = workers.measure(jobs, context)
        report.segment_seconds = context.options.video.segment_seconds
        mean = sum(report.workers.values()) / len(report.workers)
        slowness = measured_speed(context.upscaler) / mean
    with console.counting("checking", "files") as on_progress:
        for index, job in enumerate(jobs, 1):
            try:
                forecast = forecaster.forecast(job)
                seconds = forecast.seconds and forecast.seconds * slowness
                report.add_forecast(replace(forecast, seconds=seconds))
            except RGTError as error:
                report.add(Outcome(job=job, error=error))
            on_progress(index, len(jobs))


def write_previews(console: Console, jobs: Collection[Job], context: RunContext, count: int) -> None:
    """Upscale a few frames of each video into images.

    Raises:
        UsageError: All inputs are images.
        RGTError: As `preview_frames`.
    """
    from rgt_cli.jobs.video.samples import preview_frames

    videos = [job for job in jobs if job.is_video]
    if jobs and not videos:
        raise UsageError("--preview only applies to videos, and the inputs are images")
    for job in videos:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        for path in preview_frames(job, context.for_job(job), count):
            console.info(str(path))
