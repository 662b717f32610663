"""Run jobs on many devices and machines: the same `process`, in workers that Ray keeps alive."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rgt_cli.errors import DeviceError, WorkerError
from rgt_cli.jobs.job import Outcome, RunContext, WorkerActivity
from rgt_cli.jobs.resume import JobSelection, remove_remains
from rgt_cli.jobs.video.shared import SegmentResult
from rgt_cli.jobs.workers.devices import Devices
from rgt_cli.jobs.workers.pool import (
    PREPARATION_SECONDS,
    Member,
    Pool,
    Slot,
)
from rgt_cli.jobs.workers.queue import Group, WorkQueue
from rgt_cli.jobs.workers.session import reason_of, session
from rgt_cli.jobs.workers.worker import Status, WorkerSpec

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Groups that a worker has at once: it reads the next one while it computes."""
PATIENCE = 20.0
"""A worker hangs if nothing is done for so many times as long as it took for as much work before."""
LEAST_PATIENCE = 120.0
"""Seconds. No worker hangs that was silent for less."""
FIRST_PATIENCE = 1800.0
"""Seconds. A worker hangs if it is silent for so long, before it is known how fast it is."""
MOST_DEATHS = 10
"""After so many workers have died in one slot, one after the other, no more are started there."""
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
    started: float = 0.0
    """When the new worker was started."""
    groups: dict[Any, Group] = field(default_factory=dict)
    """Reference of the result -> group, the oldest first."""
    pace: float = 0.0
    """Seconds per unit of work; 0 while it is not known."""
    asked: Any = None
    """The reference of the `Status` that the worker was last asked for."""
    beats: int = -1
    last_beat: float = field(default_factory=time.monotonic)
    since: float = field(default_factory=time.monotonic)
    """When the worker began to take part."""
    deaths: int = 0
    """How many workers died here one after the other without doing anything."""

    def finished(self, work: int, seconds: float) -> None:
        """Learn from work that was done in so many seconds."""
        if work and seconds:
            pace = seconds / work
            self.pace = (self.pace + pace) / 2 if self.pace else pace

    @property
    def patience(self) -> float:
        """How many seconds the worker may be silent before it counts as one that hangs."""
        work = next(iter(self.groups.values())).work
        if not (work and self.pace):
            return FIRST_PATIENCE
        return max(LEAST_PATIENCE, PATIENCE * work * self.pace)


