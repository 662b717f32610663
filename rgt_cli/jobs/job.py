"""A job, its outcome, and the context that all jobs of a run share."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rgt_cli.errors import RGTError
from rgt_cli.files import FileStamp, cannot_write
from rgt_cli.jobs.options import JobOptions
from rgt_cli.media import VIDEO_READABLE, Container, Format
from rgt_cli.size import Dimensions

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler


def is_video_name(path: Path) -> bool:
    """Return whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_READABLE


@dataclass(frozen=True)
class Job:
    """One input and its output."""

    source: Path
    target: Path
    format: Format
    """The format of `target`."""
    source_name: str = ""
    """The input as messages call it, where that is not its path."""
    output_name: str = ""
    """The output as messages call it, where that is not its path."""
    images: tuple[Path, ...] = field(default=(), compare=False)
    """The numbered images that are the frames of the input, of which `source` is the first; empty if the
    input is a file."""
    is_split: bool = field(default=False, compare=False)
    """Whether the input is an animation of which each frame becomes an image."""

    def named(self, source_name: str, output_name: str) -> Job:
        """Return the job with other names for messages."""
        return replace(self, source_name=source_name, output_name=output_name)

    @property
    def name(self) -> str:
        """The input as messages call it."""
        return self.source_name or str(self.source)

    @property
    def target_name(self) -> str:
        """The output as messages call it."""
        return self.output_name or str(self.target)

    @property
    def is_video(self) -> bool:
        """Whether the input or the output is a video, by their names, or the input is split like one."""
        is_named = is_video_name(self.source) or isinstance(self.format, Container)
        return is_named or self.is_split or bool(self.images)

    @property
    def stamp(self) -> FileStamp | None:
        """The state of the input, which changes whenever one of its files is written."""
        if not self.images:
            return FileStamp.of(self.source)
        stamps = [FileStamp.of(path) or FileStamp(0, 0) for path in self.images]
        return FileStamp(sum(one.size for one in stamps), sum(one.mtime_ns for one in stamps))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    job: Job
    error: RGTError | None = None
    """Why there is no output, or why the output of a damaged video is incomplete; None on success."""
    source_size: Dimensions | None = None
    """None if the input could not be read."""
    target_size: Dimensions | None = None
    """None if nothing was written."""
    frames: int = 1
    """Number of images: frames or pages."""
    seconds: float = 0.0
    """Time spent computing."""
    peak_memory: int = 0
    """The most bytes in use until then, where the network computes."""
    warnings: tuple[str, ...] = ()
    """What was lost or changed, although the output was written."""
    model: str = ""
    """The names of the models that computed it."""
    worker: str = ""
    """The machine and device that computed it; empty if it was computed by this process."""
    skipped: str = ""
    """Why an output that existed was left as it was; empty if the job was done, or failed."""


@dataclass(frozen=True, kw_only=True)
class WorkerActivity:
    """What one of several workers does."""

    worker: str
    """Its machine and device."""
    job: Job | None
    """The current job; None if it waits."""
    done: int
    """Tiles or frames of the job that are done."""
    total: int
    busy: float
    """The share of its time that it spent computing, 0..1."""


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """The run was stopped in the middle of a video; its segments are kept for the next run."""


class Recorder(Protocol):
    """Remembers which outputs are complete; `Journal` is one."""

    def begin(self, job: Job, source: FileStamp | None = None) -> None:
        """Record that the output of a job is about to be put in place.

        Args:
            job: The job.
            source: The state of its input before it was read; None if it is read from now on.
        """

    def done(self, job: Job) -> None:
        """Record that the output is in place."""


class ModelChooser(Protocol):
    """Chooses a model for each job; `AutomaticModels` is one."""

    def upscaler_for(self, job: Job) -> MultiPassUpscaler:
        """Return the upscaler that suits the input of a job."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """All that the jobs of a run share."""

    options: JobOptions
    upscaler: MultiPassUpscaler
    journal: Recorder | None
    """None if the run leaves no journal."""
    on_progress: Callable[[Job, int, int], None]
    """Called with (job, tiles or frames done, total)."""
    stop: threading.Event
    """Set when the run should stop after the current image or segment."""
    warn: Callable[[str], None]
    """Called with each warning as soon as it is known."""
    inform: Callable[[str], None] = lambda message: None
    """Called with each message that is not a warning."""
    device: AbstractContextManager[object] = field(default_factory=nullcontext)
    """Entered while the network computes, where several runs share a device."""
    on_read: Callable[[Job, int, int], None] = lambda job, done, total: None
    """Called with (job, frames or pages decoded, total) while an input of several is read."""
    on_worker: Callable[[WorkerActivity], None] = lambda activity: None
    """Called about every second for each worker, where there are several."""
    chooser: ModelChooser | None = None
    """Chooses the upscaler of each job; None if `upscaler` does all of them."""

    def for_job(self, job: Job) -> RunContext:
        """Return the context with the upscaler that suits the input of a job."""
        return replace(self, upscaler=self.chooser.upscaler_for(job)) if self.chooser else self

    @contextmanager
    def recorded(self, job: Job, source: FileStamp | None = None) -> Iterator[None]:
        """Record in the journal that the block puts the output of a job in place.

        Args:
            job: The job.
            source: The state of its input before it was read; None if the block reads it.

        Raises:
            OutputError: The output folder cannot be created or written.
        """
        try:
            if self.journal:
                self.journal.begin(job, source)
            job.target.parent.mkdir(parents=True, exist_ok=True)
            yield
            if self.options.output.keep_times and job.target.is_file():
                self._keep_times(job)
            if self.journal:
                self.journal.done(job)
        except OSError as error:
            raise cannot_write(job.target, error) from error

    def _keep_times(self, job: Job) -> None:
        """Give the output of a job the times of its input.

        Raises:
            OSError: The output does not accept them.
        """
        try:
            times = job.source.stat()
        except OSError as error:  # the input was moved or unmounted, but its output is complete
            self.warn(f"{job.target_name}: does not have the times of its input: {error.strerror}")
            return
        os.utime(job.target, ns=(times.st_atime_ns, times.st_mtime_ns))
