"""Ctrl-C and SIGTERM: how a run stops."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rgt_cli.cli.console import Console


class Stop(threading.Event):
    """Set when the run should stop."""

    signum = signal.SIGINT
    """The signal that requested it."""

    @property
    def exit_code(self) -> int:
        """The exit code of a process that this signal ended."""
        return 128 + self.signum


def unwind_on_signals() -> None:
    """Let Ctrl-C and SIGTERM unwind the stack, so that no unfinished file is left."""
    signal.signal(signal.SIGTERM, _unwind)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _unwind)


def ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM, since the process is about to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _unwind(signum: int, frame: FrameType | None) -> NoReturn:
    ignore_signals()  # another one would interrupt the cleanup
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + signum)


@contextmanager
def graceful_shutdown(console: Console) -> Iterator[Stop]:
    """Let a first signal stop the run after the current image or segment, and a second one at once."""
    stop = Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            ignore_signals()  # another one would interrupt the cleanup
            raise KeyboardInterrupt
        stop.signum = signal.Signals(signum)
        stop.set()
        console.warn("stopping after the current image or segment; press Ctrl-C again to stop now")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
