"""`rgt upscale --dry-run` and `--preview`: what a run would do, and samples of its output."""

from __future__ import annotations

from datetime import timedelta

from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.errors import RGTError
from rgt_cli.jobs import Job, RunContext


def write_previews(console: Console, job: Job, context: RunContext, count: int) -> None:
    """Upscale a few frames of a video into images.

    Raises:
        RGTError: As `preview_frames`.
    """
    from rgt_cli.jobs.samples import preview_frames

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
    from rgt_cli.jobs.estimate import estimate_bytes, try_frames
    from rgt_cli.jobs.video import plan_video

    plan = plan_video(job, context)
    how = f"{plan.size}, {plan.codec.encoder} {plan.pix_fmt}, {plan.frames or '?'} frames"
    for warning in plan.warnings:
        how += f"; {warning.removeprefix(f'{job.target}: ')}"
    if not plan.frames:
        return [how, "?", "?"]
    trial = try_frames(plan, context)
    seconds, size = trial.seconds * plan.frames, estimate_bytes(plan, context, trial)
    return [how, f"about {timedelta(seconds=round(seconds))}", f"about {format_bytes(size)}"]
