"""The real `rgt` in a subprocess, and what it leaves in a folder."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RunRGT = Callable[..., subprocess.CompletedProcess[str]]
"""Runs `rgt` with arguments and keywords, as `run_rgt` does."""
_SERVER = Path(__file__).parents[1] / "scripts" / "serve_rgt.py"

_DROP = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
UNPRIVILEGED = _DROP if os.geteuid() == 0 else ()
"""Put before a command so that even root respects file permissions."""
NEEDS_EXIFTOOL = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool, the independent reader, is not installed"
)
NEEDS_MKVMERGE = pytest.mark.skipif(
    shutil.which("mkvmerge") is None, reason="mkvmerge, of the package mkvtoolnix, is not installed"
)


def command(*arguments: object) -> list[str]:
    """Return the command line of `rgt` with these arguments."""
    return [sys.executable, "-m", "rgt_cli", *map(str, arguments)]


@functools.cache
def _server() -> tuple[Path, subprocess.Popen[bytes]]:
    """Start the server of `serve_rgt.py`, which ends with this process, and return its folder."""
    folder = Path(tempfile.mkdtemp(prefix="serve-rgt-"))
    server = subprocess.Popen(
        [sys.executable, str(_SERVER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_SERVER.parent,
        env=os.environ | {"PYTHONPATH": str(_SERVER.parents[2])},
    )
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"
    return folder, server


def forked_command(*arguments: object) -> list[str]:
    """Return a command line that runs `rgt` in a fork of a process that has imported PyTorch."""
    folder, _ = _server()
    return [sys.executable, "-IS", str(_SERVER), str(folder), "run", *map(str, arguments)]


def run_rgt(
    *arguments: object, before: tuple[str, ...] = (), new: bool = False, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run `rgt` as a person would, in its own process.

    A fork of a process that has imported PyTorch saves a second, and is everything but new: where the
    start of Python matters, as with `before` or PYTHONPATH, Python is started.

    Args:
        arguments: As on the command line.
        before: Words in front of the command.
        new: Start Python in any case.
        options: As for `subprocess.run`.
    """
    merged: dict[str, object] = {"capture_output": True, "text": True, "timeout": 300} | options
    environment = merged.get("env")
    if before or new or (isinstance(environment, dict) and "PYTHONPATH" in environment):
        line = [*before, *command(*arguments)]
    else:
        line = forked_command(*arguments)
    return subprocess.run(line, **merged)  # type: ignore[call-overload,no-any-return]


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
