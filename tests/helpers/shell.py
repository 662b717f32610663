"""Shell commands as the documents show them, each in a new folder with the files that it needs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
"""Variables for every process. On a busy machine, threads would wait for each other: inputs are tiny."""


@dataclass(frozen=True)
class Finished:
    """A shell command that succeeded."""

    stdout: str
    folder: Path
    """The folder in which it ran."""
    written: set[str]
    """The files in `folder` that it created."""


@dataclass(frozen=True)
class Shell:
    """A shell with `rgt` on its PATH."""

    template: Path
    """The files that each command finds in its folder."""
    scratch: Path
    """The parent of these folders."""
    environment: dict[str, str]

    def __call__(self, command: str) -> Finished:
        """Run a command in a new copy of the template.

        Raises:
            AssertionError: The command failed.
        """
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        shutil.copytree(self.template, folder, dirs_exist_ok=True)
        before = _visible_files(folder)
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        return Finished(result.stdout, folder, _visible_files(folder) - before)


def _visible_files(folder: Path) -> set[str]:
    """Return the relative paths of all files that are not hidden."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {path.as_posix() for path in paths if not path.name.startswith(".")}
