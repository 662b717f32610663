"""What is left to do in a run on several workers, and what was done."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from rgt_cli.errors import RGTError, WorkerError
from rgt_cli.jobs.failures import failures_of
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.jobs.video.shared import SegmentResult, SegmentTask, SharedVideo
from rgt_cli.jobs.video.spans import is_segmented
from rgt_cli.media import decoded_bytes

logger = logging.getLogger(__name__)

TRIES = 3
"""How often a job is given to a worker, if workers die while they do it."""
GROUP_SECONDS = 1.0
"""About how long a worker computes one group of images."""
MAX_GROUP = 64
"""The most images in a group."""


@dataclass(kw_only=True, eq=False)
class Group:
    """What a worker is given at once: jobs, or one segment of a video."""

    jobs: list[Job]
    work: int = 0
    """The size of the decoded images, or of one frame, in bytes, to which the time is proportional."""
    task: SegmentTask | None = None
    """The segment of the only job that is computed; None for all of it."""
    lost_in: frozenset[str] = frozenset()
    """The slots in which workers died with it. Then nothing else shares a worker with it, which could
    die again."""


class WorkQueue:
    """The work of a run, in order; work of workers that died comes first.

    Args:
        jobs: The jobs.
        context: The run. Its journal records what is begun and done.
    """

    def __init__(self, jobs: Iterable[Job], context: RunContext) -> None:
        self._context = context
        self._originals: dict[Job, Job] = {}
        """Jobs with absolute paths, which mean the same for every worker -> as they were given. They are
        dropped with their outcomes."""
        self._waiting = iter(jobs)
        self._again: deque[Group] = deque()
        self._tasks: deque[SegmentTask] = deque()
        self._videos: dict[Job, SharedVideo] = {}
        self._workers: dict[Job, set[str]] = {}
        """The workers that computed segments of a video."""
        self._joining: dict[Job, Future[Outcome]] = {}
        self._joiner = ThreadPoolExecutor(1)
        self._tries: dict[tuple[Job, int | None], int] = {}
        self._is_all_given = False
        self._known: list[Outcome] = []
        """Outcomes that are not passed on yet."""
        self.goes_on = True
        """Whether there was no failure after which no other job should be started."""

    def close(self) -> None:
        """Release the videos that are not complete; the next run continues them."""
        self._joiner.shutdown(wait=True)
        for video in self._videos.values():
            video.close()
        self._videos.clear()

    @property
    def is_joining(self) -> bool:
        """Whether segments of a video are being joined."""
        return bool(self._joining or self._known)

    @property
    def is_empty(self) -> bool:
        """Whether everything has been given to a worker, which did not die with it."""
        return self._is_all_given and not self._tasks and not self._again

    def next(self, slot: str, slots: Collection[str], pace: float, *, is_idle: bool) -> Group | None:
        """Return what a worker should compute next: a segment, or images for about a second.

        Args:
            slot: The slot of the worker.
            slots: All slots in which there are workers.
            pace: Seconds that the worker needs per unit of work; 0 if that is unknown.
            is_idle: Whether the worker has nothing to do; only then it is given what a worker died with.

        Returns:
            None if there is nothing for this worker now.
        """
        if again := self._again_in(slot, slots):
            if not is_idle:
                return None
            self._again.remove(again)
            return again
        if self._tasks:
            task = self._tasks.popleft()
            return Group(jobs=[task.plan.job], task=task, work=3 * math.prod(task.plan.video.size))
        group = Group(jobs=[])
        most = GROUP_SECONDS / pace if pace else 0
        for given in islice(self._waiting, MAX_GROUP):
            job = self._absolute(given)
            if self._context.journal:
                self._context.journal.begin(given)
            if job.is_video and is_segmented(job):
                self._share(job)
                if group.jobs:
                    return group
                return self.next(slot, slots, pace, is_idle=is_idle)
            group.jobs.append(job)
            group.work += 0 if job.is_video else decoded_bytes(job.source)
            if job.is_video or group.work >= most:
                break
        self._is_all_given = not group.jobs
        return group if group.jobs else None

    def _again_in(self, slot: str, slots: Collection[str]) -> Group | None:
        """Return work with which no worker died in this slot, or in which workers died in all slots."""
        for group in self._again:
            if slot not in group.lost_in or group.lost_in.issuperset(slots):
                return group
        return None

    def _absolute(self, given: Job) -> Job:
        job = replace(
            given, source=given.source.absolute(), target=given.target.absolute(),
            source_name=given.name, output_name=given.target_name,
        )  # fmt: skip
        self._originals[job] = given
        return job

    def _share(self, job: Job) -> None:
        """Let workers compute the segments of a video."""
        context = replace(
            self._context,
            on_progress=lambda job, done, total: self._context.on_progress(
                self._originals[job], done, total
            ),
        )
        try:
            with failures_of(job):
                video = SharedVideo(job, context)
        except RGTError as error:
            self._known.append(self._outcome(Outcome(job=job, error=error)))
            return
        self._videos[job] = video
        self._tasks.extend(video.tasks())

    def finished(self, group: Group, outcomes: list[Outcome], worker: str) -> Iterator[Outcome]:
        """Take the outcomes of a group of jobs, and yield them as they are reported."""
        for outcome in outcomes:
            if self._context.journal and not outcome.error:
                self._context.journal.done(self._originals[outcome.job])
            yield self._outcome(replace(outcome, worker=worker))

    def computed(self, task: SegmentTask, result: SegmentResult, worker: str) -> None:
        """Take a segment; when a video has all of them, they are joined in the background."""
        self._workers.setdefault(task.plan.job, set()).add(worker)
        job = task.plan.job
        video = self._videos.get(job)
        if video is None:  # it has failed
            return
        try:
            if video.add(task, result):
                self._joining[job] = self._joiner.submit(_joined, video)
        except RGTError as error:
            self._give_up(job, error)

    def outcomes_of_videos(self) -> Iterator[Outcome]:
        """Yield the outcomes of the videos that were joined, or failed, since the last call."""
        for job in [job for job, future in self._joining.items() if future.done()]:
            try:
                outcome = self._joining.pop(job).result()
            except RGTError as error:
                outcome = Outcome(job=job, error=error)
            self._videos.pop(job).close()
            workers = ", ".join(sorted(self._workers.get(job, ())))
            self._known.append(self._outcome(replace(outcome, worker=workers)))
        while self._known:
            yield self._known.pop(0)

    def failed(self, group: Group, reason: str) -> Iterator[Outcome]:
        """Take work that failed by a defect; the jobs of a larger group are tried one by one."""
        if len(group.jobs) > 1:
            self._again.extend(_singly(group))
            return
        job = group.jobs[0]
        error = RGTError(f"{job.name}: {reason}")
        if group.task:
            self._give_up(job, error)
        else:
            yield self._outcome(Outcome(job=job, error=error))

    def lost(self, group: Group, slot: str, reason: str) -> Iterator[Outcome]:
        """Take back the work of a worker that died in a slot; report what was tried too often."""
        for single in _singly(group):
            job = single.jobs[0]
            key = job, single.task.index if single.task else None
            self._tries[key] = self._tries.get(key, 0) + 1
            if self._tries[key] < TRIES:
                self._again.append(replace(single, lost_in=group.lost_in | {slot}))
                continue
            error = WorkerError(f"{job.name}: {TRIES} workers died while they did it: {reason}")
            if single.task:
                self._give_up(job, error)
            else:
                yield self._outcome(Outcome(job=job, error=error))

    def _give_up(self, job: Job, error: RGTError) -> None:
        """Report a video as failed, and drop what is left of it."""
        if video := self._videos.pop(job, None):
            video.close()
            self._known.append(self._outcome(Outcome(job=job, error=error)))
        self._tasks = deque(task for task in self._tasks if task.plan.job != job)
        self._again = deque(group for group in self._again if group.jobs[0] != job)

    def _outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the paths that were given, in its messages too."""
        self.goes_on &= not (outcome.error and outcome.error.ends_run)
        job = outcome.job
        given = self._originals.pop(job)
        self._workers.pop(job, None)

        def named(text: str) -> str:
            return text.replace(str(job.source), given.name).replace(str(job.target), given.target_name)

        error = outcome.error and type(outcome.error)(named(str(outcome.error)))
        return replace(outcome, job=given, error=error, warnings=tuple(map(named, outcome.warnings)))

    def is_shared(self, job: Job) -> bool:
        """Return whether several workers compute a job."""
        return job in self._videos

    def original(self, job: Job) -> Job | None:
        """Return a job as it was given; None if it has its outcome."""
        return self._originals.get(job)


def _joined(video: SharedVideo) -> Outcome:
    with failures_of(video.job):
        return video.finish()


def _singly(group: Group) -> list[Group]:
    """Return a group for each job."""
    if len(group.jobs) == 1:
        return [Group(jobs=group.jobs, work=group.work, task=group.task)]
    return [Group(jobs=[job], work=decoded_bytes(job.source)) for job in group.jobs]
