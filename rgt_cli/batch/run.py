"""Run jobs: read, enlarge, write; the next pictures are read and the last ones written meanwhile."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rgt_cli.batch.journal import Journal
from rgt_cli.batch.plan import Job, check_result
from rgt_cli.errors import OutputError, RGTError
from rgt_cli.media import Picture, read_picture, write_picture

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference.upscaler import Report, Upscaler

AHEAD = 2
"""How many pictures are read before their turn, and how many wait to be written."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    error: RGTError | None = None
    """Why there is no target; None where there is one."""
    source_size: tuple[int, int] | None = None
    """Width and height in pixels, upright; None if it could not be read."""
    target_size: tuple[int, int] | None = None
    """Width and height in pixels; None if nothing was written."""
    seconds: float = 0.0
    """Spent on computing."""
    warnings: tuple[str, ...] = ()
    """What was lost, although the target was made."""


def run_job(job: Job, upscaler: Upscaler, quality: int, report: Report | None = None) -> Outcome:
    """Enlarge one picture from file to file.

    Raises:
        PictureError: the source is damaged or no picture.
        UsageError: a kind of picture that is not supported yet, or too large for the format.
        OutOfMemoryError, OutputError: as `Upscaler.upscale` and `write_picture` say.
    """
    return _write(job, *_compute(job, _read(job, upscaler.scale), upscaler, report), quality, None)


def run_jobs(
    jobs: Iterable[Job],
    upscaler: Upscaler,
    quality: int,
    journal: Journal,
    report: Callable[[Job, int, int], None],
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Enlarge many pictures, and yield what became of each as soon as it is known, in order.

    A source that cannot be read or enlarged is an outcome like any other. When `stop` is set, the
    picture in hand and those before it are finished, and no other is begun.

    Args:
        report: told of the progress in one picture: (job, tiles done, tiles in all).

    Raises:
        OutputError: a target cannot be written; the ones after it could not either.
    """
    waiting = iter(jobs)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(AHEAD) as writers:
        read: deque[tuple[Job, Future[Picture]]] = deque()
        written: deque[Future[Outcome]] = deque()

        def read_ahead() -> None:
            while len(read) <= AHEAD and (job := next(waiting, None)) is not None:
                read.append((job, reader.submit(_read, job, upscaler.scale)))

        try:
            read_ahead()
            while read and not stop.is_set():
                job, future = read.popleft()
                read_ahead()
                try:
                    picture = future.result()
                    computed = _compute(job, picture, upscaler, functools.partial(report, job))
                    del picture
                    written.append(writers.submit(_write, job, *computed, quality, journal))
                    del computed
                except RGTError as error:
                    failed: Future[Outcome] = Future()
                    failed.set_result(Outcome(job, error))
                    written.append(failed)
                del future
                while written and (len(written) > AHEAD or written[0].done()):
                    yield written.popleft().result()
            while written:
                yield written.popleft().result()
        finally:
            for _, future in read:
                future.cancel()


def _read(job: Job, scale: int) -> Picture:
    picture = read_picture(job.source)
    check_result(job, picture, scale)
    return picture


def _compute(
    job: Job, picture: Picture, upscaler: Upscaler, report: Report | None
) -> tuple[Picture, tuple[int, int], float]:
    started = time.perf_counter()
    enlarged = picture.with_pixels(upscaler.upscale(picture.pixels, report))
    return enlarged, _size(picture), time.perf_counter() - started


def _write(
    job: Job,
    enlarged: Picture,
    source_size: tuple[int, int],
    seconds: float,
    quality: int,
    journal: Journal | None,
) -> Outcome:
    try:
        if journal:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            journal.begin(job)
        write_picture(enlarged, job.target, job.format, quality)
        if journal:
            journal.done(job)
    except OSError as error:
        raise OutputError(f"{job.target}: cannot be written: {error.strerror}") from error
    lost = (enlarged.icc or enlarged.exif) and not job.format.has_metadata
    what = f"{job.target}: {job.format.name} cannot hold the ICC profile and EXIF of the source"
    return Outcome(
        job,
        source_size=source_size,
        target_size=_size(enlarged),
        seconds=seconds,
        warnings=(what,) if lost else (),
    )


def _size(picture: Picture) -> tuple[int, int]:
    return picture.pixels.shape[1], picture.pixels.shape[0]
