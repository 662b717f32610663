"""The real `rgt` in a subprocess, and what it leaves in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RunRGT = Callable[..., subprocess.CompletedProcess[str]]
"""Runs `rgt` with arguments; keywords go to `subprocess.run`, `before` in front of the command."""

_DROP = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
UNPRIVILEGED = _DROP if os.geteuid() == 0 else ()
"""Put before a command so that even root respects file permissions."""
NEEDS_EXIFTOOL = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool, the independent reader, is not installed"
)


def command(*arguments: object) -> list[str]:
    """Return the command line of `rgt` with these arguments."""
    return [sys.executable, "-m", "rgt_cli", *map(str, arguments)]


def run_rgt(
    *arguments: object, before: tuple[str, ...] = (), **options: object
) -> subprocess.CompletedProcess[str]:
    """Run `rgt` as a person would."""
    merged: dict[str, object] = {"capture_output": True, "text": True, "timeout": 300} | options
    return subprocess.run([*before, *command(*arguments)], **merged)  # type: ignore[call-overload,no-any-return]


def start_rgt(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """Start `rgt` and return while it runs; its stderr is a pipe."""
    merged: dict[str, object] = {"stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command(*arguments), **merged)  # type: ignore[call-overload,no-any-return]


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 60
) -> None:
    """Wait until a condition holds, while a process runs.

    Raises:
        AssertionError: The process ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}
