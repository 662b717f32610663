"""Keep a folder served: what is to be done now, and whatever comes later."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from rgt_cli.jobs.journal import Journal, Stamp, stamp
from rgt_cli.jobs.plan import Existing, Job, partition

INTERVAL = 1.0
"""Seconds between two looks."""
SETTLED = 2.0
"""Seconds since the last change of a file that is taken to be whole."""


def watch_jobs(
    look: Callable[[], list[Job]],
    journal: Journal,
    existing: Existing,
    stop: threading.Event,
    watch: bool,
) -> Iterator[tuple[list[Job], list[Job]]]:
    """Yield the jobs to be done and those whose targets are there; then, watching, new ones.

    A source is taken once it has not changed for a while, and again whenever it changes; one that
    failed is not tried again before that.

    Args:
        look: plans the jobs for all sources there are.
        stop: ends the watch when it is set.

    Raises:
        UsageError: as `partition` says, in the first round.
    """
    to_do, there = partition(look(), journal, existing)
    if watch:
        to_do = [job for job in to_do if _is_settled(job.source)]
    tried: dict[Path, Stamp] = {job.source: stamp(job.source) for job in to_do}
    yield to_do, there
    if existing in (Existing.REFUSE, Existing.OVERWRITE):
        existing = Existing.SKIP
    while watch and not stop.wait(INTERVAL):
        jobs, _ = partition(look(), journal, existing)
        new = [j for j in jobs if _is_settled(j.source) and tried.get(j.source) != stamp(j.source)]
        tried |= {job.source: stamp(job.source) for job in new}
        if new:
            yield new, []


def _is_settled(path: Path) -> bool:
    with suppress(OSError):
        return not 0 <= time.time() - path.stat().st_mtime < SETTLED
    return False
