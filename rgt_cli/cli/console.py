"""Progress, tables and messages, which nothing else prints. Messages go to stderr."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich import filesize
from rich.console import Console as RichConsole

from rgt_cli.cli import tables

if TYPE_CHECKING:  # `rgt --help` must not wait for the imports of jobs
    from rich.progress import ProgressColumn

    from rgt_cli.jobs import Job
    from rgt_cli.jobs.job import WorkerActivity
    from rgt_cli.jobs.workload import Workload


class Update(Protocol):
    """Shows the progress of one of several tasks."""

    def __call__(self, title: str, done: float, total: float | None, pace: str | None = None) -> None:
        """Show how much of a task is done.

        Args:
            title: The task.
            done: What is done, in any unit.
            total: What there is to do; None if it is unknown.
            pace: Progress and speed, in words; None for those of the bar.
        """


Pace = Callable[[float, float | None, float], str]
"""(done, total, units per second) -> progress and speed, in words."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""C0 and C1 controls, line separators, and marks that change the direction of text."""
PLAIN_INTERVAL = 5.0
"""Seconds between lines of progress where there is no terminal to draw a bar on."""


class Console:
    """Messages and progress for the user.

    Args:
        quiet: Print errors only.
        debug: Let errors pass with their traceback, and show those that fail one job.
    """

    def __init__(self, quiet: bool = False, debug: bool = False) -> None:
        self.quiet, self.debug = quiet, debug
        self._rich = RichConsole(stderr=True, highlight=False)

    def log_decisions(self, level: int = logging.INFO) -> None:
        """Print what the modules of this package log, from `level` on, or from an earlier, lower one."""
        logger = logging.getLogger("rgt_cli")
        logger.setLevel(min(level, logger.level or level))
        if not any(getattr(handler, "console", None) is self for handler in logger.handlers):
            logger.addHandler(_LogHandler(self))

    def error(self, message: str) -> None:
        """Print what failed, on one line."""
        self._line(f"rgt: error: {message}", "red")

    def warn(self, message: str) -> None:
        """Print a warning: something to be aware of although the output was written."""
        if not self.quiet:
            self._line(f"rgt: {message}", "yellow")

    def info(self, message: str) -> None:
        """Print what was done."""
        if not self.quiet:
            self._line(message, "")

    def log(self, message: str) -> None:
        """Print a decision, for `--verbose`."""
        self._line(message, "dim")

    def show_traceback(self, error: BaseException) -> None:
        """Print where an error was raised, for `--debug`."""
        for line in "".join(traceback.format_exception(error)).splitlines():
            self._rich.print(printable(line), markup=False, emoji=False, soft_wrap=True)

    def _line(self, message: str, style: str) -> None:
        message = printable(" ".join(message.split()))
        self._rich.print(message, style=style, markup=False, emoji=False, soft_wrap=True)

    def table(
        self,
        columns: list[str],
        rows: list[list[str]],
        *,
        optional: Sequence[str] = (),
        stderr: bool = False,
    ) -> None:
        """Print a table on stdout, or on stderr. No word is cut.

        Where the table is too wide, columns in `optional` are left out, the last ones first. If that is
        not enough, the cells of each row are printed below one another.
        """
        tables.print_table(
            columns, [[printable(cell) for cell in row] for row in rows], optional, stderr
        )

    def facts(self, lines: Mapping[str, str], indent: int = tables.GAP) -> None:
        """Print titles with their texts on stdout, one per line. No word is cut.

        Args:
            lines: Title -> text.
            indent: The indentation of a text on the line after its title, if it has a long word.
        """
        tables.print_facts([(title, printable(text)) for title, text in lines.items()], indent)

    @contextmanager
    def jobs(self, workload: Workload, total: int) -> Iterator[JobProgress]:
        """Show the progress of a run over `total` images and videos, and of the current one."""
        progress = JobProgress(workload, total)
        with self._bar(progress.pace) as progress.update:
            yield progress

    @contextmanager
    def counting(self, title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        """Show progress through units like "images"; yields a function of (units done, total)."""
        with self._bar(_counting(unit)) as update:
            yield lambda done, total: update(title, done, total)

    @contextmanager
    def downloads(self) -> Iterator[Update]:
        """Show the progress of downloads; yields a function of (title, bytes done, total bytes)."""
        with self._bar(_byte_pace) as update:
            yield update

    @contextmanager
    def _bar(self, bar_pace: Pace) -> Iterator[Update]:
        """Draw a bar until the block ends; without a terminal, print lines instead."""
        if self.quiet:
            yield lambda title, done, total, pace=None: None
            return
        if not self._rich.is_terminal:
            yield _PlainProgress(self, bar_pace)
            return
        from rich import progress

        with progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[pace]}", markup=False),
            _time_left(),
            console=self._rich,
            transient=True,
            speed_estimate_period=3600,  # a shorter one makes the remaining time jump
        ) as bar:
            tasks: dict[str, tuple[progress.TaskID, _Speed]] = {}

            def update(title: str, done: float, total: float | None, pace: str | None = None) -> None:
                title = printable(title)
                if title not in tasks:  # what an earlier run has done does not count as speed
                    task = bar.add_task(title, total=total, completed=done, pace="", is_part=bool(pace))  # type: ignore[arg-type]
                    tasks[title] = task, _Speed(done)
                task, speed = tasks[title]
                words = bar_pace(done, total, speed.at(done)) if pace is None else printable(pace)
                description, progress_text = _fitted(title, words, self._rich.width)
                bar.update(
                    task, completed=done, total=total, description=description, pace=progress_text
                )

            yield update


