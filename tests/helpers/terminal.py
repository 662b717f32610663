"""`rgt` in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import Any

from tests.helpers.process import command

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def run_in_terminal(*arguments: object, columns: int = 120, **options: Any) -> tuple[int, str]:
    """Run `rgt` in a terminal.

    Args:
        arguments: As on the command line.
        columns: The width of the terminal.
        options: As for `subprocess.Popen`.

    Returns:
        The exit code, and all that was shown, without colors and movements.
    """
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = subprocess.Popen(
        command(*arguments), stdin=secondary, stdout=secondary, stderr=secondary,
        **{**options, "env": options.get("env", os.environ) | {"TERM": "xterm-256color"}},
    )  # fmt: skip
    os.close(secondary)
    shown = bytearray()
    try:
        while part := os.read(primary, 1 << 16):
            shown += part
    except OSError:  # Linux reports in this way that the terminal was closed
        pass
    os.close(primary)
    return process.wait(60), _CONTROL.sub("", shown.decode().replace("\r", "\n"))
