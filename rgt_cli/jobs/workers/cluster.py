"""Run jobs on many devices and machines: the same `process`, in workers that Ray keeps alive."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rgt_cli.errors import WorkerError
from rgt_cli.jobs.job import Outcome, RunContext, WorkerActivity
from rgt_cli.jobs.resume import JobSelection, remove_remains
from rgt_cli.jobs.video.shared import SegmentResult
from rgt_cli.jobs.workers.devices import Devices
from rgt_cli.jobs.workers.pool import Member, Pool, Slot, reason_of, session, slots_of
from rgt_cli.jobs.workers.queue import TRIES, Group, WorkQueue
from rgt_cli.jobs.workers.worker import Status, WorkerSpec

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Groups that a worker has at once: it reads the next one while it computes."""
PATIENCE = 20.0
"""A worker hangs if nothing is done for so many times as long as it took for as much work before."""
LEAST_PATIENCE = 120.0
"""Seconds. No worker hangs that was silent for less."""
_SAMPLES = 20
"""Number of jobs whose inputs every worker must be able to read."""
_POLL = 0.25
"""Seconds between two looks at the workers."""


@dataclass(kw_only=True)
class _Seat:
    """A slot for workers, with the worker in it and what that has been given."""

    slot: Slot
    member: Member | None
    starting: tuple[Any, Any] | None = None
    """A new worker and the reference of its `Fitness`, while it starts."""
    groups: dict[Any, Group] = field(default_factory=dict)
    """Reference of the result -> group, the oldest first."""
    pace: float = 0.0
    """Seconds per unit of work; 0 while it is not known."""
    asked: Any = None
    """The reference of the `Status` that the worker was last asked for."""
    beats: int = -1
    last_beat: float = field(default_factory=time.monotonic)
    busy: float = 0.0
    """Seconds that the worker spent computing."""
    since: float = field(default_factory=time.monotonic)
    """When the worker began to take part."""
    deaths: int = 0
    """How many workers died here one after the other without doing anything."""


