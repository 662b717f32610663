"""The workers of a run: processes that Ray starts on the devices of this machine or of a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rgt_cli.errors import UsageError, WorkerError
from rgt_cli.jobs.job import RunContext
from rgt_cli.jobs.workers.devices import Devices
from rgt_cli.jobs.workers.session import reason_of
from rgt_cli.jobs.workers.worker import Fitness, Place, Worker, WorkerSpec
from rgt_cli.values import parse_device

logger = logging.getLogger(__name__)

PREPARATION_SECONDS = 600.0
"""How long a worker may take to start, to download a model and to load it."""
_SILENT_SECONDS = 20.0
"""Seconds after which a warning says that workers have not started."""
_CALLS = 3
"""Calls that a worker may serve at once: two groups of jobs, and its status."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for a worker, in which another one is started if it dies."""

    name: str
    device: str
    options: dict[str, Any]
    """Options of the Ray actor."""


@dataclass(kw_only=True)
class Member:
    """A worker that takes part in a run."""

    slot: Slot
    actor: Any
    fitness: Fitness

    @property
    def name(self) -> str:
        """The worker as messages call it."""
        return f"{self.fitness.host} {self.slot.name}"


def slots_of(devices: Devices, ray: Any) -> list[Slot]:
    """Return the places for workers.

    Raises:
        UsageError: The cluster has no GPU, and no number of CPU workers is given.
    """
    if not devices.address:
        return [
            Slot(name=name if devices.local.count(name) == 1 else f"{name} #{number}",
                 device="cuda" if name.startswith("cuda") else name,
                 options=_local_options(name))
            for number, name in enumerate(devices.local, 1)
        ]  # fmt: skip
    if devices.workers:
        options = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        numbers = range(1, devices.workers + 1)
        return [Slot(name=f"cpu #{number}", device="cpu", options=options) for number in numbers]
    count = int(ray.cluster_resources().get("GPU", 0))
    if not count:
        raise UsageError("the cluster has no GPU: use --workers N for N workers on its processors")
    return [
        Slot(name=f"gpu #{i}", device="cuda", options={"num_gpus": 1, "num_cpus": 0})
        for i in range(1, count + 1)
    ]


def _local_options(device: str) -> dict[str, Any]:
    _, _, index = device.partition(":")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if device.startswith("cuda") and visible:
        index = visible.split(",")[int(index or 0)]
    variables = {"CUDA_VISIBLE_DEVICES": index or "0"} if device.startswith("cuda") else {}
    return {"num_cpus": 0, "runtime_env": {"env_vars": variables}} if variables else {"num_cpus": 0}


