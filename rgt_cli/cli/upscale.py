"""`rgt upscale`: write larger images and videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rgt_cli.cli import options, upscale_options
from rgt_cli.cli.candidates import files
from rgt_cli.cli.command import common
from rgt_cli.cli.configurable import ConfigurableCommand, configuration_of
from rgt_cli.cli.console import Console
from rgt_cli.cli.notes import better_model, warn_fallbacks, warn_multi_pass
from rgt_cli.cli.param_types import InputType
from rgt_cli.cli.preview import forecast_jobs, write_previews
from rgt_cli.cli.signals import Stop, graceful_shutdown
from rgt_cli.cli.stdio import STDIO, Files, stdio_files
from rgt_cli.cli.summary import RunReport, print_forecasts, print_round, print_summary
from rgt_cli.cli.upscale_options import InputOptions, RunOptions
from rgt_cli.errors import ExitCode, NoInputError, UsageError, WorkerError
from rgt_cli.files import exclusive
from rgt_cli.jobs import (
    Existing,
    History,
    ImageOptions,
    Job,
    JobOptions,
    Journal,
    ModelOptions,
    OutputOptions,
    RunContext,
    VideoOptions,
    find_sources,
    output_folder,
    partition,
    plan_folder,
    plan_one,
    run_jobs,
    watch_jobs,
)
from rgt_cli.jobs.automatic import AutomaticModels
from rgt_cli.jobs.folder_plan import FolderPlan
from rgt_cli.jobs.models import ModelLoader
from rgt_cli.jobs.plan import check_image_options, check_output_folder, images_of_one_video
from rgt_cli.jobs.resume import JobSelection, Partition, remove_remains
from rgt_cli.jobs.source_list import PathList
from rgt_cli.jobs.sources import RESULT, is_pattern
from rgt_cli.jobs.workers.devices import Devices
from rgt_cli.jobs.workload import Workload
from rgt_cli.size import Size

if TYPE_CHECKING:
    from rgt_cli.inference import MultiPassUpscaler
    from rgt_cli.jobs.workers.cluster import Workers


@click.command(cls=ConfigurableCommand)
@click.argument("sources", metavar="INPUT...", nargs=-1, type=InputType(), shell_complete=files)
@upscale_options.input_group
@upscale_options.output_group
@upscale_options.existing_group
@upscale_options.size_group
@options.model_group(
    options.model, options.self_ensemble, options.devices, options.precision, options.tile,
    options.overlap, options.batch_size, options.memory, options.threads,
)  # fmt: skip
@upscale_options.image_group
@upscale_options.video_group
@upscale_options.run_group
@common
@click.pass_obj
def upscale(  # noqa: PLR0913 - one parameter for each group of options
    console: Console,
    sources: tuple[Path, ...],
    inputs: InputOptions,
    output: OutputOptions,
    existing: Existing,
    size: Size | None,
    model: ModelOptions,
    image: ImageOptions,
    video: VideoOptions,
    run: RunOptions,
) -> int:
    """Upscale images and videos.

    INPUT is a file, a folder, a glob pattern, or - for an image from stdin.

    \b
    Examples:
      rgt upscale photo.jpg                    write photo_x4.jpg
      rgt upscale photo.jpg -s 2 -o big.webp   twice as large, as WebP
      rgt upscale photos -r -o out             a folder with its subfolders
      rgt upscale clip.mkv -s 2                a video, with its audio and subtitles
      rgt upscale frames -o clip.mp4 --fps 24  numbered images into a video
      rgt upscale - < in.png > out.png         a pipe

    To resume an interrupted run, repeat the command. `rgt help` lists the topics of the manual.
    """
    arguments = PathList(chain(sources, inputs.listed()))
    if not arguments:
        raise NoInputError("no input files given: `rgt upscale --help` shows examples")
    if len(arguments) == 2 and output.target is None and arguments[0].exists():
        _reject_second_name(arguments[1])
    devices = run.devices(model.device)
    configured = configuration_of(click.get_current_context()).settings.keys()
    # Workers have the GPUs, not this process. A single GPU needs no worker.
    device = "cpu" if devices else "auto" if model.device == "all" else model.device
    command = _Command(
        console=console,
        inputs=inputs,
        options=JobOptions(
            image=image, video=video, output=output, existing=existing, max_pixels=inputs.max_pixels
        ),
        size=size or model.default_size,
        model=dataclasses.replace(model, device=device),
        run=run,
        devices=devices,
        configured=configured,
    )
    if len(arguments) == 1 and (images := images_of_one_video(arguments[0], output)):
        return command.upscale_one(Files(images[0], output.target, str(arguments[0])), images)
    if video.fps and "fps" not in configured:
        raise UsageError("--fps only applies to numbered images that become one video: use -o video.mp4")
    if len(arguments) > 1 or arguments[0].is_dir() or is_pattern(arguments[0]):
        if output.target == STDIO:
            raise UsageError("-o -: stdout receives only one image: name a folder")
        return command.upscale_many(arguments)
    with stdio_files(arguments[0], output.target, output.format) as files:
        return command.upscale_one(files)


def _reject_second_name(path: Path) -> None:
    """Refuse a second input that does not exist: many programs expect the output there.

    Raises:
        NoInputError: It does not exist.
    """
    if not (path.exists() or is_pattern(path)):
        raise NoInputError(f"{path}: no such file: to name the output, use -o {path}")


@dataclass(frozen=True, kw_only=True)
class _Command:
    """The options of the command, and its two forms: for one input, and for folders."""

    console: Console
    inputs: InputOptions
    options: JobOptions
    size: Size | None
    """None is the factor of the model, which only its file reveals."""
    model: ModelOptions
    run: RunOptions
    devices: Devices | None
    """Where workers should run; None to compute in this process."""
    configured: Collection[str]
    """Options that are set for all runs, as `keys_of` names them."""

    def upscale_one(self, files: Files, images: tuple[Path, ...] = ()) -> int:
        """Upscale one named file, or numbered images that become one video, without a journal."""
        if self.run.watch:
            raise UsageError(f"--watch: {files.source_name} is a single input: give a folder")
        output = dataclasses.replace(self.options.output, target=files.target)

        def plan(size: Size) -> list[Job]:
            job = plan_one(files.source, size, output, images)
            check_image_options([job], self.options.image, self.configured)
            self.run.check_report(job.target.parent)
            return [job.named(files.source_name, files.target_name)]

        if self.size:  # refuse what can be refused before torch takes its second to start
            partition(plan(self.size), None, self.options.existing)
        upscaler, chooser = self._load_upscalers()
        jobs = plan(upscaler.size)
        is_long = jobs[0].is_video  # one image is not worth finishing after Ctrl-C
        with (
            exclusive(jobs[0].target),
            self._session(upscaler, chooser, None, graceful=is_long) as session,
        ):
            session.report.events_on_stderr = files.target_name == "stdout"
            found = partition(jobs, None, self.options.existing)
            return session.preview(found) if self._previews else session.run([found])

    def upscale_many(self, sources: Sequence[Path]) -> int:
        """Upscale files, folders and patterns into a folder with a journal."""
        selection = self.inputs.selection(self.options.output.target)
        scan = find_sources(sources, selection)
        if not scan.sources and not self.run.watch:
            raise NoInputError(f"{sources[0]}: no images or videos found{scan.why_nothing_found()}")
        folder = self.options.output.target or output_folder(scan)
        check_output_folder(folder)
        self.run.check_report(folder)
        checked = None
        if self.size:  # refuse what can be refused before torch takes its second to start
            checked = plan_folder(scan.sources, folder, self.size, self.options.output)
        upscaler, chooser = self._load_upscalers()

        def plan(history: History) -> FolderPlan:
            found = find_sources(sources, selection) if self.run.watch else scan
            originals = history.originals(found.sources)
            if checked and checked.sources is originals and self.size == upscaler.size:
                jobs = checked
            else:
                jobs = plan_folder(originals, folder, upscaler.size, self.options.output)
            if not self.run.watch:
                check_image_options(jobs, self.options.image, self.configured)
            if results := found.results + len(found.sources) - len(jobs):
                scan.ignored[RESULT] = results
            return jobs

        name = upscaler.name or self.model.model
        settings = self.options.settings(self.model, name, upscaler.size)
        fresh = self.options.existing is Existing.OVERWRITE
        if self._previews:
            with (
                History.read(folder, settings, fresh) as history,
                self._session(upscaler, chooser, None) as session,
            ):
                session.report.add_scan(scan)
                return session.preview(partition(plan(history), history, self.options.existing))
        with (
            Journal(folder, settings, fresh) as journal,
            self._session(upscaler, chooser, journal) as session,
        ):
            session.report.add_scan(scan)
            session.report.folder = folder
            if self.run.watch:
                return session.run(
                    watch_jobs(lambda: plan(journal), journal, self.options.existing, session.stop)
                )
            return session.run([partition(plan(journal), journal, self.options.existing)])

    @property
    def _previews(self) -> bool:
        return self.run.dry_run or self.run.preview is not None

    def _load_upscalers(self) -> tuple[MultiPassUpscaler, AutomaticModels | None]:
        """Return the upscaler of the model, and what chooses another one for some inputs."""
        loader = ModelLoader(
            options=self.model,
            size=self.size,
            alpha_by_network=self.options.image.alpha == "network",
            note=self.console.warn,
            chosen=lambda model, file: self.console.info(f"using the model {model} for {file}"),
            downloads=self.console.downloads,
        )
        upscaler, chooser = loader.load()
        if upscaler.size.scale:
            warn_multi_pass(self.console, upscaler, upscaler.size.scale)
        return upscaler, chooser

    @contextmanager
    def _workers(self) -> Iterator[Workers | None]:
        """Yield the workers that run jobs; None to run them on the device of this process."""
        if self.devices is None or self.run.preview:
            yield None
            return
        from rgt_cli.jobs.workers.cluster import Workers
        from rgt_cli.jobs.workers.worker import WorkerSpec

        spec = WorkerSpec(model=self.model, size=self.size, options=self.options)
        with closing(Workers(self.devices, spec)) as workers:
            yield workers

    def _report(self) -> RunReport:
        return RunReport(self.run.print_events, self.run.report, thumbnails=self.run.thumbnails())

    @contextmanager
    def _session(
        self,
        upscaler: MultiPassUpscaler,
        chooser: AutomaticModels | None,
        journal: Journal | None,
        *,
        graceful: bool = True,
    ) -> Iterator[_Session]:
        with (
            self._workers() as workers,
            graceful_shutdown(self.console) if graceful else nullcontext(Stop()) as stop,
            closing(self._report()) as report,
        ):
            yield _Session(
                workers=workers,
                console=self.console,
                run_options=self.run,
                report=report,
                stop=stop,
                options=self.options,
                model=self.model,
                upscaler=upscaler,
                chooser=chooser,
                journal=journal,
            )


@dataclass(frozen=True, kw_only=True)
class _Session:
    """A run, from the jobs to what is printed of their outcomes."""

    console: Console
    run_options: RunOptions
    report: RunReport
    stop: Stop
    options: JobOptions
    model: ModelOptions
    upscaler: MultiPassUpscaler
    chooser: AutomaticModels | None
    """Chooses another upscaler for some inputs."""
    journal: Journal | None
    workers: Workers | None
    """What runs the jobs; None to run them on the device of this process."""

    def preview(self, found: Partition) -> int:
        """Print what would be done, or write sample frames, and return the exit code."""
        context = self._context(lambda job, done, total: None)
        if self.run_options.preview:
            write_previews(self.console, found.pending, context, self.run_options.preview)
            return ExitCode.DONE
        self.report.plan(found)
        self._suggest_model(found.pending)
        forecast_jobs(self.console, self.report, found.pending, context, self.workers)
        self.report.write()
        self.report.end()
        print_forecasts(self.console, self.report)
        return self.report.exit_code(self.stop)

    def run(self, rounds: Iterable[Partition]) -> int:
        """Do the jobs of one round after the other, report them, and return the exit code."""
        try:
            for found in rounds:
                self.report.plan(found)
                done, failed = self.report.done, len(self.report.failed)
                self._suggest_model(found.pending)
                self._run_round(found.pending)
                if self.run_options.watch:
                    self.report.write()
                    print_round(self.console, self.report.done - done, self.report.failed[failed:])
        except WorkerError:
            if self.report.last:
                print_summary(self.console, self.report, self.stop)
            self.console.warn(f"{self.report.left} left; to resume, repeat the command")
            raise
        finally:
            self.report.write()
            self.report.end()
        print_summary(self.console, self.report, self.stop)
        for upscaler in self.chooser.upscalers.values() if self.chooser else (self.upscaler,):
            warn_fallbacks(self.console, upscaler)
        return self.report.exit_code(self.stop)

    def _suggest_model(self, jobs: JobSelection) -> None:
        """Print, once a run, which model would suit compressed images better than the named one."""
        if not (self.report.last or self.console.quiet) and (
            hint := better_model(jobs, self.model.model, self.upscaler.size)
        ):
            self.console.info(hint)

    def _run_round(self, jobs: JobSelection) -> None:
        remove_remains(jobs)
        with Workload(jobs) as workload, self.console.jobs(workload, len(jobs)) as progress:

            def on_progress(job: Job, done: int, total: int) -> None:
                progress.part(job, done, total)
                self.report.progress(job, done, total)

            context = dataclasses.replace(
                self._context(on_progress), on_read=progress.read, on_worker=progress.worker
            )
            run = self.workers.run_jobs if self.workers else run_jobs
            for outcome in run(jobs, context):
                self.report.add(outcome)
                progress.finished(outcome.job, 0 if outcome.error else outcome.frames)
                for warning in () if outcome.job.is_video else outcome.warnings:
                    self.console.warn(warning)  # those of a video were printed before it started
                if outcome.error and self.run_options.fail_fast:
                    break

    def _context(self, on_progress: Callable[[Job, int, int], None]) -> RunContext:
        return RunContext(
            options=self.options,
            upscaler=self.upscaler,
            journal=self.journal,
            on_progress=on_progress,
            stop=self.stop,
            warn=self.console.warn,
            inform=self.console.info,
            chooser=self.chooser,
        )
