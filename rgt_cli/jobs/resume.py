"""Which jobs of a plan are left to do, given the outputs that exist."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from rgt_cli.errors import UsageError
from rgt_cli.files import is_stream, remove_partials
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.journal import Journal
from rgt_cli.jobs.options import Existing


class Partition(NamedTuple):
    """The jobs of a plan by what is to be done with them."""

    pending: list[Job]
    skipped: list[Job]
    """Jobs whose outputs exist and are current."""


def partition(jobs: Iterable[Job], journal: Journal | None, existing: Existing) -> Partition:
    """Separate the jobs to do from those to skip, and remove what dead runs left behind.

    Raises:
        UsageError: There are outputs that no run of this journal wrote, and `existing` refuses them.
    """
    jobs = list(jobs)
    for folder in {job.target.parent for job in jobs}:
        remove_partials(folder)
    result, conflicting = Partition([], []), []
    for job in jobs:
        action = _action(job, journal, existing)
        if action is Existing.REFUSE:
            conflicting.append(job)
        else:
            (result.skipped if action is Existing.SKIP else result.pending).append(job)
    if conflicting:
        also = f", as do {len(conflicting) - 1} more of {len(jobs)} outputs" * (len(conflicting) > 1)
        raise UsageError(
            f"{conflicting[0].target}: already exists{also}; "
            "use --overwrite, --skip-existing or --update"
        )
    return result


def _action(job: Job, journal: Journal | None, existing: Existing) -> Existing:
    """Return OVERWRITE for a job to do, SKIP or REFUSE."""
    is_new = not os.path.lexists(job.target) or is_stream(job.target)
    if existing is Existing.OVERWRITE or is_new:
        return Existing.OVERWRITE
    if journal and journal.is_current(job):
        return Existing.SKIP
    if journal and journal.produced(job):
        return Existing.OVERWRITE
    if existing is Existing.UPDATE:
        newer = job.source.stat().st_mtime_ns > job.target.stat().st_mtime_ns
        return Existing.OVERWRITE if newer else Existing.SKIP
    return existing
