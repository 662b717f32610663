"""The one place that owns progress bars, tables and messages. Messages go to stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole

Pace = Callable[[int, int | None, float], str]
"""(done, in all, when it started) -> how far and how fast, in words."""

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

    def info(self, message: str) -> None:
        """Say what has been done."""
        if not self.quiet:
            self._line(message, "")

    def _line(self, message: str, style: str) -> None:
        message = " ".join(printable(message).split())
        self._rich.print(message, style=style, markup=False, soft_wrap=True)

    def table(self, columns: list[str], rows: list[list[str]], stderr: bool = False) -> None:
        """Print a table, on stdout unless told otherwise."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        width = None if sys.stdout.isatty() else 160
        RichConsole(highlight=False, width=width, stderr=stderr).print(table)

    @contextmanager
    def tiles(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Show progress through tiles; yields a function of (tiles done, tiles in all)."""
        with self._bar(_tile_pace) as update:
            yield lambda done, total: update(title, done, total)

    @contextmanager
    def frames(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Show progress through a film; yields a function of (frames done, frames in all)."""
        with self._bar(_frame_pace) as update:
            yield lambda done, total: update(title, done, total)

    @contextmanager
    def pictures(self, total: int) -> Iterator["BatchProgress"]:
        """Show progress through a batch of so many pictures, and through the one in hand."""
        progress = BatchProgress(total)
        with self._bar(progress.pace) as progress.update:
            yield progress

    @contextmanager
    def downloads(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """Show progress of downloads; yields a function of (title, bytes so far, bytes in all)."""
        with self._bar(_byte_pace) as update:
            yield update

    @contextmanager
    def _bar(self, pace: Pace) -> Iterator[Callable[[str, int, int | None], None]]:
        """A bar that appears with the first report and is gone at the end; lines without a terminal."""
        if self.quiet:
            yield lambda title, done, total: None
            return
        if not self._rich.is_terminal:
            yield _PlainProgress(self, pace)
            return
        from rich import progress

        with progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[pace]}"),
            progress.TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            speed_estimate_period=3600,  # or the remaining time follows every moment's whim
        ) as bar:
            tasks: dict[str, tuple[progress.TaskID, float]] = {}

            def update(title: str, done: int, total: int | None) -> None:
                if title not in tasks:
                    tasks[title] = bar.add_task(title, total=None, pace=""), time.monotonic()
                task, started = tasks[title]
                bar.update(task, completed=done, total=total, pace=pace(done, total, started))

            yield update


class BatchProgress:
    """Progress through many pictures."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.pixels = total, 0, 0
        self.update: Callable[[str, int, int | None], None]
        self._in_hand = ""

    def tile(self, title: str, done: int, total: int) -> None:
        """So many tiles of one picture are done."""
        self._in_hand = f", {printable(title)} {done}/{total}" if total > 1 else f", {printable(title)}"
        self.update("pictures", self.done, self.total)

    def picture(self, pixels: int) -> None:
        """One more picture is done, which was made of so many pixels."""
        self.done += 1
        self.pixels += pixels
        self.update("pictures", self.done, self.total)

    def pace(self, done: int, total: int | None, started: float) -> str:
        """How far and how fast, in words."""
        elapsed = max(time.monotonic() - started, 1e-3)
        rate = f", {done / elapsed:.2f}/s, {self.pixels / 1e6 / elapsed:.3f} MP/s" if done else ""
        return f"{done}/{total}{rate}{self._in_hand}"


class _PlainProgress:
    """Progress as lines, no oftener than every few seconds, for logs and pipes."""

    def __init__(self, console: Console, pace: Pace) -> None:
        self.console, self.pace = console, pace
        self.started = self.last = time.monotonic()
        self.first: tuple[int, float] | None = None

    def __call__(self, title: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done == 0 or done == total:
            return
        if self.first is None:
            self.first = done, now  # what comes before it, warming up, says nothing of the rest
        if now - self.last < PLAIN_INTERVAL or done == self.first[0]:
            return
        self.last = now
        pace = (now - self.first[1]) / (done - self.first[0])
        left = f", {pace * (total - done):.0f} s left" if total else ""
        self.console.info(f"{title}: {self.pace(done, total, self.started)}{left}")


def _tile_pace(done: int, total: int | None, started: float) -> str:
    elapsed = time.monotonic() - started
    return f"{done}/{total} tiles" + (f", {done / elapsed:.2f} tiles/s" if done and elapsed > 0 else "")


def _frame_pace(done: int, total: int | None, started: float) -> str:
    elapsed = time.monotonic() - started
    return f"{done}/{total} frames" + (f", {done / elapsed:.2f} fps" if done and elapsed > 0 else "")


def _byte_pace(done: int, total: int | None, started: float) -> str:
    elapsed = time.monotonic() - started
    of = f" of {format_bytes(total)}" if total else ""
    return f"{format_bytes(done)}{of}, {format_bytes(done / max(elapsed, 1e-3))}/s"


def format_bytes(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e6:.1f} MB"


def printable(text: str) -> str:
    """A text that can be printed: bytes of a file name that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
