"""What `rgt upscale` shows and keeps of a run over many pictures."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import click

from rgt_cli.cli.console import Console, printable
from rgt_cli.errors import ExitCode, OutputError
from rgt_cli.jobs import Outcome


@dataclass
class RunReport:
    """Everything that is known of a run, for its summary, its report and its events.

    Args:
        events: whether every event is printed on stdout, as a line of JSON.
    """

    events: bool = False
    facts: dict[str, Any] = field(default_factory=lambda: {"ignored": {}})
    planned: int = 0
    there: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def plan(self, to_do: int, there: int) -> None:
        """Take up so many jobs more, and so many whose targets are there already."""
        self.planned, self.there = self.planned + to_do, self.there + there
        self.event("start", planned=to_do, there=there, **self.facts)

    def event(self, name: str, **facts: Any) -> None:
        """Print an event, if they are wanted."""
        if self.events:
            click.echo(json.dumps({"event": name} | facts))

    def add(self, outcome: Outcome) -> None:
        """Take up what became of a job."""
        self.outcomes.append(outcome)
        self.event("failed" if outcome.error else "done", **as_json(outcome))

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes without a target."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def summary(self) -> dict[str, Any]:
        """The run in figures."""
        wall = time.monotonic() - self.started
        busy = sum(outcome.seconds for outcome in self.outcomes)
        return self.facts | {
            "planned": self.planned,
            "there": self.there,
            "done": len(self.outcomes) - len(self.failed),
            "failed": len(self.failed),
            "seconds": round(wall, 3),
            "device_busy": round(busy / wall, 4) if wall else 0.0,
        }

    def write(self, path: Path) -> None:
        """Write the report, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        report = self.summary() | {"pictures": [as_json(outcome) for outcome in self.outcomes]}
        partial = path.with_name(f".{path.name}.part")
        try:
            partial.write_text(json.dumps(report, indent=2) + "\n")
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def as_json(outcome: Outcome) -> dict[str, Any]:
    """What became of a job, for programs. Sizes are width and height in pixels."""
    return {
        "source": os.fspath(outcome.job.source),
        "target": os.fspath(outcome.job.target),
        "source_size": outcome.source_size,
        "target_size": outcome.target_size,
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 4),
        "peak_memory": outcome.peak_memory,
        "warnings": list(outcome.warnings),
        "error": None if outcome.error is None else str(outcome.error),
    }


class Stop(threading.Event):
    """Set when a person wants to stop."""

    signum = signal.SIGINT
    """The signal that said so."""

    @property
    def exit_code(self) -> int:
        """What a process ended by that signal says."""
        return 128 + self.signum


@contextmanager
def graceful_shutdown(console: Console) -> Iterator[Stop]:
    """The first Ctrl-C or SIGTERM asks for a stop after the picture in hand, the second stops now."""
    stop = Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            for number in before:
                signal.signal(number, signal.SIG_IGN)  # what comes now would end the tidying up
            raise KeyboardInterrupt
        stop.signum = signal.Signals(signum)
        stop.set()
        console.warn("finishing the picture in hand, or the segment of a film; once more stops at once")

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)


def print_summary(console: Console, record: RunReport, stop: Stop) -> int:
    """Say how a run went; returns its exit code."""
    facts = record.summary()
    record.event("end", **facts)
    if record.failed:
        rows = [[printable(os.fspath(o.job.source)), _reason(o)] for o in record.failed]
        if not console.quiet:
            console.table(["failed", "why"], rows, stderr=True)
        else:
            for outcome in record.failed:
                console.error(str(outcome.error))
    there = f", {facts['there']} were there already" if facts["there"] else ""
    ignored = "; ".join(f"{count} {why}" for why, count in facts["ignored"].items())
    console.info(
        f"{facts['done']} done, {facts['failed']} failed{there}"
        + (f"; left out: {ignored}" if ignored else "")
        + f". {facts['seconds']:.1f} s, computing {facts['device_busy']:.0%} of them"
    )
    if stop.is_set():
        left = facts["planned"] - len(record.outcomes)
        console.warn(f"stopped with {left} left; the same command goes on from here")
        return stop.exit_code
    return ExitCode.SOME_FAILED if record.failed else ExitCode.DONE


def _reason(outcome: Outcome) -> str:
    """An error without the name of its source, which stands beside it."""
    return str(outcome.error).removeprefix(f"{outcome.job.source}: ")
