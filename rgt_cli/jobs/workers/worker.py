"""A worker: the process that does jobs on one device, of this machine or of another one."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgt_cli.errors import DeviceError, RGTError
from rgt_cli.files import partial_path
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.jobs.models import ModelLoader
from rgt_cli.jobs.options import JobOptions, ModelOptions
from rgt_cli.jobs.run import run_jobs
from rgt_cli.jobs.video.shared import SegmentResult, SegmentTask, compute_segment
from rgt_cli.size import Size
from rgt_cli.version import __version__


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """All that a worker needs besides its jobs."""

    model: ModelOptions
    size: Size | None
    options: JobOptions
    version: str = __version__
    """The version of `rgt` that plans the jobs."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The machine that a worker runs on."""

    host: str
    processors: int
    """The number of processors that its processes may use."""
    free: int
    """Bytes that are free where the network computes."""


@dataclass(frozen=True, kw_only=True)
class Fitness:
    """What a worker found out about itself."""

    host: str
    device: str
    torch: str
    """The version of PyTorch."""
    model: str
    """A hash of the weights."""
    precision: str
    """What it computes in: a safer precision than requested if its results in that are wrong."""
    problem: str
    """Why it cannot take part; empty if it can."""
    golden: np.ndarray
    """What its model makes of `golden_image`; empty if it cannot take part."""

    @property
    def kind(self) -> tuple[str, str, str]:
        """What all workers of a run must have in common: PyTorch, the weights and the precision."""
        return self.torch, self.model, self.precision


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
    messages: tuple[str, ...]
    """Warnings and notes since the last call."""
    busy: float
    """Seconds spent computing so far."""


class _Device:
    """A lock of the device, which measures how long it is held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._lock.acquire()
        self._since = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        self._seconds, self._since = self.seconds, None
        self._lock.release()

    @property
    def seconds(self) -> float:
        """Seconds for which it was held so far."""
        since = self._since
        return self._seconds + (0.0 if since is None else time.monotonic() - since)


class Worker:
    """Does jobs on one device. Its methods are called in several threads at once."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._device = _Device()
        self._state = threading.Lock()
        self._context: RunContext
        self._job: Job | None = None
        self._done = self._total = self._beats = 0
        self._messages: list[str] = []

    def place(self, device: str) -> Place:
        """Return what a worker on this device has at its disposal.

        Raises:
            UsageError: There is no such device.
        """
        from rgt_cli.inference.device import resolve_device
        from rgt_cli.inference.limits import processors
        from rgt_cli.inference.memory import free_memory

        free = free_memory(resolve_device(device))
        return Place(host=socket.gethostname(), processors=processors(), free=free)

    def prepare(self, spec: WorkerSpec, sources: tuple[Path, ...], folder: Path | None) -> Fitness:
        """Load the model, and find out whether this worker can take part in a run.

        Args:
            spec: What the jobs of the run have in common.
            sources: Inputs that it should be able to read.
            folder: The folder in which it should be able to write; None if nothing will be written.
        """
        import torch

        from rgt_cli.inference.selfcheck import golden_image

        problem = _problem_with_storage(sources, folder)
        device = model = precision = ""
        golden = np.empty(0, np.uint8)
        if spec.version != __version__:
            problem = f"has rgt {__version__} instead of {spec.version}"
        if not problem:
            try:
                device, model, precision = self._load(spec)
                golden = self._context.upscaler.first_upscaler().upscale(golden_image())
            except RGTError as error:
                problem = str(error)
        host = socket.gethostname()
        return Fitness(
            host=host,
            device=device,
            torch=torch.__version__,
            model=model,
            precision=precision,
            problem=problem,
            golden=golden,
        )

    def _load(self, spec: WorkerSpec) -> tuple[str, str, str]:
        """Load the model, and return the device, a hash of the weights and the precision.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        from rgt_cli.inference.device import precision_name
        from rgt_cli.inference.selfcheck import hash_of

        loader = ModelLoader(
            options=spec.model,
            size=spec.size,
            alpha_by_network=spec.options.image.alpha == "network",
            note=self._note,
        )
        upscaler, chooser = loader.load()
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
        every = chooser.upscalers.values() if chooser else (upscaler,)
        for one in every:
            one.preload()
            one.first_upscaler()
        networks = [network for one in every for network in one.upscalers]
        weights = hashlib.sha256()
        for network in networks:
            weights.update(hash_of(network.network).encode())
        first = networks[0]
        return str(first.device), weights.hexdigest(), precision_name(first.dtype)

    def run(self, jobs: list[Job]) -> list[Outcome]:
        """Do jobs, and return the outcomes of those that were done before `stop` was called.

        Raises:
            DeviceError: The device failed. This worker can do nothing any more.
        """
        try:
            outcomes = list(run_jobs(jobs, self._context))
            _check_device([outcome.error for outcome in outcomes])
            return outcomes
        finally:
            with self._state:
                self._job, self._beats = None, self._beats + 1

    def run_segment(self, task: SegmentTask) -> SegmentResult | None:
        """Compute a segment of a video; return None if `stop` was called before.

        Raises:
            DeviceError: As `run`.
        """
        with self._device:
            if self._stop.is_set():
                return None
            self._on_progress(task.plan.job, 0, 1)
            try:
                result = compute_segment(task, self._context)
                _check_device([result.error])
                return result
            finally:
                with self._state:
                    self._job, self._beats = None, self._beats + 1

    def speed(self) -> float:
        """Return how many pixels of an input the device computes per second, measured on a sample."""
        from rgt_cli.jobs.forecast import measured_speed

        with self._device:
            return measured_speed(self._context.upscaler)

    def stop(self) -> None:
        """Let `run` return after the current image or segment."""
        self._stop.set()

    def status(self) -> Status:
        """Return what this worker is doing."""
        with self._state:
            messages, self._messages = tuple(self._messages), []
            return Status(
                job=self._job,
                done=self._done,
                total=self._total,
                beats=self._beats,
                messages=messages,
                busy=self._device.seconds,
            )

    def _on_progress(self, job: Job, done: int, total: int) -> None:
        with self._state:
            self._job, self._done, self._total = job, done, total
            self._beats += 1

    def _note(self, message: str) -> None:
        with self._state:
            self._messages.append(message)


def _check_device(errors: Sequence[RGTError | None]) -> None:
    for error in errors:
        if isinstance(error, DeviceError):
            raise error


def _problem_with_storage(sources: tuple[Path, ...], folder: Path | None) -> str:
    """Return why this process cannot read the sources or write to the folder; empty if it can."""
    for source in sources:
        if not source.exists():
            return f"does not see {source}"
    if folder is None:
        return ""
    try:
        probe = partial_path(folder)
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"cannot write to {folder}: {error.strerror}"
    return ""
