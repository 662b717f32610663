"""Run jobs: read, enlarge, write; the next pictures are read and the last ones written meanwhile."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rgt_cli.errors import OutOfMemoryError, OutputError, RGTError
from rgt_cli.jobs.image import ProgressCallback, Recipe, can_batch, enlarge, upscale_same_size
from rgt_cli.jobs.journal import Journal
from rgt_cli.jobs.plan import Job, check_output
from rgt_cli.jobs.streaming import needs_streaming, upscale_streaming
from rgt_cli.media import ImageSequence, read_images, write_images

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler

Warn = Callable[[str], None]
AHEAD = 2
"""How many pictures are read before their turn, and how many wait to be written, at the least."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    error: RGTError | None = None
    """Why there is no target, or only what could be read of a damaged film; None where all is well."""
    source_size: tuple[int, int] | None = None
    """Width and height in pixels, upright; None if it could not be read."""
    target_size: tuple[int, int] | None = None
    """Width and height in pixels; None if nothing was written."""
    frames: int = 1
    """How many pictures it holds: frames or pages."""
    seconds: float = 0.0
    """Spent on computing."""
    peak_memory: int = 0
    """The most bytes that were held until then, where the network computes."""
    warnings: tuple[str, ...] = ()
    """What was lost, although the target was made."""


@dataclass(frozen=True)
class _Computed:
    """A result that waits to be written."""

    images: ImageSequence
    source_size: tuple[int, int]
    seconds: float
    peak_memory: int


def run_job(
    job: Job,
    recipe: Recipe,
    upscaler: MultiPassUpscaler,
    report: ProgressCallback,
    stop: threading.Event | None = None,
    warn: Warn = lambda warning: None,
) -> Outcome | None:
    """Enlarge one picture or film from file to file.

    Args:
        warn: told beforehand of what a film will lose; its outcome says so as well.
        stop: when it is set, a film is left as it is, to be gone on with later.

    Returns:
        None if it was stopped.

    Raises:
        InputError: the source is damaged, no picture, or of a kind that is not supported.
        UsageError: the format of the target cannot hold the result.
        OutOfMemoryError, OutputError: as `Upscaler.upscale` and `write_images` say.
    """
    images = _read(job, recipe, upscaler)
    if images is None:
        return _apart(job, recipe, upscaler, report, None, stop, warn)
    return _write(job, recipe, _compute(job, images, recipe, upscaler, report), None)