class Workers:
    """Runs jobs on workers. Ray and the workers are started for the first jobs; `close` ends both.

    Args:
        devices: Where workers should run.
        spec: What the jobs of the run have in common.
    """

    def __init__(self, devices: Devices, spec: WorkerSpec) -> None:
        self._devices, self._spec = devices, spec
        self._stack = ExitStack()
        self._ray: Any
        self._pool: Pool
        self._context: RunContext
        self._seats: list[_Seat] = []
        self._queue: WorkQueue

    def close(self) -> None:
        """End all workers, and Ray where it was started for them."""
        self._stack.close()

    def measure(self, jobs: JobSelection, context: RunContext) -> dict[str, float]:
        """Start the workers without doing the jobs.

        Args:
            jobs: The jobs, of which each worker must see some inputs.
            context: Its `stop` and `warn` are used.

        Returns:
            Each worker that can take part, with the pixels of an input that it computes per second while
            the others compute too.

        Raises:
            UsageError: There is no cluster at the address.
            WorkerError: None can take part.
        """
        self._context = context
        self._start(jobs, writes=False)
        return self._pool.speeds([seat.member for seat in self._seats if seat.member])

    def _start(self, jobs: JobSelection, *, writes: bool) -> None:
        """Start the workers, and let each prove that it reaches the files of some jobs.

        Args:
            jobs: The jobs.
            writes: Whether each must be able to write to the output folder, which is created.

        Raises:
            UsageError: There is no cluster at the address.
            WorkerError: None can take part.
        """
        first, last = list(islice(jobs, _SAMPLES)), next(reversed(jobs))
        sample = [job.source for job in (*first, last) if job.source.exists()]
        folder = first[0].target.parent
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
        sources = tuple(source.absolute() for source in sample)
        storage = sources, folder.absolute() if writes else None
        self._ray = self._stack.enter_context(session(self._devices))
        self._pool = Pool(self._ray, self._devices, self._spec, storage, self._context)
        self._stack.callback(self._pool.close)
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
            UsageError: There is no cluster at the address.
            WorkerError: No worker can take part, or all died and none can be started again.
        """
        if not jobs:
            return
        self._context = context
        if not self._seats:
            self._start(jobs, writes=True)
        if context.stop.is_set():
            return
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
            self._give()
            yield from self._queue.outcomes_of_videos()
            is_idle = not any(seat.groups for seat in self._seats) and not self._queue.is_joining
            if is_idle and (self._is_stopping or self._queue.is_empty):
                return
            if is_idle and not self._slots:
                if self._queue.next("", (), 0.0, is_idle=True) is None and not self._queue.is_joining:
                    return
                raise WorkerError("no worker is left")
            yield from self._results()
            self._look_after_workers()

    @property
    def _is_stopping(self) -> bool:
        return self._context.stop.is_set() or not self._queue.goes_on

    @property
    def _slots(self) -> set[str]:
        """The slots in which there are workers, or will be."""
        return {seat.slot.name for seat in self._seats if seat.member or seat.starting}

    def _give(self) -> None:
        """Give work to the workers that have fewer groups than they can take."""
        slots = self._slots
        for already in range(IN_FLIGHT):
            for seat in self._seats:
                if self._is_stopping or seat.member is None or len(seat.groups) != already:
                    continue
                if any(group.lost_in for group in seat.groups.values()):
                    continue
                group = self._queue.next(seat.slot.name, slots, seat.pace, is_idle=not already)
                if group is None:
                    continue
                actor = seat.member.actor
                reference = (
                    actor.run_segment.remote(group.task) if group.task else actor.run.remote(group.jobs)
                )
                seat.groups[reference] = group

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
            except self._ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, DeviceError):
                    yield from self._lost(seat, reason_of(error))
                    continue
                # A defect of ours, not of the machine.
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
            frames = sum(len(times) for _, times in result.segments)
            seat.finished(group.work * frames, result.seconds)
            self._queue.computed(group.task, result, seat.member.name)
            return
        outcomes = result or []
        seat.finished(group.work, sum(outcome.seconds for outcome in outcomes))
        yield from self._queue.finished(group, outcomes, seat.member.name)

    def _lost(self, seat: _Seat, reason: str) -> Iterator[Outcome]:
        """Queue the work of a worker that died again, and start another worker in its place."""
        groups, seat.groups = list(seat.groups.values()), {}
        logger.info("a worker was lost: %s", reason)
        if seat.member:
            self._context.warn(f"worker {seat.member.name} was lost and is replaced: {reason}")
            self._pool.kill(seat.member.actor)
        for group in groups:
            yield from self._queue.lost(group, seat.slot.name, reason)
        seat.member, seat.pace, seat.asked, seat.beats = None, 0.0, None, -1
        self._restart(seat, reason)

    def _restart(self, seat: _Seat, reason: str) -> None:
        """Start another worker after one died, unless too many did."""
        seat.starting = None
        seat.deaths += 1
        if seat.deaths >= MOST_DEATHS:
            self._give_up(seat, f"{seat.deaths} died there one after the other, the last one: {reason}")
        elif not self._is_stopping:
            seat.starting, seat.started = self._pool.restart(seat.slot), time.monotonic()

    def _look_after_workers(self) -> None:
        """Admit new workers, show what all of them do, and end those that hang."""
        for seat in self._seats:
            if seat.starting:
                self._admit(seat)
            elif seat.member:
                self._ask(seat)

    def _admit(self, seat: _Seat) -> None:
        """Let a new worker take part as soon as it has started."""
        assert seat.starting
        actor, reference = seat.starting
        ready, _ = self._ray.wait([reference], timeout=0)
        if not ready:
            if (waited := time.monotonic() - seat.started) > PREPARATION_SECONDS:
                self._give_up(seat, f"none has started within {waited:.0f} s")
            return
        try:
            fitness = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._restart(seat, reason_of(error))
            return
        if self._pool.accepts(seat.slot, fitness):
            seat.starting = None
            seat.member = Member(slot=seat.slot, actor=actor, fitness=fitness)
            seat.since = seat.last_beat = time.monotonic()
        else:
            self._give_up(seat, "the new one was left out")

    def _give_up(self, seat: _Seat, reason: str) -> None:
        """Try no longer to start another worker in the place of one that was lost."""
        if seat.starting:
            self._pool.kill(seat.starting[0])
            seat.starting = None
        self._context.warn(f"worker {seat.slot.name} is not replaced: {reason}")

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
        silent = time.monotonic() - seat.last_beat
        if seat.groups and silent > seat.patience:
            self._context.warn(f"worker {seat.member.name} hangs: nothing was done for {silent:.0f} s")
            self._pool.kill(seat.member.actor)  # the result of its call says so
            seat.last_beat = time.monotonic()

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
                busy=min(1.0, status.busy / max(time.monotonic() - seat.since, 1e-3)),
            )
        )