@dataclass
class _Part:
    """A job that has begun and not ended."""

    unit: str
    """What its progress counts: tiles or frames."""
    work: float
    share: float = 0.0
    """How much of it is done, from 0 to 1."""
    frames: int = 0
    """How many of its frames are done, where it has several."""


class JobProgress:
    """The progress of a run: through its jobs or, if there is only one, through its tiles or frames."""

    def __init__(self, workload: Workload, total: int) -> None:
        self.workload, self.total, self.done = workload, total, 0
        self.work = 0.0
        """The work of the jobs that are done."""
        self.update: Update
        self._unit = "tiles"
        self._current = ""
        self._is_computing = False
        self._parts: dict[Job, _Part] = {}
        """The jobs that have begun and not ended."""
        self._frames_done = 0
        """The images, and frames of others, of the jobs that are done."""
        self._frame_speed: _Speed | None = None
        self._has_frames = False
        """Whether an input with several frames was seen."""

    def read(self, job: Job, done: int, total: int) -> None:
        """Show how many frames or pages of an input are decoded, unless another one is computed."""
        if self.total == 1:
            self._unit = "frames"
            self.update(f"reading {job.name}", done, total)
        elif not self._is_computing:
            self._current = f", reading {printable(job.name)} {done}/{total}"
            self._show()

    def part(self, job: Job, done: int, total: int) -> None:
        """Show how many tiles or frames of a job are done."""
        if (part := self._parts.get(job)) is None:
            unit = "frames" if self.workload.has_frames(job) else "tiles"
            part = self._parts[job] = _Part(unit=unit, work=self.workload.of(job))
        if job.is_video:  # its header may have been read since
            part.work = self.workload.of(job)
        self._unit = part.unit
        self._is_computing = done < total
        if self.total == 1:
            self.update(job.name, done, total)
            return
        self._current = f", {printable(job.name)}" + (f" {done}/{total}" if total > 1 else "")
        part.share = done / total if total else 0
        if part.unit == "frames":
            self._has_frames = True
            part.frames = done
        self._show()

    def finished(self, job: Job, frames: int) -> None:
        """Show that a job is done, and count its frames; 0 if it failed."""
        self.done += 1
        self._frames_done += frames
        part = self._parts.pop(job, None)
        self.work += part.work if part else self.workload.of(job)
        if self.total > 1:
            self._show()

    def worker(self, activity: WorkerActivity) -> None:
        """Show what a worker does."""
        job, busy = activity.job, f"busy {activity.busy:.0%}"
        if job is None:
            self.update(activity.worker, 0, 1, f"{busy}, waiting")
        else:
            part = f" {activity.done}/{activity.total}" if activity.total > 1 else ""
            self.update(activity.worker, activity.done, activity.total, f"{busy}, {job.name}{part}")

    @property
    def _all_frames(self) -> int:
        return self._frames_done + sum(part.frames for part in self._parts.values())

    def _show(self) -> None:
        if self._frame_speed is None:
            self._frame_speed = _Speed(self._all_frames)
        parts = sum(part.share * part.work for part in self._parts.values())
        self.update("files", self.work + parts, self.workload.total)

    def pace(self, done: float, total: float | None, speed: float) -> str:
        """Return progress and speed, in words."""
        if self.total == 1:
            return _counting(self._unit)(done, total, speed)
        rate = f", {speed / 3e6:.3f} MP/s" if speed else ""  # three bytes per pixel
        frames = self._frame_speed.at(self._all_frames) if self._frame_speed else 0
        unit = "fps" if self._has_frames else "images/s"
        images = f", {frames:.3g} {unit}" if frames else ""
        return f"{self.done}/{self.total}{images}{rate}{self._current}"