def run_jobs(
    jobs: Iterable[Job],
    recipe: Recipe,
    upscaler: MultiPassUpscaler,
    journal: Journal,
    report: Callable[[Job, int, int], None],
    stop: threading.Event,
    warn: Warn = lambda warning: None,
) -> Iterator[Outcome]:
    """Enlarge many pictures, and yield what became of each as soon as it is known, in order.

    A source that cannot be read or enlarged is an outcome like any other. When `stop` is set, the
    picture in hand and those before it are finished, and no other is begun. Pictures of one size that
    follow one another are computed at once where `MultiPassUpscaler.batch_size` says that they fit.

    Args:
        report: told of the progress in one picture: (job, tiles done, tiles in all).
        warn: as `run_job`.

    Raises:
        OutputError: a target cannot be written; the ones after it could not either.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(AHEAD) as writers:
        sources = _Sources(iter(jobs), lambda job: reader.submit(_read, job, recipe, upscaler))
        written: deque[Future[Outcome]] = deque()
        try:
            while not stop.is_set() and (group := sources.next_group(upscaler)):
                for job, result in _results(group, recipe, upscaler, journal, report, stop, warn):
                    if isinstance(result, Outcome):
                        written.append(_completed_future(result))
                    else:
                        written.append(writers.submit(_write, job, recipe, result, journal))
                    del result
                most = AHEAD + len(group) - 1
                del group
                while written and (len(written) > most or written[0].done()):
                    yield written.popleft().result()
            while written:
                yield written.popleft().result()
        finally:
            sources.cancel()


_Source = tuple[Job, "Future[ImageSequence | None]"]
"""A job, and its source once it is read: None if it is never to be in memory as a whole."""


class _Sources:
    """The jobs of a run in their order, their sources read before their turn."""

    def __init__(self, jobs: Iterator[Job], read: Callable[[Job], Future[ImageSequence | None]]) -> None:
        self._jobs, self._read = jobs, read
        self._begun: deque[_Source] = deque()
        self._depth = AHEAD + 1

    def next_group(self, upscaler: MultiPassUpscaler) -> list[_Source]:
        """The next job, with those right after it that can share the device with it; none at the end."""
        self._read_ahead()
        if not self._begun:
            return []
        group = [self._pop()]
        first = _images_of(group[0][1])
        if first is None or first.first.alpha is not None:
            return group
        most = upscaler.batch_size(*first.first.size)
        self._depth = AHEAD + most
        while len(group) < most and self._begun:
            later = _images_of(self._begun[0][1])
            if later is None or not can_batch(first, later):
                break
            group.append(self._pop())
        return group

    def _pop(self) -> _Source:
        job = self._begun.popleft()
        self._read_ahead()
        return job

    def _read_ahead(self) -> None:
        while len(self._begun) < self._depth and (job := next(self._jobs, None)) is not None:
            self._begun.append((job, self._read(job)))

    def cancel(self) -> None:
        """Read no more."""
        for _, future in self._begun:
            future.cancel()


def _images_of(read: Future[ImageSequence | None]) -> ImageSequence | None:
    """What was read, once it is; None where that failed, or is not to be in memory as a whole."""
    return None if read.exception() else read.result()


def _results(
    group: list[_Source],
    recipe: Recipe,
    upscaler: MultiPassUpscaler,
    journal: Journal,
    report: Callable[[Job, int, int], None],
    stop: threading.Event,
    warn: Warn,
) -> Iterator[tuple[Job, _Computed | Outcome]]:
    """What is to be written for each job of a group, or what became of it already.

    Raises:
        OutputError: as `run_jobs`.
    """
    if len(group) > 1:
        told = functools.partial(report, group[0][0])
        try:
            sequences = [images for _, read in group if (images := read.result())]
            results = _compute_alike(sequences, recipe, upscaler, told)
            yield from ((job, result) for (job, _), result in zip(group, results, strict=True))
            return
        except RGTError:
            pass  # of one of them; which one shows when each is computed by itself
    for job, read in group:
        told = functools.partial(report, job)
        try:
            if images := read.result():
                yield job, _compute(job, images, recipe, upscaler, told)
            elif outcome := _apart(job, recipe, upscaler, told, journal, stop, warn):
                yield job, outcome
        except OutputError:
            raise
        except RGTError as error:
            yield job, Outcome(job, error)


def _completed_future(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def _apart(
    job: Job,
    recipe: Recipe,
    upscaler: MultiPassUpscaler,
    report: ProgressCallback,
    journal: Journal | None,
    stop: threading.Event | None,
    warn: Warn,
) -> Outcome | None:
    """Enlarge what is never in memory as a whole: a film, or a picture that is too large for it.

    Returns:
        None if it was stopped before it was done.
    """
    started = time.perf_counter()
    if not job.is_video:
        with _journaled(job, journal):
            source_size, target_size = upscale_streaming(job, recipe, upscaler, report)
        seconds = time.perf_counter() - started
        return Outcome(job, None, source_size, target_size, 1, seconds, upscaler.peak_memory())
    from rgt_cli.jobs.video import Stopped, upscale_video  # with libraries that pictures do not need

    try:
        with _journaled(job, journal):
            film = upscale_video(job, recipe, upscaler, report, stop, warn)
    except Stopped:
        return None
    return Outcome(
        job,
        film.damage,
        film.source_size,
        film.target_size,
        film.frames,
        film.seconds,
        upscaler.peak_memory(),
        film.warnings,
    )


@contextmanager
def _journaled(job: Job, journal: Journal | None) -> Iterator[None]:
    """Note in the journal that a target is about to be put in place, and that it is."""
    try:
        if journal:
            journal.begin(job)
            job.target.parent.mkdir(parents=True, exist_ok=True)
        yield
        if journal:
            journal.done(job)
    except OSError as error:
        raise OutputError(f"{job.target}: cannot be written: {error.strerror}") from error


def _read(job: Job, recipe: Recipe, upscaler: MultiPassUpscaler) -> ImageSequence | None:
    """The pictures of a source; None if it is never to be in memory as a whole."""
    if job.is_video or needs_streaming(job, recipe, upscaler):
        return None
    images = read_images(job.source, recipe.max_pixels)
    check_output(job, images, upscaler.size, recipe.encoding)
    return images


def _compute(
    job: Job,
    images: ImageSequence,
    recipe: Recipe,
    upscaler: MultiPassUpscaler,
    report: ProgressCallback,
) -> _Computed:
    started = time.perf_counter()
    try:
        enlarged = enlarge(images, recipe, upscaler, report)
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{job.source}: {error}") from error
    seconds = time.perf_counter() - started
    return _Computed(enlarged, images.first.size, seconds, upscaler.peak_memory())


def _compute_alike(
    sequences: list[ImageSequence], recipe: Recipe, upscaler: MultiPassUpscaler, report: ProgressCallback
) -> list[_Computed]:
    started = time.perf_counter()
    report(0, 1)
    enlarged = upscale_same_size(sequences, recipe, upscaler)
    report(1, 1)
    each = (time.perf_counter() - started) / len(sequences)
    peak = upscaler.peak_memory()
    return [
        _Computed(large, images.first.size, each, peak)
        for images, large in zip(sequences, enlarged, strict=True)
    ]


def _write(job: Job, recipe: Recipe, computed: _Computed, journal: Journal | None) -> Outcome:
    images = computed.images
    with _journaled(job, journal):
        lost = write_images(images, job.target, job.format, recipe.encoding)
    return Outcome(
        job,
        source_size=computed.source_size,
        target_size=images.first.size,
        frames=len(images.frames),
        seconds=computed.seconds,
        peak_memory=computed.peak_memory,
        warnings=(*images.warnings, *lost),
    )
