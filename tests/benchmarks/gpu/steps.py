"""The steps of a section: what each one measures, its time limit, and its goals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")


class NotRun(Exception):  # noqa: N818 - not an error
    """This machine lacks what a step needs; the message is what, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on a number that a step measures."""

    key: str
    """The name of the goal in the code of its step."""
    text: str
    """What is measured, for the table."""
    least: float | None = None
    """The number is at least this."""
    most: float | None = None
    """The number is at most this."""
    unit: str = ""
    """The unit of the number and of the bounds."""
    cuda_only: bool = False
    """The goal is for CUDA: on other devices its step is run, and its number is no goal."""
    full_only: bool = False
    """The goal is for the full sizes: with --quick, its number is no goal."""

    def is_reached(self, found: float) -> bool:
        """Return whether a number, which may be NaN, is within the bounds."""
        above = self.least is None or found >= self.least
        return above and (self.most is None or found <= self.most)

    @property
    def bound(self) -> str:
        """The bounds in words."""
        least = [] if self.least is None else [f"at least {self.least:g}"]
        most = [] if self.most is None else [f"at most {self.most:g}"]
        return f"{' and '.join(least + most)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Run:
    """What a step knows about the run, and where it reports what it finds."""

    device: str
    """The device, as PyTorch names it."""
    is_quick: bool
    """Whether everything is to be as small as possible."""
    out: Path
    """The folder of the results, for files to look at."""
    report: Callable[[dict[str, Any]], None]
    """Receives the facts of each event."""

    @property
    def is_cuda(self) -> bool:
        """Whether the device is an NVIDIA GPU."""
        return self.device.startswith("cuda")

    def pick(self, full: Value, quick: Value) -> Value:
        """Return the value for a full run, or the one for a quick run."""
        return quick if self.is_quick else full

    def value(self, name: str, found: float | str, unit: str = "", note: str = "") -> None:
        """Report a value for the table."""
        self.report({"event": "value", "name": name, "value": found, "unit": unit, "note": note})

    def goal(self, key: str, found: float, note: str = "") -> None:
        """Report the number that belongs to a goal of this step."""
        self.report({"event": "goal", "key": key, "value": float(found), "note": note})

    def no_goal(self, key: str, reason: str) -> None:
        """Report why the number that belongs to a goal of this step cannot be found here."""
        self.report({"event": "goal", "key": key, "value": None, "note": reason})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One measurement."""

    name: str
    measure: Callable[[Run], None]
    seconds: float
    """The time limit."""
    cuda_only: bool = False
    """Whether it makes sense on CUDA alone."""
    goals: Sequence[Goal] = ()


@dataclass
class Section:
    """Steps that run in one process, unless one of them ends it."""

    name: str
    title: str
    seconds: float
    """The time limit of all steps together, with the start of their process."""
    steps: dict[str, Step] = field(default_factory=dict)

    def step(
        self, *goals: Goal, seconds: float, cuda_only: bool = False
    ) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
        """Return a decorator that makes a function a step, which has its name."""

        def add(measure: Callable[[Run], None]) -> Callable[[Run], None]:
            name = measure.__name__.replace("_", "-")
            self.steps[name] = Step(
                name=name, measure=measure, seconds=seconds, cuda_only=cuda_only, goals=goals
            )
            return measure

        return add


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events that steps have reported so far; a line that is not finished is left out."""
    if path.is_file():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
