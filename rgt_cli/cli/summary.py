"""What a run reports: JSON events, the report file, and the closing lines."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import SpooledTemporaryFile
from textwrap import indent
from typing import Any, BinaryIO

import click

from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.cli.json_output import SCHEMA
from rgt_cli.cli.signals import Stop
from rgt_cli.errors import ExitCode, RGTError
from rgt_cli.files import atomic_write
from rgt_cli.jobs import Job, Outcome
from rgt_cli.jobs.forecast import Forecast
from rgt_cli.jobs.resume import Partition, SkippedJobs
from rgt_cli.jobs.sources import SourceScan
from rgt_cli.pages.page import is_page
from rgt_cli.pages.report import write_report
from rgt_cli.pages.thumbnails import Thumbnails

_PROGRESS_SECONDS = 1.0
"""Seconds between events of progress."""
_SPOOL = 1 << 20
"""Bytes of the list of files that stay in memory; a longer list is in a temporary file."""


def _spool() -> SpooledTemporaryFile[bytes]:
    return SpooledTemporaryFile(_SPOOL)


@dataclass
class RunReport:
    """Everything that a run reports. Call `close` at the end.

    Args:
        print_events: Print each event as a line of JSON.
        path: The file for the report; None for none.
        events_on_stderr: Print events on stderr, since stdout receives an image.
    """

    print_events: bool = False
    path: Path | None = None
    events_on_stderr: bool = False
    folder: Path | None = None
    """The output folder of a run over many files."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Reason -> number of files in folders that are not inputs."""
    subfolders: int = 0
    """Number of subfolders that were not searched."""
    planned: int = 0
    done: int = 0
    """Number of jobs that succeeded."""
    failed: list[Outcome] = field(default_factory=list)
    """The outcomes of the jobs that failed."""
    last: Outcome | None = None
    """The latest outcome."""
    skipped: list[SkippedJobs] = field(default_factory=list)
    """The skipped jobs of each round."""
    forecasts: list[Forecast] = field(default_factory=list)
    """What a run would do; for a dry run."""
    workers: dict[str, float] = field(default_factory=dict)
    """Worker -> pixels of an input that it computes per second; for a dry run."""
    segment_seconds: float = 0.0
    """How long the segments of videos are."""
    thumbnails: Thumbnails | None = None
    """Makes the thumbnails of a report that is a page."""
    started: float = field(default_factory=time.monotonic)
    _seconds: float = 0.0
    """Time spent computing, by all workers."""
    _workers: set[str] = field(default_factory=set)
    _files: SpooledTemporaryFile[bytes] = field(default_factory=_spool)
    """What the report file lists of outcomes and forecasts, a line of JSON each."""
    _progress_after: float = 0.0
    """When the next event of progress may be printed."""

    def close(self) -> None:
        """Release what the report file would list."""
        self._files.close()

    def add_scan(self, scan: SourceScan) -> None:
        """Add the files in folders that are not inputs."""
        self.ignored, self.subfolders = scan.ignored, scan.subfolders

    def plan(self, found: Partition) -> None:
        """Add the jobs to do, and those that are skipped."""
        pending, skipped = len(found.pending), len(found.skipped)
        self.planned += pending
        if skipped:
            self.skipped.append(found.skipped)
        self._event("start", schema=SCHEMA, planned=pending, skipped=skipped, ignored=self.ignored)

    def progress(self, job: Job, done: int, total: int) -> None:
        """Report how many frames or tiles of a job are done, at most once per second."""
        now = time.monotonic()
        if total > 1 and now >= self._progress_after:
            self._progress_after = now + _PROGRESS_SECONDS
            self._event("progress", source=job.name, target=job.target_name, done=done, total=total)

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a job."""
        self.last = outcome
        if self.thumbnails:
            self._add_thumbnails(self.thumbnails, outcome)
        if outcome.error:
            self.failed.append(outcome)
        else:
            self.done += 1
        self._seconds += outcome.seconds
        self._workers.update(name for name in outcome.worker.split(", ") if name)
        self._add_file("failed" if outcome.error else "done", as_json(outcome))

    def _add_thumbnails(self, thumbnails: Thumbnails, outcome: Outcome) -> None:
        job = outcome.job
        are_files = Path(job.name).is_file() and Path(job.target_name).is_file()  # not stdin or stdout
        target = job.target if outcome.target_size else None
        thumbnails.add(self.done + len(self.failed), job.source, target, are_kept=are_files)

    def add_forecast(self, forecast: Forecast) -> None:
        """Add what a run would do with an input; its time is that of one worker."""
        self.forecasts.append(forecast)
        self._add_file("planned", forecast_as_json(forecast))

    def _add_file(self, event: str, facts: dict[str, Any]) -> None:
        if self.path:
            self._files.write(json.dumps(facts).encode() + b"\n")
        self._event(event, **facts)

    @property
    def expected_seconds(self) -> list[float]:
        """Estimated seconds for each input that has an estimate, on all workers together."""
        count = len(self.workers) or 1
        return [one.seconds / count for one in self.forecasts if one.seconds is not None]

    def end(self) -> None:
        """Report the end of the run."""
        if self.thumbnails:
            self.thumbnails.close()
        if self.workers:
            self._event("workers", workers=self.workers, seconds=round(sum(self.expected_seconds), 2))
        self._event("end", **self.summary())

    def _event(self, name: str, **facts: Any) -> None:
        if self.print_events:
            click.echo(json.dumps({"event": name} | facts), err=self.events_on_stderr)

    @property
    def skipped_by_reason(self) -> Counter[str]:
        """Why outputs were not replaced -> number of jobs."""
        return sum((skipped.by_reason for skipped in self.skipped), Counter[str]())

    @property
    def ended_by(self) -> RGTError | None:
        """The failure after which no other job was started; None if there was none."""
        errors = (outcome.error for outcome in self.failed if outcome.error)
        return next((error for error in errors if error.ends_run), None)

    @property
    def left(self) -> int:
        """The number of jobs that have no outcome yet."""
        return self.planned - self.done - len(self.failed)

    def summary(self) -> dict[str, Any]:
        """Return the run in figures."""
        wall = time.monotonic() - self.started
        busy = self._seconds / max(1, len(self._workers))
        return {
            "schema": SCHEMA,
            "planned": self.planned,
            "done": self.done,
            "failed": len(self.failed),
            "skipped": self.skipped_by_reason.total(),
            "ignored": self.ignored,
            "seconds": round(wall, 3),
            "device_busy": round(busy / wall, 4) if wall else 0.0,
        }

    def write(self) -> None:
        """Write the report file, if one is requested, as a page or as JSON.

        Raises:
            OutputError: It cannot be written.
        """
        if self.path is None:
            return
        self._files.seek(0)
        skipped = (
            {"source": job.name, "target": job.target_name, "reason": reason}
            for job, reason in itertools.chain(*self.skipped)
        )
        files = map(json.loads, self._files)
        if is_page(self.path):
            report = self.summary() | {"files": list(files), "skipped_files": list(skipped)}
            write_report(self.path, report, self.thumbnails.pairs() if self.thumbnails else {})
            return
        with atomic_write(self.path) as file:
            file.write(json.dumps(self.summary(), indent=2).removesuffix("\n}").encode())
            _write_list(file, "files", files)
            _write_list(file, "skipped_files", skipped)
            file.write(b"\n}\n")

    def exit_code(self, stop: Stop) -> int:
        """Return the exit code of the run: that of its failures if all share one, otherwise 1.

        The failure that ended the run takes precedence.
        """
        if stop.is_set():
            return stop.exit_code
        if self.ended_by:
            return self.ended_by.exit_code
        codes = {outcome.error.exit_code for outcome in self.failed if outcome.error}
        if len(codes) == 1:
            return codes.pop()
        return ExitCode.SOME_FAILED if codes else ExitCode.DONE


def _write_list(file: BinaryIO, name: str, items: Iterable[dict[str, Any]]) -> None:
    """Write the next field of a JSON object, a list that is never in memory as a whole."""
    file.write(f',\n  "{name}": ['.encode())
    separator, end = b"\n", b"]"
    for item in items:
        file.write(separator + indent(json.dumps(item, indent=2), "    ").encode())
        separator, end = b",\n", b"\n  ]"
    file.write(end)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome of a job for programs."""
    return {
        "source": outcome.job.name,
        "target": outcome.job.target_name,
        "source_size": outcome.source_size,
        "target_size": outcome.target_size,
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 4),
        "peak_memory": outcome.peak_memory,
        "model": outcome.model or None,
        "worker": outcome.worker or None,
        "warnings": list(outcome.warnings),
        "error": error_text(outcome) if outcome.error else None,
    }


