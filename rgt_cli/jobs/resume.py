"""Which jobs of a plan are left to do, given the outputs that exist."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from rgt_cli.errors import UsageError
from rgt_cli.files import is_stream, remove_partials
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.journal import History
from rgt_cli.jobs.options import Existing


class Skipped(NamedTuple):
    """A job that is not done because its output exists."""

    job: Job
    reason: str
    """Why the output stays, in words that fit into parentheses."""


class Partition(NamedTuple):
    """The jobs of a plan by what is to be done with them."""

    pending: list[Job]
    skipped: list[Skipped]


def remove_remains(jobs: Iterable[Job]) -> None:
    """Remove the incomplete files that dead runs left beside the outputs of jobs."""
    for folder in {job.target.parent for job in jobs}:
        remove_partials(folder)


def partition(jobs: Iterable[Job], history: History | None, existing: Existing) -> Partition:
    """Separate the jobs to do from those to skip.

    Raises:
        UsageError: There are outputs that no run of this history wrote, and `existing` refuses them.
    """
    jobs = list(jobs)
    result, conflicting = Partition([], []), []
    for job in jobs:
        if reason := _reason_to_skip(job, history, existing):
            result.skipped.append(Skipped(job, reason))
        elif existing is Existing.REFUSE and _is_foreign(job, history):
            conflicting.append(job)
        else:
            result.pending.append(job)
    if conflicting:
        also = f", as do {len(conflicting) - 1} more of {len(jobs)} outputs" * (len(conflicting) > 1)
        raise UsageError(
            f"{conflicting[0].target}: already exists{also}; "
            "use --overwrite, --skip-existing or --update"
        )
    return result


def _reason_to_skip(job: Job, history: History | None, existing: Existing) -> str | None:
    """Return why the output of a job stays; None if the job is to be done, or refused."""
    if existing is Existing.OVERWRITE or not _exists(job):
        return None
    if history and history.is_current(job):
        return "up to date"
    if history and history.produced(job):
        return None
    if existing is Existing.SKIP:
        return "exists"
    is_older = existing is Existing.UPDATE and (
        job.source.stat().st_mtime_ns <= job.target.stat().st_mtime_ns
    )
    return "not older than its input" if is_older else None


def _is_foreign(job: Job, history: History | None) -> bool:
    """Return whether a job would replace a file that no run of this history wrote."""
    return _exists(job) and not (history and history.produced(job))


def _exists(job: Job) -> bool:
    return os.path.lexists(job.target) and not is_stream(job.target)
