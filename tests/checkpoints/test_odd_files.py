"""Files that are made to confuse are refused, with a reason and in little time, and run no code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from rgt_cli.checkpoints.load import load_network
from tests.helpers.odd_checkpoints import ODD_FILES, good, legacy, pth
from tests.helpers.process import run_rgt

SCRIPT = Path(__file__).parents[1] / "scripts" / "load_checkpoints.py"
SECONDS = 2.0
"""The most time that a file may take to be refused."""
SPARE = 256 << 20
"""The address space in bytes that is left for all of them."""


def test_odd_files_are_refused(tmp_path: Path) -> None:
    """All in one process, with a little memory: the reason of each is that of its own defect."""
    assert len(ODD_FILES) > 300
    files, started = tmp_path / "files", tmp_path / "started"
    files.mkdir()
    started.mkdir()
    for name, build in ODD_FILES.items():
        (files / name).write_bytes(build())
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(files), str(SPARE)],
        cwd=started,
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert list(started.iterdir()) == [], "no file ran code"
    refusals = json.loads(result.stdout)
    assert set(refusals) == set(ODD_FILES)
    wrong = {
        name: fault for name, found in refusals.items() if (fault := fault_of(files / name, *found))
    }
    assert wrong == {}


def fault_of(path: Path, seconds: float, kind: str, text: str) -> str | None:
    """Return what is wrong about how a file was refused. None if nothing is."""
    reason = text.removeprefix(f"{path}: ")
    if kind != "CheckpointError" or reason == text or "allocate" in reason:
        return f"{kind}: {text}"
    if not reason.isprintable() or not 10 < len(reason) < 700:
        return f"not a line to read: {text!r}"
    return f"{seconds} s" if seconds > SECONDS else None


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_the_good_file_is_loaded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"good.{suffix}"
    if suffix == "safetensors":
        save_file(good(), path)
    else:
        path.write_bytes((pth if suffix == "pth" else legacy)({"params": good()}))
    assert load_network(path).config.upscale == 2


@pytest.mark.parametrize("name", ["window minus infinite.pth", "quantized.pth", "escape sequences.pth"])
def test_the_command_exits_with_the_code_of_checkpoints(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ODD_FILES[name]())
    result = run_rgt("models", "info", name, cwd=tmp_path)
    assert result.returncode == 4
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"rgt: error: {name}: ")
    assert line.isprintable()
