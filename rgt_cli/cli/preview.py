"""`rgt upscale --dry-run` and `--preview`: what a run would do, and a look at what it would make."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rgt_cli.cli.console import Console, format_bytes, printable
from rgt_cli.errors import RGTError
from rgt_cli.jobs import Job, Recipe

if TYPE_CHECKING:
    from rgt_cli.inference import MultiPassUpscaler


def write_previews(
    console: Console, job: Job, recipe: Recipe, upscaler: MultiPassUpscaler, count: int
) -> None:
    """Enlarge a few frames of a film into pictures.

    Raises:
        As `preview` says.
    """
    from rgt_cli.jobs.video import preview

    for path in preview(job, recipe, upscaler, count):
        console.info(str(path))


def print_plan(console: Console, jobs: list[Job], recipe: Recipe, upscaler: MultiPassUpscaler) -> None:
    """Say what each job would do; of films, how long that would take and how large they would be."""
    rows = []
    for job in jobs:
        try:
            told = _film(job, recipe, upscaler) if job.is_video else ["", "", ""]
        except RGTError as error:
            told = [str(error).removeprefix(f"{job.source}: "), "", ""]
        rows.append([printable(str(job.source)), printable(str(job.target)), *told])
    console.table(["source", "target", "how", "time", "bytes"], rows)


def _film(job: Job, recipe: Recipe, upscaler: MultiPassUpscaler) -> list[str]:
    from rgt_cli.jobs.video import plan_video
    from rgt_cli.media.video.decode import read_frames

    plan = plan_video(job, recipe, upscaler)
    video = plan.video
    width, height = plan.size
    how = f"{width} x {height}, {plan.codec.encoder} {plan.pix_fmt}, {plan.frames or '?'} frames"
    for warning in plan.warnings:
        how += f"; {warning.removeprefix(f'{job.target}: ')}"
    frames = read_frames(video, plan.span[0], recipe.film.deinterlace)
    seconds = 0.0
    for frame, _ in zip(frames, range(2), strict=False):  # the first one warms everything up
        started = time.perf_counter()
        upscaler.enlarge(frame.pixels, frame.alpha)
        seconds = time.perf_counter() - started
    frames.close()  # type: ignore[attr-defined]
    if not plan.frames:
        return [how, "?", "?"]
    # Of most films, the bytes grow with the 3/4th power of the pixels.
    growth = (plan.size[0] * plan.size[1] / (video.width * video.height)) ** 0.75
    share = plan.frames / (video.frames or plan.frames)
    return [
        how,
        f"about {_duration(seconds * plan.frames)}",
        f"about {format_bytes(job.source.stat().st_size * growth * share)}",
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
