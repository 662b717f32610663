"""Run sections, each in its own process, and continue after whatever ends one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu.process import section_of
from tests.benchmarks.gpu.steps import Goal, Section, read_events

ROOT = Path(__file__).parents[3]
POLL_SECONDS = 0.05


@dataclass
class StepResult:
    """How a step ended, and what it found."""

    section: str
    step: str
    outcome: str = "not run"
    """"done", "failed" or "not run"."""
    reason: str = ""
    """Why it failed or was not run."""
    seconds: float = 0.0
    has_started: bool = False
    has_ended: bool = False
    values: list[dict[str, Any]] = field(default_factory=list)
    """Facts with `name`, `value`, `unit` and `note`."""
    goals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key of a goal -> facts with `value` and `note`."""


@dataclass(frozen=True)
class GoalResult:
    """What became of a goal."""

    goal: Goal
    state: str
    """"ok", "missed" or "not run"."""
    found: float | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """How sections are run."""

    device: str
    quick: bool
    out: Path
    """An existing folder, which receives the log and what steps keep."""

    @property
    def log(self) -> Path:
        """What the processes of all sections print."""
        return self.out / "log.txt"


_OVER = "the time of its section was over"


def run_section(module: str, options: Options, seconds_left: float = float("inf")) -> list[StepResult]:
    """Run the steps of a section until all have ended or its time is over.

    Args:
        module: The module of the section.
        options: How to run it.
        seconds_left: The seconds that are left for all sections.
    """
    section = section_of(module)
    deadline = time.monotonic() + min(section.seconds, seconds_left)
    results = {name: StepResult(section.name, name) for name in section.steps}
    waiting, problem = list(section.steps), _OVER
    while waiting and time.monotonic() < deadline:
        with tempfile.TemporaryDirectory() as folder:
            events = Path(folder) / "events.jsonl"
            problem = _run_process(module, waiting, events, deadline, options)
            _collect(events, results)
        ended = [name for name in waiting if results[name].has_ended]
        waiting = [name for name in waiting if name not in ended]
        if waiting and (time.monotonic() < deadline or results[waiting[0]].has_started):
            current = results[waiting.pop(0)]
            current.outcome, current.reason = "failed", problem
            if not ended and not current.has_started:  # nor will the others
                deadline = 0.0
    for name in waiting:
        results[name].reason = problem
    return list(results.values())


def _run_process(
    module: str, steps: Sequence[str], events: Path, deadline: float, options: Options
) -> str:
    """Run steps in a process of their own, and return why it ended too early, if it did."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu.process", "--module", module]
    command += ["--steps", ",".join(steps), "--device", options.device, "--out", str(options.out)]
    command += ["--events", str(events), *(["--quick"] if options.quick else [])]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with options.log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        problem = _wait(process, section_of(module), events, deadline)
    if process.returncode < 0 and not problem:
        problem = f"its process was ended by {signal.Signals(-process.returncode).name}"
    elif process.returncode and not problem:
        lines = options.log.read_text(errors="replace").split("\n")
        problem = next((line for line in reversed(lines) if line.strip()), "its process failed")
    return problem


def _wait(process: subprocess.Popen[bytes], section: Section, events: Path, deadline: float) -> str:
    """Wait for a process, and end it with all that it started when a step or the section is too slow."""
    problem = ""
    while process.poll() is None and not problem:
        time.sleep(POLL_SECONDS)
        *_, last = [{"event": "end"}, *read_events(events)]
        limit = float("inf") if last["event"] == "end" else section.steps[last["step"]].seconds
        started = [event["time"] for event in read_events(events) if event["event"] == "start"]
        if started and time.time() > started[-1] + limit:
            problem = f"took longer than its {limit:g} seconds"
        elif time.monotonic() > deadline:
            problem = _OVER
    if problem:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return problem


def _collect(events: Path, results: dict[str, StepResult]) -> None:
    """Fill in what the steps of one process have reported."""
    for event in read_events(events):
        result, kind = results[event.pop("step")], event.pop("event")
        if kind == "start":
            result.has_started = True
        elif kind == "value":
            result.values.append(event)
        elif kind == "goal":
            result.goals[event.pop("key")] = event
        else:
            result.has_ended = True
            result.outcome, result.reason = event["outcome"], event["reason"]
            result.seconds = event["seconds"]


def judge(module: str, results: Sequence[StepResult], options: Options) -> list[GoalResult]:
    """Compare what the steps of a section found with its goals."""
    judged = []
    for result in results:
        for goal in section_of(module).steps[result.step].goals:
            facts = result.goals.get(goal.key)
            found, note = (facts["value"], facts["note"]) if facts else (None, result.reason)
            if goal.cuda_only and not options.device.startswith("cuda"):
                state, note = "not run", "needs CUDA"
            elif goal.full_only and options.quick:
                state, note = "not run", "needs the full sizes"
            elif found is None:
                state = "not run"
            else:
                state = "ok" if goal.is_reached(found) else "missed"
            judged.append(GoalResult(goal, state, found, note))
    return judged