class Workers:
    """Runs jobs on workers, which are started for the first jobs.

    Args:
        ray: The module, connected: see `pool.session`.
        devices: Where workers should run.
        spec: What the jobs of the run have in common.
    """

    def __init__(self, ray: Any, devices: Devices, spec: WorkerSpec) -> None:
        self._ray, self._devices, self._spec = ray, devices, spec
        self._pool: Pool
        self._context: RunContext
        self._seats: list[_Seat] = []
        self._queue: WorkQueue

    @classmethod
    @contextmanager
    def on(cls, devices: Devices, spec: WorkerSpec) -> Iterator[Workers]:
        """Use Ray until the block ends. All workers end with it.

        Raises:
            UsageError: Ray is not installed, or there is no cluster at the address.
        """
        with session(devices) as ray:
            workers = cls(ray, devices, spec)
            try:
                yield workers
            finally:
                if workers._seats:
                    workers._pool.close()

    @property
    def names(self) -> list[str]:
        """The places for workers, without their machines, which Ray chooses."""
        return [slot.name for slot in slots_of(self._devices, self._ray)]

    def _start(self, jobs: JobSelection) -> None:
        """Start the workers, and let each prove that it reaches the files of some jobs.

        Raises:
            WorkerError: None can take part.
        """
        first, last = list(islice(jobs, _SAMPLES)), next(reversed(jobs))
        sample = [job.source for job in (*first, last) if job.source.exists()]
        folder = first[0].target.parent
        folder.mkdir(parents=True, exist_ok=True)
        storage = tuple(source.absolute() for source in sample), folder.absolute()
        self._pool = Pool(self._ray, self._devices, self._spec, storage, self._context.warn)
        self._seats = [_Seat(slot=member.slot, member=member) for member in self._pool.start()]

    def run_jobs(self, jobs: JobSelection, context: RunContext) -> Iterator[Outcome]:
        """Do jobs, and yield the outcome of each as soon as it is known, in any order.

        When `context.stop` is set, the images and segments in hand are finished. A job that fails is not
        tried again. A job whose worker dies is, up to `TRIES` times.

        Args:
            jobs: The jobs.
            context: Its journal, `stop`, `warn` and `on_progress` are used here; each worker has its own
                upscaler.

        Raises:
            WorkerError: No worker can take part, or all died and none can be started again.
        """
        if not jobs:
            return
        self._context = context
        if not self._seats:
            self._start(jobs)
        self._queue = WorkQueue(jobs, context)
        try:
            yield from self._run()
        finally:
            self._queue.close()
            remove_remains(jobs)

    def _run(self) -> Iterator[Outcome]:
        asked_to_stop = False
        while True:
            if self._is_stopping and not asked_to_stop:
                asked_to_stop = True
                for seat in self._seats:
                    if seat.member:
                        seat.member.actor.stop.remote()
            is_out_of_work = self._give()
            yield from self._queue.outcomes_of_videos()
            is_idle = not any(seat.groups for seat in self._seats) and not self._queue.is_joining
            if is_idle and (self._is_stopping or is_out_of_work):
                return
            yield from self._results()
            self._look_after_workers()

    @property
    def _is_stopping(self) -> bool:
        return self._context.stop.is_set() or not self._queue.can_write

    def _give(self) -> bool:
        """Give work to the workers that have fewer groups than they can take.

        Returns:
            Whether there was none left.
        """
        for already in range(IN_FLIGHT):
            for seat in self._seats:
                if self._is_stopping or seat.member is None or len(seat.groups) != already:
                    continue
                if any(group.is_retry for group in seat.groups.values()):
                    continue
                if (group := self._queue.next(seat.pace, is_idle=not already)) is None:
                    return True
                actor = seat.member.actor
                reference = (
                    actor.run_segment.remote(group.task) if group.task else actor.run.remote(group.jobs)
                )
                seat.groups[reference] = group
        return False

    def _results(self) -> Iterator[Outcome]:
        """Wait a moment, and yield the outcomes that arrived."""
        references = {reference: seat for seat in self._seats for reference in seat.groups}
        if not references:
            time.sleep(_POLL)
            return
        self._ray.wait(list(references), num_returns=1, timeout=_POLL)
        ready, _ = self._ray.wait(list(references), num_returns=len(references), timeout=0)
        for reference in ready:
            seat = references[reference]
            if reference not in seat.groups:  # its worker died meanwhile
                continue
            try:
                result = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:  # a defect of ours, not of the machine
                yield from self._queue.failed(seat.groups.pop(reference), reason_of(error))
            except self._ray.exceptions.RayError as error:
                yield from self._lost(seat, reason_of(error))
            else:
                yield from self._finished(seat, seat.groups.pop(reference), result)

    def _finished(
        self, seat: _Seat, group: Group, result: list[Outcome] | SegmentResult | None
    ) -> Iterator[Outcome]:
        assert seat.member
        seat.deaths = 0
        if isinstance(result, SegmentResult):
            assert group.task
            seat.busy += result.seconds
            self._queue.computed(group.task, result, seat.member.name)
            return
        outcomes = result or []
        seconds = sum(outcome.seconds for outcome in outcomes)
        seat.busy += seconds
        if group.work and seconds:
            pace = seconds / group.work
            seat.pace = (seat.pace + pace) / 2 if seat.pace else pace
        yield from self._queue.finished(group, outcomes, seat.member.name)

    def _lost(self, seat: _Seat, reason: str) -> Iterator[Outcome]:
        """Queue the work of a worker that died again, and start another worker in its place."""
        groups, seat.groups = list(seat.groups.values()), {}
        logger.warning("a worker was lost: %s", reason)
        if seat.member:
            self._context.warn(f"worker {seat.member.name} was lost and is replaced: {reason}")
            self._pool.kill(seat.member.actor)
        for group in groups:
            yield from self._queue.lost(group, reason)
        seat.member, seat.pace, seat.asked, seat.beats = None, 0.0, None, -1
        seat.deaths += 1
        if not self._is_stopping:
            seat.starting = self._pool.restart(seat.slot)

    def _look_after_workers(self) -> None:
        """Admit new workers, show what all of them do, and end those that hang.

        Raises:
            WorkerError: There are none left.
        """
        for seat in self._seats:
            if seat.starting:
                self._admit(seat)
            elif seat.member:
                self._ask(seat)
        if not self._is_stopping and not any(seat.member or seat.starting for seat in self._seats):
            raise WorkerError("no worker is left; to resume, repeat the command")

    def _admit(self, seat: _Seat) -> None:
        assert seat.starting
        actor, reference = seat.starting
        ready, _ = self._ray.wait([reference], timeout=0)
        if not ready:
            return
        seat.starting = None
        try:
            fitness = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            seat.deaths += 1
            if seat.deaths < TRIES:
                seat.starting = self._pool.restart(seat.slot)
            else:
                self._context.warn(f"worker {seat.slot.name} is given up: {reason_of(error)}")
            return
        if self._pool.accepts(seat.slot, fitness):
            seat.member = Member(slot=seat.slot, actor=actor, fitness=fitness)
            seat.last_beat = time.monotonic()

    def _ask(self, seat: _Seat) -> None:
        """Ask a worker what it does, and end it if it has hung for too long."""
        assert seat.member
        if seat.asked is None:
            seat.asked = seat.member.actor.status.remote()
        ready, _ = self._ray.wait([seat.asked], timeout=0)
        if ready:
            reference, seat.asked = seat.asked, None
            try:
                self._show(seat, self._ray.get(reference))
            except self._ray.exceptions.RayError:
                if not seat.groups:  # otherwise their results say the same
                    for _ in self._lost(seat, "it ended without a job"):
                        pass
                return
        if not seat.groups:
            seat.last_beat = time.monotonic()
        group = next(iter(seat.groups.values()), None)
        silent = time.monotonic() - seat.last_beat
        if group and seat.pace and silent > max(LEAST_PATIENCE, PATIENCE * group.work * seat.pace):
            self._context.warn(f"worker {seat.member.name} hangs: nothing was done for {silent:.0f} s")
            self._pool.kill(seat.member.actor)

    def _show(self, seat: _Seat, status: Status) -> None:
        for message in status.messages:
            self._context.warn(message)
        job = status.job and self._queue.original(status.job)
        if job and status.job and status.beats != seat.beats and not self._queue.is_shared(status.job):
            self._context.on_progress(job, status.done, status.total)
        if status.beats != seat.beats:
            seat.beats, seat.last_beat = status.beats, time.monotonic()
        assert seat.member
        self._context.on_worker(
            WorkerActivity(
                worker=seat.member.name,
                job=job,
                done=status.done,
                total=status.total,
                busy=min(1.0, seat.busy / (time.monotonic() - seat.since)),
            )
        )
