"""Upscale files from Python as `rgt upscale` does: the same plans, jobs and journal."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rgt_cli.api.arguments import (
    FileArguments,
    FolderArguments,
    ModelArguments,
    PathLike,
    job_options,
    model_options,
    parse,
    parse_path,
    size_of,
)
from rgt_cli.api.upscaler import Upscaler
from rgt_cli.errors import NoInputError, RGTError, UsageError
from rgt_cli.files import exclusive
from rgt_cli.jobs import (
    Existing,
    Job,
    JobOptions,
    Journal,
    Outcome,
    RunContext,
    SourceFilter,
    find_sources,
    output_folder,
    partition,
    plan_folder,
    plan_one,
    process,
    run_jobs,
)
from rgt_cli.jobs.plan import check_image_options, check_output_folder, images_of_one_video
from rgt_cli.jobs.resume import remove_remains
from rgt_cli.size import Size

if TYPE_CHECKING:  # importing the API must not wait for torch
    from rgt_cli.inference.tiling import ProgressCallback

logger = logging.getLogger(__name__)

JobProgress = Callable[[Job, int, int], None]
"""Called with a job, and the tiles or frames of it that are done and their number."""


def upscale_file(
    source: PathLike,
    target: PathLike | None = None,
    *,
    upscaler: Upscaler | None = None,
    on_progress: ProgressCallback | None = None,
    **options: Unpack[FileArguments],
) -> Outcome:
    """Upscale an image, an animation or a video from file to file, as `rgt upscale SOURCE` does.

    Args:
        source: The input file.
        target: The output file, or a folder; None puts the output beside the input.
        upscaler: Upscales the images, instead of one that `options` describe.
        on_progress: Called with the tiles or frames that are done and their number. An exception that it
            raises ends the job; a video is resumed by the next call.
        **options: The options of `rgt upscale` by name, such as `scale=2` or `overwrite=True`.

    Returns:
        The outcome. Its `skipped` is the reason why an existing output was not replaced.

    Raises:
        NoInputError: The input does not exist.
        InputError: The input is damaged or of an unsupported kind. The frames of a damaged video that
            can be decoded are written nevertheless.
        UsageError: An option is not valid, the output exists, or its format does not support it.
        CheckpointError: The model cannot be loaded.
        OutOfMemoryError: The input does not fit in memory with the requested tiles, or the smallest.
        OutputError: The output cannot be written.
        DeviceError: The GPU failed, and this process can no longer use it.
        TypeError: An option is unknown.
    """
    run = _Run.of("upscale_file", options, FileArguments, target, upscaler)
    return run.one(parse_path(source, "source"), on_progress)


def upscale_video(
    source: PathLike,
    target: PathLike | None = None,
    *,
    upscaler: Upscaler | None = None,
    on_progress: ProgressCallback | None = None,
    **options: Unpack[FileArguments],
) -> Outcome:
    """Upscale a video, or write an animation as a video, as `rgt upscale SOURCE` does.

    Args:
        source: The input file; or a folder of numbered images, or a pattern of their names such as
            frames/%06d.png, whose frame rate is `fps`.
        target: The output file, a pattern such as frames/%06d.png, or a folder; None puts the output
            beside the input.
        upscaler: As for `upscale_file`.
        on_progress: As for `upscale_file`, called after each frame.
        **options: As for `upscale_file`.

    Returns:
        The outcome, as from `upscale_file`.

    Raises:
        UsageError: Neither the input nor the output is a video; otherwise as `upscale_file`.
        RGTError, TypeError: As `upscale_file`.
    """
    run = _Run.of("upscale_video", options, FileArguments, target, upscaler)
    return run.one(parse_path(source, "source"), on_progress, only_videos=True)


def upscale_folder(
    source: PathLike | Iterable[PathLike],
    target: PathLike | None = None,
    *,
    upscaler: Upscaler | None = None,
    on_progress: JobProgress | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    **options: Unpack[FolderArguments],
) -> list[Outcome]:
    """Upscale the images and videos of a folder, as `rgt upscale SOURCE... -o TARGET` does.

    The journal in the output folder is that of the command: a second call does what is missing.

    Args:
        source: A folder, a file or a glob pattern, or several of them.
        target: The output folder; None is `photos_upscaled` beside a folder `photos`, and the folder of
            the inputs for files.
        upscaler: As for `upscale_file`.
        on_progress: Called with the job, and the tiles or frames of it that are done and their number.
        on_outcome: Called with each outcome as soon as it is known; first with those of skipped inputs.
        **options: The options of `rgt upscale` by name, such as `recursive=True`.

    Returns:
        The outcome of each input, in order. `error` is why an input failed, and `skipped` why an
        existing output was not replaced.

    Raises:
        NoInputError: There are no inputs.
        UsageError: An option is not valid, outputs exist that no earlier run wrote, or an earlier run
            used other options.
        CheckpointError: The model cannot be loaded.
        OutputError: An output cannot be written. The outcomes until then are in the journal.
        RGTError: With `fail_fast`, the first failure.
        TypeError: An option is unknown.
    """
    if isinstance(source, (str, os.PathLike)) or not isinstance(source, Iterable):
        source = [source]
    paths = [parse_path(one, "source") for one in source]
    run = _Run.of("upscale_folder", options, FolderArguments, target, upscaler)
    return run.many(paths, on_progress or (lambda job, done, total: None), on_outcome)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The arguments of one call of a function."""

    parsed: Mapping[str, Any]
    """The arguments that were given, parsed."""
    options: JobOptions
    size: Size | None
    """None if only the file of the model reveals it."""
    upscaler: Upscaler | None
    """None if the arguments describe it."""

    @classmethod
    def of(
        cls,
        function: str,
        given: Mapping[str, Any],
        known: type,
        target: PathLike | None,
        upscaler: Upscaler | None,
    ) -> _Run:
        """Parse the arguments of a function.

        Raises:
            UsageError, TypeError: As `parse`, or an argument is one of the upscaler's too.
        """
        parsed = parse(given, known, function)
        if upscaler and (twice := sorted(parsed.keys() & ModelArguments.__annotations__)):
            raise UsageError(f"{', '.join(twice)}: use the arguments of the upscaler instead")
        if upscaler:
            parsed["alpha"] = upscaler.alpha
        return cls(
            parsed=parsed,
            options=job_options(parsed, None if target is None else parse_path(target, "target")),
            size=upscaler.size if upscaler else size_of(parsed) or model_options(parsed).default_size,
            upscaler=upscaler,
        )

    def one(
        self, source: Path, on_progress: ProgressCallback | None, *, only_videos: bool = False
    ) -> Outcome:
        """Do the job of one file, without a journal."""
        images = images_of_one_video(source, self.options.output)
        if source.is_dir() and not images:
            raise UsageError(f"{source}: is a folder: use upscale_folder")
        if self.options.video.fps and not images:
            raise UsageError("fps only applies to numbered images that become one video")

        def plan(size: Size) -> Job:
            job = plan_one(source, size, self.options.output, images)
            check_image_options([job], self.options.image)
            if only_videos and not job.is_video:
                raise UsageError(f"{source}: neither the input nor the output is a video")
            return job

        if self.size:  # refuse what can be refused before torch takes its second to start
            partition([plan(self.size)], None, self.options.existing)
        upscaler = self._loaded()
        job = plan(upscaler.size)
        with exclusive(job.target):
            found = partition([job], None, self.options.existing)
            if found.skipped:
                (skipped,) = found.skipped
                return Outcome(job=job, skipped=skipped.reason)
            remove_remains(found.pending)
            context = self._context(
                upscaler, None, lambda job, done, total: on_progress and on_progress(done, total)
            )
            with _raised_by_callbacks():
                outcome = process(job, context)
        if outcome.error:
            raise outcome.error
        return outcome

    def many(
        self,
        sources: list[Path],
        on_progress: JobProgress,
        on_outcome: Callable[[Outcome], None] | None,
    ) -> list[Outcome]:
        """Do the jobs of files and folders, with a journal."""
        scan = find_sources(sources, self._selection())
        if not scan.sources:
            raise NoInputError(f"{sources[0]}: no images or videos found{scan.why_nothing_found()}")
        folder = self.options.output.target or output_folder(scan)
        check_output_folder(folder)
        if self.size:  # refuse what can be refused before torch takes its second to start
            plan_folder(scan.sources, folder, self.size, self.options.output)
        upscaler = self._loaded()
        settings = self.options.settings(upscaler.options, upscaler.name, upscaler.size)
        with Journal(folder, settings, self.options.existing is Existing.OVERWRITE) as journal:
            inputs = journal.originals(scan.sources)
            jobs = plan_folder(inputs, folder, upscaler.size, self.options.output)
            found = partition(jobs, journal, self.options.existing)
            skipped = (Outcome(job=job, skipped=reason) for job, reason in found.skipped)
            remove_remains(found.pending)
            outcomes = {}
            context = self._context(upscaler, journal, on_progress)
            with _raised_by_callbacks(), closing(run_jobs(found.pending, context)) as done:
                for outcome in itertools.chain(skipped, done):
                    outcomes[outcome.job] = outcome
                    if on_outcome:
                        on_outcome(outcome)
                    if outcome.error and self._ends_with(outcome.error):
                        raise outcome.error
        return [outcomes[job] for job in jobs]

    def _ends_with(self, error: RGTError) -> bool:
        """Return whether a failure ends the run."""
        return error.ends_run or bool(self.parsed.get("fail_fast"))

    def _selection(self) -> SourceFilter:
        return SourceFilter(
            recursive=self.parsed.get("recursive", False),
            include=self.parsed.get("include", ()),
            exclude=self.parsed.get("exclude", ()),
            output=self.options.output.target,
        )

    def _loaded(self) -> Upscaler:
        """Return the upscaler, loaded if the arguments describe it."""
        if self.upscaler:
            return self.upscaler
        names = ModelArguments.__annotations__
        return Upscaler(**{name: value for name, value in self.parsed.items() if name in names})

    def _context(
        self, upscaler: Upscaler, journal: Journal | None, on_progress: JobProgress
    ) -> RunContext:
        return RunContext(
            options=self.options,
            upscaler=upscaler.network_upscaler,
            journal=journal,
            on_progress=_passing_errors(on_progress),
            stop=threading.Event(),
            warn=lambda warning: logger.warning("%s", warning),
            chooser=upscaler.chooser,
        )


class _CallbackError(BaseException):
    """Carries what a callback raised past the code that turns exceptions into failures of a job."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _passing_errors(on_progress: JobProgress) -> JobProgress:
    """Return a callback whose exceptions end the run; see `_raised_by_callbacks`."""

    def passing(job: Job, done: int, total: int) -> None:
        try:
            on_progress(job, done, total)
        except Exception as error:
            raise _CallbackError(error) from error

    return passing


@contextmanager
def _raised_by_callbacks() -> Iterator[None]:
    """Raise the exceptions of callbacks that `_passing_errors` returned."""
    try:
        yield
    except _CallbackError as carrier:
        raise carrier.error from None
