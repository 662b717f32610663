"""Watch folders: the jobs to do now, and those of files that appear or change later."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from rgt_cli.files import FileStamp
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.journal import Journal
from rgt_cli.jobs.options import Existing
from rgt_cli.jobs.resume import JobSelection, Partition, SkippedJobs, partition

INTERVAL = 1.0
"""Seconds between two scans."""
SETTLED = 2.0
"""Seconds without a change after which a file counts as complete."""


def watch_jobs(
    rescan: Callable[[], Collection[Job]],
    journal: Journal | None,
    existing: Existing,
    stop: threading.Event,
) -> Iterator[Partition]:
    """Yield the jobs to do, then those of inputs that appear or change, until `stop` is set.

    An input is used once it has not changed for a while, and again whenever it changes. One that failed
    is not tried again before it changes.

    Args:
        rescan: Plans the jobs of all inputs that exist.
        journal: The journal of the output folder, or None.
        existing: What to do with existing outputs; in later rounds, they are skipped instead of refused
            or replaced.
        stop: Ends the iteration.

    Raises:
        UsageError: As `partition`, in the first round.
    """
    pending, skipped = partition(rescan(), journal, existing)
    tried = set[int]()
    """Hashes of inputs in a certain state."""

    def untried(jobs: JobSelection) -> JobSelection:
        states = [hash((os.fspath(job.source), FileStamp.of(job.source))) for job in jobs]
        new = [
            state not in tried and _is_settled(job.source)
            for job, state in zip(jobs, states, strict=True)
        ]
        tried.update(itertools.compress(states, new))
        return JobSelection(jobs, bytes(new))

    yield Partition(untried(pending), skipped)
    if existing in (Existing.REFUSE, Existing.OVERWRITE):
        existing = Existing.SKIP
    while not stop.wait(INTERVAL):
        found = partition(rescan(), journal, existing)
        if new := untried(found.pending):
            yield Partition(new, SkippedJobs([], b"", ()))


def _is_settled(path: Path) -> bool:
    with suppress(OSError):
        return not 0 <= time.time() - path.stat().st_mtime < SETTLED
    return False
