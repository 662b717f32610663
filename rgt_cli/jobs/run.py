"""Run jobs on one device: the next images are read and the last ones written while it computes."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from rgt_cli.errors import OutOfMemoryError, RGTError
from rgt_cli.jobs import image
from rgt_cli.jobs.failures import failures_of
from rgt_cli.jobs.image import Computed, upscale_image
from rgt_cli.jobs.job import Job, Outcome, RunContext, Stopped
from rgt_cli.jobs.pipeline import DEPTH
from rgt_cli.jobs.streaming import needs_streaming, upscale_streaming
from rgt_cli.media import FORMATS, INSTALL_EXTRA, ImageSequence, is_installed, missing_decoder

logger = logging.getLogger(__name__)


def process(job: Job, context: RunContext) -> Outcome:
    """Do one job, from file to file.

    Raises:
        Stopped: `context.stop` was set in the middle of a video.
        RGTError: The job failed.
    """
    with failures_of(job):
        context = context.for_job(job)
        if job.is_video:
            from rgt_cli.jobs.video.upscale import upscale_video  # its libraries are for videos alone

            outcome = upscale_video(job, context)
        elif needs_streaming(job, context):
            outcome = upscale_streaming(job, context)
        else:
            outcome = upscale_image(job, context)
    return replace(outcome, model=context.upscaler.name)


def run_jobs(jobs: Collection[Job], context: RunContext) -> Generator[Outcome]:
    """Do many jobs, and yield the outcome of each as soon as it is known, in order.

    A job that fails is an outcome like any other, but after an error that `ends_run` no other job is
    started. When `context.stop` is set, the current image and those before it are finished, or the
    current segment of a video, which then has no outcome. Images of one size that follow one another are
    computed at once where `MultiPassUpscaler.batch_size_for` finds that they fit.
    """
    if warning := _missing_decoders(jobs):
        context.warn(warning)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(DEPTH) as writers:
        inputs = _ReadAhead(iter(jobs), context, reader)
        writing: deque[Future[Outcome]] = deque()
        goes_on = True

        def written(most_waiting: int) -> Iterator[Outcome]:
            nonlocal goes_on
            while writing and (len(writing) > most_waiting or writing[0].done()):
                outcome = writing.popleft().result()
                goes_on &= not (outcome.error and outcome.error.ends_run)
                yield outcome

        try:
            with suppress(Stopped):
                while goes_on and not context.stop.is_set() and (group := inputs.next_group()):
                    most_waiting = DEPTH + len(group) - 1
                    for pending, result in _results(group, context):
                        if isinstance(result, Outcome):
                            writing.append(_completed(result))
                            if result.error:  # reported now, for a caller that stops at the first one
                                most_waiting = 0
                        else:
                            writing.append(writers.submit(_write, pending, result))
                        del result  # or its pixels stay in memory until the next one is computed
                    del group
                    yield from written(most_waiting)
            yield from written(0)
        finally:
            inputs.cancel()


def _missing_decoders(jobs: Collection[Job]) -> str:
    """Return a warning about those of several inputs that have no decoder here; empty for none.

    Only files with the suffix of such a format are opened.
    """
    absent = {suffix for f in FORMATS if not is_installed(f) for suffix in f.suffixes}
    if not absent or len(jobs) < 2:
        return ""
    suspects = (job.source for job in jobs if job.source.suffix.lower() in absent)
    missing = Counter(file_format for path in suspects if (file_format := missing_decoder(path)))
    if not missing:
        return ""
    names = " and ".join(sorted({file_format.pillow for file_format in missing}))
    *suffixes, last = sorted({suffix for f in missing for suffix in f.suffixes})
    named = f"{', '.join(suffixes)} and {last}" if suffixes else last
    return (
        f"{missing.total()} of {len(jobs)} inputs are {names} images, whose decoder is not installed: "
        f"{INSTALL_EXTRA}; until then they fail, and outputs of {named} files are JPEG"
    )


class _Pending:
    """A job whose input is being read."""

    def __init__(self, job: Job, context: RunContext, reader: ThreadPoolExecutor) -> None:
        self.job, self.context = job, context.for_job(job)
        self.reading = reader.submit(_read, job, self.context)

    @property
    def images(self) -> ImageSequence | None:
        """The input, once it is read; None if that failed, or if the job is not done in memory."""
        return None if self.reading.exception() else self.reading.result()


class _ReadAhead:
    """The jobs of a run in their order, their inputs read before their turn."""

    def __init__(self, jobs: Iterator[Job], context: RunContext, reader: ThreadPoolExecutor) -> None:
        self._jobs, self._context, self._reader = jobs, context, reader
        self._started: deque[_Pending] = deque()
        self._depth = DEPTH + 1

    def next_group(self) -> list[_Pending]:
        """Return the next job with those after it that can be computed at once; empty at the end."""
        self._read_ahead()
        if not self._started:
            return []
        group = [self._pop()]
        first = group[0].images
        if first is None or first.first.alpha is not None:
            return group
        upscaler = group[0].context.upscaler
        most = upscaler.batch_size_for(first.first.size)
        self._depth = DEPTH + most
        while len(group) < most and self._started:
            following = self._started[0].images
            is_other_model = self._started[0].context.upscaler is not upscaler
            if following is None or is_other_model or not image.can_batch(first, following):
                break
            group.append(self._pop())
        return group

    def _pop(self) -> _Pending:
        pending = self._started.popleft()
        self._read_ahead()
        return pending

    def _read_ahead(self) -> None:
        while len(self._started) < self._depth and (job := next(self._jobs, None)) is not None:
            self._started.append(_Pending(job, self._context, self._reader))

    def cancel(self) -> None:
        """Stop reading."""
        for pending in self._started:
            pending.reading.cancel()


def _read(job: Job, context: RunContext) -> ImageSequence | None:
    """Return the input of a job; None if the job is not done in memory."""
    try:
        with failures_of(job):
            is_image = not job.is_video and not needs_streaming(job, context)
            return image.read(job, context) if is_image else None
    except OutOfMemoryError:  # beside the jobs before it; in its turn there may be enough
        return None


def _results(
    group: list[_Pending], context: RunContext
) -> Iterator[tuple[_Pending, Computed | Outcome]]:
    """Yield each job's upscaled image, or its outcome if there is nothing left to write.

    Raises:
        Stopped: As `process`.
    """
    if len(group) > 1:
        jobs = [pending.job for pending in group]
        inputs = [images for pending in group if (images := pending.images)]
        try:
            with context.device, failures_of(jobs[0]):
                batch = image.compute_batch(jobs, inputs, group[0].context)
            yield from zip(group, batch, strict=True)
            return
        except RGTError as error:  # of one of them; computed one by one, the others succeed
            logger.info("a batch of %d images failed, trying each one: %s", len(group), error)
    for pending in group:
        try:
            images = pending.reading.result()
            with context.device, failures_of(pending.job):
                result = (
                    image.compute(pending.job, images, pending.context)
                    if images
                    else process(pending.job, context)
                )
            yield pending, result
        except RGTError as error:
            yield pending, Outcome(job=pending.job, error=error)


def _write(pending: _Pending, computed: Computed) -> Outcome:
    try:
        with failures_of(pending.job):
            outcome = image.write(pending.job, computed, pending.context)
        return replace(outcome, model=pending.context.upscaler.name)
    except RGTError as error:
        return Outcome(job=pending.job, error=error)


def _completed(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
