"""Which jobs of a plan are left to do, given the outputs that exist."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rgt_cli.errors import UsageError
from rgt_cli.files import is_stream, remove_partials
from rgt_cli.jobs.folder_plan import FolderPlan
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.journal import History
from rgt_cli.jobs.options import Existing
from rgt_cli.jobs.source_list import folder_of

_REASONS = _UP_TO_DATE, _EXISTS, _NOT_OLDER = "up to date", "exists", "not older than its input"
"""Why an output is not replaced."""
_IS_SET = bytes([False]) + bytes([True]) * 255
_IS_UNSET = bytes([True]) + bytes([False]) * 255
"""Tables that translate verdicts to whether a job is skipped, or not."""


class JobSelection(Collection[Job]):
    """Some of the jobs of a plan, in order; each is made when it is needed.

    Args:
        jobs: The jobs of the plan, which each iteration yields again.
        wanted: For each of them, whether it is one of these; None for all of them.
        folders: The folders of their outputs, if they are known.
    """

    def __init__(
        self, jobs: Collection[Job], wanted: bytes | None = None, folders: Iterable[str] | None = None
    ) -> None:
        self._jobs = jobs
        self._wanted = bytes([True]) * len(jobs) if wanted is None else wanted
        self._count = self._wanted.count(True)
        found = (folder_of(job.target) for job in self) if folders is None else folders
        self.folders = frozenset(found)
        """The folders of their outputs."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        return self._at(self._wanted) if self._count else iter(())

    def __reversed__(self) -> Iterator[Job]:
        """Yield the last job first. Each one takes time in proportion to the plan."""
        position = len(self._wanted)
        while (position := self._wanted.rfind(True, 0, position)) >= 0:
            yield from self._at(bytes(position) + bytes([True]))

    def __contains__(self, job: object) -> bool:
        return any(job == one for one in self)

    def _at(self, wanted: bytes) -> Iterator[Job]:
        if isinstance(self._jobs, FolderPlan):
            return self._jobs.selected(wanted)
        return itertools.compress(self._jobs, wanted)


class Skipped(NamedTuple):
    """A job that is not done because its output exists."""

    job: Job
    reason: str
    """Why the output is not replaced, in words that fit into parentheses."""


class SkippedJobs(Collection[Skipped]):
    """The jobs of a plan that are not done because their outputs exist, in order.

    Args:
        jobs: The jobs of the plan.
        verdicts: For each of them, one more than the index of the reason; 0 if it is not skipped.
        reasons: The reasons.
    """

    def __init__(self, jobs: Collection[Job], verdicts: bytes, reasons: Sequence[str]) -> None:
        self._selection = JobSelection(jobs, verdicts.translate(_IS_SET), folders=())
        self._verdicts, self._reasons = verdicts, reasons

    def __len__(self) -> int:
        return len(self._selection)

    def __iter__(self) -> Iterator[Skipped]:
        verdicts = filter(None, self._verdicts)
        return (
            Skipped(job, self._reasons[verdict - 1])
            for job, verdict in zip(self._selection, verdicts, strict=True)
        )

    def __contains__(self, skipped: object) -> bool:
        return any(skipped == one for one in self)

    @property
    def by_reason(self) -> Counter[str]:
        """Reason -> number of jobs."""
        counts = {reason: self._verdicts.count(i) for i, reason in enumerate(self._reasons, 1)}
        return Counter({reason: count for reason, count in counts.items() if count})


class Partition(NamedTuple):
    """The jobs of a plan by what is to be done with them."""

    pending: JobSelection
    skipped: SkippedJobs


def remove_remains(jobs: JobSelection) -> None:
    """Remove the incomplete files that earlier runs have left beside the outputs of jobs."""
    for folder in jobs.folders:
        remove_partials(Path(folder))


def partition(jobs: Collection[Job], history: History | None, existing: Existing) -> Partition:
    """Separate the jobs to do from those to skip.

    Raises:
        UsageError: There are outputs that no run of this history wrote, and `existing` refuses them.
    """
    verdicts, folders = bytearray(len(jobs)), set[str]()
    conflicts, first = 0, None
    for position, job in enumerate(jobs):
        if reason := _reason_to_skip(job, history, existing):
            verdicts[position] = 1 + _REASONS.index(reason)
            continue
        folders.add(folder_of(job.target))
        if existing is Existing.REFUSE and _is_foreign(job, history):
            conflicts, first = conflicts + 1, first or job.target
    if conflicts:
        also = f", as do {conflicts - 1} more of {len(jobs)} outputs" * (conflicts > 1)
        raise UsageError(f"{first}: already exists{also}; use --overwrite, --skip-existing or --update")
    return Partition(
        JobSelection(jobs, bytes(verdicts).translate(_IS_UNSET), folders),
        SkippedJobs(jobs, bytes(verdicts), _REASONS),
    )


def _reason_to_skip(job: Job, history: History | None, existing: Existing) -> str | None:
    """Return why the output of a job is not replaced; None if the job is to be done, or refused."""
    if existing is Existing.OVERWRITE or not _exists(job):
        return None
    if history and history.is_current(job):
        return _UP_TO_DATE
    if history and history.wrote(job.target):
        return None
    if existing is Existing.SKIP:
        return _EXISTS
    is_older = existing is Existing.UPDATE and (
        job.source.stat().st_mtime_ns <= job.target.stat().st_mtime_ns
    )
    return _NOT_OLDER if is_older else None


def _is_foreign(job: Job, history: History | None) -> bool:
    """Return whether a job would replace a file that no run of this history wrote."""
    return _exists(job) and not (history and history.wrote(job.target))


def _exists(job: Job) -> bool:
    return os.path.lexists(job.target) and not is_stream(job.target)
