"""What a run reports: JSON events, the report file, and the closing lines."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from rgt_cli.cli.console import Console
from rgt_cli.cli.signals import Stop
from rgt_cli.errors import ExitCode
from rgt_cli.files import write_text
from rgt_cli.jobs import Job, Outcome
from rgt_cli.jobs.resume import Partition, Skipped

_PROGRESS_SECONDS = 1.0
"""Seconds between events of progress."""
SCHEMA = 1
"""Version of the keys of events and reports; the manual lists them under `rgt help reference`."""


@dataclass
class RunReport:
    """Everything that a run reports.

    Args:
        print_events: Print each event as a line of JSON.
        events_on_stderr: Print them on stderr, since stdout receives an image.
    """

    print_events: bool = False
    events_on_stderr: bool = False
    folder: Path | None = None
    """The output folder of a run over many files."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Reason -> number of files in folders that are not inputs."""
    planned: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _progress_after: float = 0.0
    """When the next event of progress may be printed."""

    def plan(self, found: Partition) -> None:
        """Add the jobs to do, and those that are skipped."""
        pending, skipped = len(found.pending), len(found.skipped)
        self.planned += pending
        self.skipped += found.skipped
        self._event("start", schema=SCHEMA, planned=pending, skipped=skipped, ignored=self.ignored)

    def progress(self, job: Job, done: int, total: int) -> None:
        """Report that so many frames or tiles of a job are done, once a second at most."""
        now = time.monotonic()
        if total > 1 and now >= self._progress_after:
            self._progress_after = now + _PROGRESS_SECONDS
            self._event("progress", source=job.name, target=job.target_name, done=done, total=total)

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a job."""
        self.outcomes.append(outcome)
        self._event("failed" if outcome.error else "done", **as_json(outcome))

    def end(self) -> None:
        """Report the end of the run."""
        self._event("end", **self.summary())

    def _event(self, name: str, **facts: Any) -> None:
        if self.print_events:
            click.echo(json.dumps({"event": name} | facts), err=self.events_on_stderr)

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes of the jobs that failed."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def summary(self) -> dict[str, Any]:
        """Return the run in figures."""
        wall = time.monotonic() - self.started
        busy = sum(outcome.seconds for outcome in self.outcomes)
        return {
            "schema": SCHEMA,
            "planned": self.planned,
            "done": len(self.outcomes) - len(self.failed),
            "failed": len(self.failed),
            "skipped": len(self.skipped),
            "ignored": self.ignored,
            "seconds": round(wall, 3),
            "device_busy": round(busy / wall, 4) if wall else 0.0,
        }

    def write(self, path: Path) -> None:
        """Write the report file.

        Raises:
            OutputError: It cannot be written.
        """
        skipped = [
            {"source": job.name, "target": job.target_name, "reason": reason}
            for job, reason in self.skipped
        ]
        files = [as_json(outcome) for outcome in self.outcomes]
        report = self.summary() | {"files": files, "skipped_files": skipped}
        write_text(path, json.dumps(report, indent=2) + "\n")

    def exit_code(self, stop: Stop) -> int:
        """Return the exit code of the run: that of its failures if they share one, else 1."""
        if stop.is_set():
            return stop.exit_code
        codes = {outcome.error.exit_code for outcome in self.outcomes if outcome.error}
        if ExitCode.OUTPUT in codes:
            return ExitCode.OUTPUT
        if len(codes) == 1:
            return codes.pop()
        return ExitCode.SOME_FAILED if codes else ExitCode.DONE


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
        "warnings": list(outcome.warnings),
        "error": error_text(outcome) if outcome.error else None,
    }


def error_text(outcome: Outcome) -> str:
    """Return why a job failed; stdin is named as a person knows it."""
    return str(outcome.error).replace(os.fspath(outcome.job.source), outcome.job.name)


def print_summary(console: Console, report: RunReport, stop: Stop) -> None:
    """Print the outcome of a run."""
    if report.planned == 1 and not report.skipped:
        for outcome in report.outcomes:
            _print_outcome(console, outcome)
    else:
        _print_failures(console, report.failed)
        _print_totals(console, report)
    if stop.is_set():
        left = report.planned - len(report.outcomes)
        console.warn(f"stopped with {left} left; to resume, repeat the command")


def print_round(console: Console, outcomes: list[Outcome]) -> None:
    """Print the outcomes of the files that appeared in watched folders, and that more are awaited."""
    failed = [outcome for outcome in outcomes if outcome.error]
    _print_failures(console, failed)
    counts = f"{len(outcomes) - len(failed)} upscaled, {len(failed)} failed; " if outcomes else ""
    console.info(f"{counts}waiting for new files; Ctrl-C ends the run")


def _print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the outcome of the only job of a run."""
    if outcome.target_size:
        frames = f", {outcome.frames} frames" if outcome.job.is_video else ""
        by = f", {outcome.model}" if outcome.model else ""
        console.info(
            f"{outcome.job.target_name}: {outcome.target_size}{frames}{by}, {outcome.seconds:.1f} s"
        )
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
    reasons = Counter(reason for _, reason in report.skipped)
    skipped = "".join(f", {count} skipped ({reason})" for reason, count in reasons.items())
    ignored = ", ".join(f"{count} {reason}" for reason, count in facts["ignored"].items())
    console.info(
        f"{facts['done']} upscaled, {facts['failed']} failed{skipped} in {facts['seconds']:.1f} s; "
        f"device busy {facts['device_busy']:.0%}" + (f"; ignored: {ignored}" if ignored else "")
    )
    if report.folder and facts["done"]:
        console.info(f"outputs: {report.folder}")
