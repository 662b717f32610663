"""A worker: the process that does jobs on one device, of this machine or of another one."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import rgt_cli
from rgt_cli.errors import RGTError
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.jobs.models import load_upscalers
from rgt_cli.jobs.options import JobOptions, ModelOptions
from rgt_cli.jobs.run import run_jobs
from rgt_cli.size import Size

GOLDEN_SIDE = 64
"""Pixels. The side of the tile by which workers are compared."""
GOLDEN_PSNR = 40.0
"""The least PSNR in dB of that tile against one that is computed in fp32 on the CPU."""


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """All that a worker needs besides its jobs."""

    model: ModelOptions
    size: Size | None
    options: JobOptions
    version: str = rgt_cli.__version__


@dataclass(frozen=True, kw_only=True)
class Fitness:
    """What a worker found out about itself."""

    host: str
    pid: int
    device: str
    version: str
    torch: str
    model: str
    """A hash of the weights."""
    golden: str
    """A hash of the golden tile that it computed."""
    problem: str = ""
    """Why it cannot take part; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a worker is doing."""

    job: Job | None
    """The job in hand; None if it waits."""
    done: int
    """Tiles or frames of the job that are done."""
    total: int
    beats: int
    """Grows with every tile, frame and job that is done."""
    busy: float
    """Seconds spent on jobs so far."""
    messages: tuple[str, ...]
    """Warnings and notes since the last call."""


class Worker:
    """Does jobs on one device. The methods are called in threads of their own."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._device = threading.Lock()
        self._state = threading.Lock()
        self._context: RunContext | None = None
        self._job: Job | None = None
        self._done = self._total = self._beats = 0
        self._busy, self._running, self._since = 0.0, 0, 0.0
        self._messages: list[str] = []

    def node(self) -> tuple[str, int]:
        """Return the name of this machine, and the processors that this process may use."""
        return socket.gethostname(), len(os.sched_getaffinity(0))

    def prepare(self, spec: WorkerSpec, sources: Iterable[Path], folder: Path) -> Fitness:
        """Load the model, and find out whether this worker can take part in a run.

        Args:
            spec: The run.
            sources: Inputs that it should be able to read.
            folder: The folder in which it should be able to write.
        """
        import torch

        problem = _storage_problem(sources, folder)
        device = model = golden = ""
        try:
            upscaler, chooser = load_upscalers(
                spec.model, spec.size, spec.options, self._note, lambda name, why: None
            )
            self._context = RunContext(
                options=spec.options,
                upscaler=upscaler,
                journal=None,
                on_progress=self._on_progress,
                stop=self._stop,
                warn=self._note,
                chooser=chooser,
                device=self._device,
            )
            device, model, golden = _golden_tile(self._context)
        except RGTError as error:
            problem = problem or str(error)
        if spec.version != rgt_cli.__version__:
            problem = f"it has rgt {rgt_cli.__version__}, and this is rgt {spec.version}"
        return Fitness(
            host=socket.gethostname(), pid=os.getpid(), device=device, version=rgt_cli.__version__,
            torch=torch.__version__, model=model, golden=golden, problem=problem,
        )  # fmt: skip

    def run(self, jobs: list[Job]) -> list[Outcome]:
        """Do jobs, and return the outcome of each that was done before `stop` was called."""
        assert self._context is not None
        with self._state:
            if not self._running:
                self._since = time.monotonic()
            self._running += 1
        try:
            return list(run_jobs(jobs, self._context))
        finally:
            with self._state:
                self._running -= 1
                self._beats += 1
                if not self._running:
                    self._busy += time.monotonic() - self._since
                    self._job = None

    def stop(self) -> None:
        """Let `run` return after the current image or segment."""
        self._stop.set()

    def status(self) -> Status:
        """Return what this worker is doing."""
        with self._state:
            messages, self._messages = tuple(self._messages), []
            running = time.monotonic() - self._since if self._running else 0.0
            return Status(
                job=self._job, done=self._done, total=self._total, beats=self._beats,
                busy=self._busy + running, messages=messages,
            )  # fmt: skip

    def _on_progress(self, job: Job, done: int, total: int) -> None:
        with self._state:
            self._job, self._done, self._total = job, done, total
            self._beats += 1

    def _note(self, message: str) -> None:
        with self._state:
            self._messages.append(message)