def forecast_as_json(forecast: Forecast) -> dict[str, Any]:
    """Return what a run would do with an input, for programs."""
    return {
        "source": forecast.job.name,
        "target": forecast.job.target_name,
        "source_size": forecast.source_size,
        "target_size": forecast.target_size,
        "frames": forecast.frames,
        "segments": forecast.segments or None,
        "seconds": None if forecast.seconds is None else round(forecast.seconds, 2),
        "bytes": None if forecast.bytes is None else round(forecast.bytes),
        "model": forecast.model,
        "how": forecast.how,
        "warnings": list(forecast.warnings),
    }


def error_text(outcome: Outcome) -> str:
    """Return why a job failed, with stdin by its name instead of a temporary path."""
    return str(outcome.error).replace(os.fspath(outcome.job.source), outcome.job.name)


def print_summary(console: Console, report: RunReport, stop: Stop) -> None:
    """Print the outcome of a run."""
    if report.planned == 1 and not report.skipped:
        if report.last:
            _print_outcome(console, report.last, report.summary()["seconds"])
    else:
        _print_failures(console, report.failed)
        _print_totals(console, report)
    if (stop.is_set() or report.ended_by) and report.left:
        console.warn(f"stopped with {report.left} left; to resume, repeat the command")


def print_round(console: Console, done: int, failed: list[Outcome]) -> None:
    """Print the outcomes of the files that appeared in watched folders, and that the run waits for more.

    Args:
        console: Where to print them.
        done: Number of jobs that succeeded.
        failed: The outcomes of the others.
    """
    _print_failures(console, failed)
    counts = f"{done} upscaled, {len(failed)} failed; " if done or failed else ""
    console.info(f"{counts}waiting for new files; Ctrl-C ends the run")


