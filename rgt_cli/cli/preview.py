"""`rgt upscale --dry-run` and `--preview`: what a run would do, and samples of its output."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.errors import RGTError
from rgt_cli.jobs import Job, RunContext

if TYPE_CHECKING:  # images do not need the libraries of videos
    from rgt_cli.jobs.video import VideoPlan


def write_previews(console: Console, job: Job, context: RunContext, count: int) -> None:
    """Upscale a few frames of a video into images.

    Raises:
        RGTError: As `preview_frames`.
    """
    from rgt_cli.jobs.video import preview_frames

    job.target.parent.mkdir(parents=True, exist_ok=True)
    for path in preview_frames(job, context.for_job(job), count):
        console.info(str(path))


def print_plan(console: Console, jobs: list[Job], context: RunContext) -> None:
    """Print what each job would do; for videos, how long it would take and how large they would be."""
    rows = []
    for job in jobs:
        try:
            cells = _describe_video(job, context.for_job(job)) if job.is_video else ["", "", ""]
        except RGTError as error:
            cells = [str(error).removeprefix(f"{job.source}: "), "", ""]
        rows.append([job.name, job.target_name, *cells])
    console.table(["input", "output", "how", "time", "size"], rows)


def _describe_video(job: Job, context: RunContext) -> list[str]:
    from rgt_cli.jobs.video import plan_video

    plan = plan_video(job, context)
    how = f"{plan.size}, {plan.codec.encoder} {plan.pix_fmt}, {plan.frames or '?'} frames"
    for warning in plan.warnings:
        how += f"; {warning.removeprefix(f'{job.target}: ')}"
    if not plan.frames:
        return [how, "?", "?"]
    seconds = _seconds_per_frame(plan, context) * plan.frames
    video = plan.video
    # The bytes of most videos grow with the 3/4th power of their pixels.
    growth = (plan.size.width * plan.size.height / (video.size.width * video.size.height)) ** 0.75
    share = plan.frames / (video.frames or plan.frames)
    size = job.source.stat().st_size * growth * share
    return [how, f"about {timedelta(seconds=round(seconds))}", f"about {format_bytes(size)}"]


def _seconds_per_frame(plan: VideoPlan, context: RunContext) -> float:
    """Upscale two frames, and return the seconds of the second: the first one warms everything up."""
    from rgt_cli.media.video.decode import read_frames

    frames = read_frames(plan.video, plan.span[0])
    seconds = 0.0
    with closing(frames):
        for frame, _ in zip(frames, range(2), strict=False):
            started = time.perf_counter()
            context.upscaler.upscale(frame.pixels, frame.alpha)
            seconds = time.perf_counter() - started
    return seconds
