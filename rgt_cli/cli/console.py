"""The one place that owns progress bars, tables and messages. All of it goes to stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole

PLAIN_INTERVAL = 5.0
"""Seconds between lines of progress where there is no terminal to draw a bar on."""


class Console:
    """Messages and progress for a person.

    Args:
        quiet: show errors only.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._rich = RichConsole(stderr=True, highlight=False)

    def error(self, message: str) -> None:
        """Say what failed, on one line."""
        self._line(f"rgt: error: {message}", "red")

    def warn(self, message: str) -> None:
        """Say what a person should know of a result that was still made."""
        if not self.quiet:
            self._line(f"rgt: {message}", "yellow")

    def say(self, message: str) -> None:
        """Say what has been done."""
        if not self.quiet:
            self._line(message, "")

    def _line(self, message: str, style: str) -> None:
        message = " ".join(message.split())
        self._rich.print(message, style=style, markup=False, soft_wrap=True)

    @contextmanager
    def tiles(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Show progress through tiles; yields a function of (tiles done, tiles in all)."""
        if self.quiet:
            yield lambda done, total: None
        elif not self._rich.is_terminal:
            yield _PlainProgress(self, title)
        else:
            from rich import progress

            with progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("tiles  {task.fields[pace]}"),
                progress.TimeRemainingColumn(),
                console=self._rich,
                transient=True,
            ) as bar:
                task = bar.add_task(title, total=None, pace="")
                started = time.monotonic()

                def report(done: int, total: int) -> None:
                    bar.update(task, completed=done, total=total, pace=_pace(done, started))

                yield report


class _PlainProgress:
    """Progress as lines, no oftener than every few seconds, for logs and pipes."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self.started = self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 0 or done == total or now - self.last < PLAIN_INTERVAL:
            return
        self.last = now
        left = (now - self.started) / done * (total - done)
        pace = _pace(done, self.started)
        self.console.say(f"{self.title}: {done} of {total} tiles, {pace}, {left:.0f} s left")


def _pace(done: int, started: float) -> str:
    elapsed = time.monotonic() - started
    return f"{done / elapsed:.2f} tiles/s" if done and elapsed > 0 else ""
