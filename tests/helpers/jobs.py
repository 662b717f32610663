"""Contexts for jobs that tests run in their own process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rgt_cli.inference import MultiPassUpscaler
from rgt_cli.jobs import Job, JobOptions, RunContext
from rgt_cli.jobs.job import Recorder


def ignore_progress(job: Job, done: int, total: int) -> None:
    """Do nothing."""


def make_context(
    upscaler: MultiPassUpscaler,
    options: JobOptions | None = None,
    *,
    journal: Recorder | None = None,
    on_progress: Callable[[Job, int, int], None] = ignore_progress,
    stop: threading.Event | None = None,
    warn: Callable[[str], None] = lambda warning: None,
) -> RunContext:
    """Return a context whose defaults are those of the command."""
    return RunContext(
        options=options or JobOptions(),
        upscaler=upscaler,
        journal=journal,
        on_progress=on_progress,
        stop=stop or threading.Event(),
        warn=warn,
    )