class _Speed:
    """The speed of a task since it was first updated."""

    def __init__(self, done: float) -> None:
        self._first, self._started = done, time.monotonic()

    def at(self, done: float) -> float:
        """Return units per second."""
        return (done - self._first) / max(time.monotonic() - self._started, 1e-3)


class _PlainProgress:
    """Progress as lines, at intervals of a few seconds, for logs and pipes."""

    def __init__(self, console: Console, pace: Pace) -> None:
        self.console, self.pace = console, pace
        self.last = time.monotonic()
        self.speed: _Speed | None = None
        self.first = 0.0

    def __call__(self, title: str, done: float, total: float | None, pace: str | None = None) -> None:
        if pace is not None:  # of one of several tasks
            return
        now = time.monotonic()
        if done == 0 or done == total:
            return
        if self.speed is None:  # the time before it includes warming up
            self.speed, self.first = _Speed(done), done
        if now - self.last < PLAIN_INTERVAL or done == self.first:
            return
        self.last = now
        speed = self.speed.at(done)
        left = f", {(total - done) / speed:.0f} s left" if total and speed > 0 else ""
        self.console.info(f"{title}: {self.pace(done, total, speed)}{left}")


class _LogHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.log(record.getMessage())
        if self.console.debug and record.exc_info and record.exc_info[1]:
            self.console.show_traceback(record.exc_info[1])


def _time_left() -> ProgressColumn:
    """Return a column with the remaining time of a task, unless it is one of several tasks."""
    from rich import progress
    from rich.text import Text

    class TimeLeft(progress.TimeRemainingColumn):
        def render(self, task: progress.Task) -> Text:
            return Text() if task.fields["is_part"] else super().render(task)

    return TimeLeft()


def _fitted(title: str, pace: str, width: int) -> tuple[str, str]:
    """Return a title and a pace, shortened to leave room on a line for a bar and the remaining time."""
    from rich.text import Text

    room = width - len("━━━━━━ 0:00:00") - 2

    def shortened(text: str, longest: int) -> Text:
        cut = Text(text)
        cut.truncate(max(longest, 1), overflow="ellipsis")
        return cut

    cut_pace = shortened(pace, room - min(Text(title).cell_len, 12))
    return shortened(title, room - cut_pace.cell_len).plain, cut_pace.plain


def _counting(unit: str) -> Pace:
    short = {"frames": "fps"}.get(unit, f"{unit}/s")

    def pace(done: float, total: float | None, speed: float) -> str:
        rate = f", {speed:.2f} {short}" if speed > 0 else ""
        return f"{done}/{total} {unit}{rate}"

    return pace


def _byte_pace(done: float, total: float | None, speed: float) -> str:
    of = f" of {format_bytes(total)}" if total else ""
    return f"{format_bytes(done)}{of}, {format_bytes(speed)}/s"


def format_bytes(count: float) -> str:
    """Return a number of bytes with a unit: "669.4 kB"."""
    return filesize.decimal(int(count))


def printable(text: str) -> str:
    """Return text that is safe to print on one line of a terminal.

    Bytes of a file name that are not UTF-8 are spelled out, as are characters that control a terminal or
    the direction of text.
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