def _print_outcome(console: Console, outcome: Outcome, seconds: float) -> None:
    """Print the outcome of the only job of a run, with the duration of the run in seconds."""
    if outcome.target_size:
        frames = f", {outcome.frames} frames" if outcome.job.is_video else ""
        by = f", {outcome.model}" if outcome.model else ""
        console.info(f"{outcome.job.target_name}: {outcome.target_size}{frames}{by}, {seconds:.1f} s")
    if outcome.error:
        console.error(error_text(outcome))


def _print_failures(console: Console, failed: list[Outcome]) -> None:
    if console.quiet:
        for outcome in failed:
            console.error(error_text(outcome))
    elif failed:
        rows = [[o.job.name, error_text(o).removeprefix(f"{o.job.name}: ")] for o in failed]
        console.table(["failed", "reason"], rows, stderr=True)


def _print_totals(console: Console, report: RunReport) -> None:
    facts = report.summary()
    busy = f"; device busy {facts['device_busy']:.0%}" if facts["done"] else ""
    console.info(
        f"{facts['done']} upscaled, {facts['failed']} failed{_skipped(report)} in "
        f"{facts['seconds']:.1f} s{busy}{_ignored(report)}"
    )
    if report.folder and facts["done"]:
        console.info(f"outputs: {report.folder}")


def print_forecasts(console: Console, report: RunReport) -> None:
    """Print what a run would do with each input, and with all of them."""
    forecasts = report.forecasts
    if not report.print_events and forecasts:
        columns = ["input", "output", "how", "time", "size"]
        console.table(columns, [_forecast_row(forecast) for forecast in forecasts])
    if report.workers:
        _print_workers(console, report)
    _print_failures(console, report.failed)
    seconds = report.expected_seconds
    sizes = [forecast.bytes for forecast in forecasts if forecast.bytes is not None]
    unknown = " and more" * (min(len(seconds), len(sizes)) < len(forecasts))
    on = f" on {len(report.workers)} worker{'s' * (len(report.workers) > 1)}" * bool(report.workers)
    estimate = f"{on} in {_about(seconds)}, {_about_bytes(sizes)}{unknown}" if seconds else ""
    failing = f", {len(report.failed)} would fail" * bool(report.failed)
    console.info(f"{len(forecasts)} to upscale{estimate}{failing}{_skipped(report)}{_ignored(report)}")


def _print_workers(console: Console, report: RunReport) -> None:
    """Print the workers of a run, and in which portions they receive the work."""
    from rgt_cli.jobs.workers.queue import GROUP_SECONDS  # imports libraries that others do not need

    rows = [[worker, f"{speed / 1e6:.3f} MP/s"] for worker, speed in report.workers.items()]
    if not report.print_events:
        console.table(["worker", "speed"], rows)
    videos = [forecast for forecast in report.forecasts if forecast.segments]
    parts = []
    if len(videos) < len(report.forecasts):
        parts.append(f"images in groups of about {GROUP_SECONDS:g} s")
    if videos:
        count, length = sum(forecast.segments for forecast in videos), f"{report.segment_seconds:g}"
        parts.append(f"{len(videos)} video{'s' * (len(videos) > 1)} in {count} segments of {length} s")
    console.info(f"the workers compute {' and '.join(parts)}; times of inputs are those of one worker")


def _forecast_row(forecast: Forecast) -> list[str]:
    warnings = (warning.removeprefix(f"{forecast.job.target_name}: ") for warning in forecast.warnings)
    return [
        forecast.job.name,
        forecast.job.target_name,
        "; ".join((forecast.how, *warnings)),
        "?" if forecast.seconds is None else _about([forecast.seconds]),
        "?" if forecast.bytes is None else _about_bytes([forecast.bytes]),
    ]


def _about(seconds: list[float]) -> str:
    whole = round(sum(seconds))
    return f"about {timedelta(seconds=whole)}" if whole else "less than a second"


def _about_bytes(sizes: list[float]) -> str:
    return f"about {format_bytes(sum(sizes))}"


def _skipped(report: RunReport) -> str:
    counts = report.skipped_by_reason.items()
    return "".join(f", {count} skipped ({reason})" for reason, count in counts)


def _ignored(report: RunReport) -> str:
    ignored = ", ".join(f"{count} {reason}" for reason, count in report.ignored.items())
    below = f"{report.subfolders} subfolder{'s' * (report.subfolders > 1)}: add -r"
    return (f"; ignored: {ignored}" if ignored else "") + (
        f"; not searched: {below}" if report.subfolders else ""
    )
