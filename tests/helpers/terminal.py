"""A shell on a terminal, as a person uses it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\r\x07]|[^\x08]\x08")
"""Sequences that control a terminal, and characters that others replace."""


class Terminal:
    """A program on a pseudoterminal.

    Args:
        descriptor: The end of the pseudoterminal at which a person sits.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""

    def type(self, text: str) -> None:
        """Type text."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, pattern: str, seconds: float = 30) -> str:
        """Return what the program prints up to a match of a regular expression.

        Raises:
            AssertionError: It does not appear in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            plain = _UNSEEN.sub("", self._unread.decode(errors="replace"))
            if found := re.search(pattern, plain):
                self._unread = b""
                return plain[: found.end()]
            assert time.monotonic() < deadline, plain
            if select.select([self._descriptor], [], [], 0.1)[0]:
                self._unread += os.read(self._descriptor, 1 << 16)


@contextmanager
def on_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """Run a program on a pseudoterminal of 100 columns, and end it after the block."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=child, stdout=child, stderr=child,
        cwd=folder,
        env=environment | {"TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(child)
        try:
            yield Terminal(parent)
        finally:
            process.kill()
            os.close(parent)