class Pool:
    """The workers of a run. `close` ends them.

    Args:
        ray: The module, connected: see `session`.
        devices: Where workers should run.
        spec: What the jobs of the run have in common; without the device, threads and memory.
        storage: Some inputs, which each worker must be able to read, and a folder that it must be able
            to write to; None if nothing will be written.
        context: Its `warn` is called with each worker that is left out. Its `stop` ends `start`.
    """

    def __init__(
        self,
        ray: Any,
        devices: Devices,
        spec: WorkerSpec,
        storage: tuple[tuple[Path, ...], Path | None],
        context: RunContext,
    ) -> None:
        self.ray, self._warn, self._stop = ray, context.warn, context.stop
        self._slots = slots_of(devices, ray)
        self._spec, self._storage = spec, storage
        self._specs: dict[str, WorkerSpec] = {}
        """Name of a slot -> what its workers need."""
        self._class = ray.remote(max_concurrency=_CALLS, max_restarts=0)(Worker)
        self._actors: list[Any] = []
        self._standard: Fitness
        """The worker with which most others agree."""

    def close(self) -> None:
        """End all workers."""
        for actor in self._actors:
            self.kill(actor)

    def kill(self, actor: Any) -> None:
        """End a worker at once."""
        with contextlib.suppress(Exception):
            self.ray.kill(actor)

    def start(self) -> list[Member]:
        """Start a worker in each slot, and return those that can take part; none if `stop` is set.

        Raises:
            WorkerError: There are none.
        """
        actors = [self._actor(slot) for slot in self._slots]
        places = self._answers(
            [actor.place.remote(slot.device) for slot, actor in zip(self._slots, actors, strict=True)],
            self._slots,
        )
        self._share_out(places)
        found = [(slot, actor) for slot, actor in zip(self._slots, actors, strict=True)
                 if slot.name in places]  # fmt: skip
        slots = [slot for slot, _ in found]
        fitness = self._answers([self._prepare(slot, actor) for slot, actor in found], slots)
        if self._stop.is_set():
            return []
        self._settle(fitness.values())
        members = []
        for slot, actor in zip(self._slots, actors, strict=True):
            if slot.name in fitness and self.accepts(slot, fitness[slot.name]):
                members.append(Member(slot=slot, actor=actor, fitness=fitness[slot.name]))
            else:
                self.kill(actor)
        if not members:
            raise WorkerError("no worker can take part in the run")
        return members

    def speeds(self, members: list[Member]) -> dict[str, float]:
        """Return worker -> pixels of an input that it computes per second, while all of them compute."""
        references = [member.actor.speed.remote() for member in members]
        answers = self._answers(references, [member.slot for member in members])
        return {one.name: answers[one.slot.name] for one in members if one.slot.name in answers}

    def restart(self, slot: Slot) -> tuple[Any, Any]:
        """Start another worker in a slot; return the actor, and the reference of its `Fitness`."""
        actor = self._actor(slot)
        return actor, self._prepare(slot, actor)

    def accepts(self, slot: Slot, fitness: Fitness) -> bool:
        """Return whether a worker can take part, and warn if it cannot."""
        if problem := fitness.problem or self._difference(fitness):
            self._warn(f"worker {fitness.host} {slot.name} is left out: it {problem}")
        return not problem

    def _difference(self, fitness: Fitness) -> str:
        """Return in what a worker differs from the others; empty if it may take part beside them."""
        from rgt_cli.inference.selfcheck import LEAST_PSNR, agreement  # imports torch

        standard = self._standard
        if fitness.torch != standard.torch:
            return f"has PyTorch {fitness.torch} instead of {standard.torch}"
        if fitness.model != standard.model:
            return "has other weights under the name of the model"
        if fitness.precision != standard.precision:
            return f"computes in {fitness.precision} instead of {standard.precision}"
        psnr = agreement(fitness.golden, standard.golden)
        return "" if psnr >= LEAST_PSNR else f"computes a test tile unlike the others ({psnr:.1f} dB)"

    def _settle(self, found: Iterable[Fitness]) -> None:
        """Choose what all workers must have in common: what most of those that are fit have."""
        from rgt_cli.inference.selfcheck import LEAST_PSNR, agreement  # imports torch

        fit = [one for one in found if not one.problem]
        if not fit:
            return
        ((kind, _),) = Counter(one.kind for one in fit).most_common(1)
        alike = [one for one in fit if one.kind == kind]

        def supporters(one: Fitness) -> int:
            return sum(agreement(one.golden, other.golden) >= LEAST_PSNR for other in alike)

        self._standard = max(alike, key=supporters)

    def _actor(self, slot: Slot) -> Any:
        actor = self._class.options(**slot.options).remote()
        self._actors.append(actor)
        return actor

    def _prepare(self, slot: Slot, actor: Any) -> Any:
        sources, folder = self._storage
        there = tuple(source for source in sources if source.exists())  # some may have been removed
        return actor.prepare.remote(self._specs[slot.name], there, folder)

    def _share_out(self, places: dict[str, Place]) -> None:
        """Give the workers of each machine equal parts of it, and all of them one limit of memory.

        The tiles of an image depend on the memory; with one limit, all workers choose the same ones.
        """
        devices = {slot.name: slot.device for slot in self._slots}
        on_cpu = Counter(place.host for name, place in places.items() if devices[name] == "cpu")
        model = self._spec.model
        limits = [
            place.free // on_cpu[place.host] if devices[name] == "cpu" else place.free
            for name, place in places.items()
        ]
        limit = min([*limits, *([model.memory] if model.memory else [])], default=None)
        is_mixed = len({parse_device(devices[name])[0] for name in places}) > 1
        precision = "fp32" if is_mixed and model.precision == "auto" else model.precision
        for name, place in places.items():
            share = max(1, place.processors // on_cpu[place.host]) if devices[name] == "cpu" else None
            self._specs[name] = replace(
                self._spec,
                model=replace(
                    model, device=devices[name], precision=precision, memory=limit,
                    threads=model.threads or share,
                ),
            )  # fmt: skip

    def _answers(self, references: list[Any], slots: list[Slot]) -> dict[str, Any]:
        """Return name of a slot -> answer of its worker; warn of those without one."""
        self._wait_for(references)
        answers = {}
        for slot, reference in zip(slots, references, strict=True):
            try:
                answers[slot.name] = self.ray.get(reference, timeout=0)
            except self.ray.exceptions.GetTimeoutError:
                if not self._stop.is_set():
                    self._warn(f"worker {slot.name} is left out: it has not started")
            except self.ray.exceptions.RayError as error:
                self._warn(f"worker {slot.name} is left out: {reason_of(error)}")
        return answers

    def _wait_for(self, references: list[Any]) -> None:
        """Wait until all workers have answered, or `stop` is set, or the time is over."""
        started = time.monotonic()
        is_warned = False
        pending = references
        while pending and not self._stop.is_set():
            _, pending = self.ray.wait(pending, num_returns=len(pending), timeout=1)
            waited = time.monotonic() - started
            if waited > PREPARATION_SECONDS:
                return
            if pending and waited > _SILENT_SECONDS and not is_warned:
                is_warned = True
                self._warn(
                    f"waiting for {len(pending)} of {len(references)} workers to start; "
                    "the processors or GPUs that they need may be in use"
                )
