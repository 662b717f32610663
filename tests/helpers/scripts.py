"""Programs that tests run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import DATA

SCRIPTS = DATA.parent / "scripts"
"""The folder of the programs."""


def run_script(name: str, *arguments: object) -> str:
    """Run a program and return what it prints.

    Raises:
        AssertionError: The program failed.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout
