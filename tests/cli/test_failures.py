"""What nobody foresaw: a defect fails one input, and a GPU that fails ends the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from rgt_cli.cli.console import Console
from rgt_cli.cli.main import cli
from rgt_cli.errors import ExitCode
from rgt_cli.jobs.journal import JOURNAL
from rgt_cli.network import RGT
from tests.helpers.process import RunRGT, names_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of five images of different sizes, so that none shares the device with another one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        Image.new("RGB", (20 + number, 16), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


def fail_at(width: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network fail for the image of this width."""
    forward = RGT.forward

    def failing(self: RGT, x: torch.Tensor) -> Any:
        if x.shape[-1] == width:
            raise error
        return forward(self, x)

    monkeypatch.setattr(RGT, "forward", failing)


def upscale(folder: Path, checkpoint: Path, *options: str) -> Result:
    arguments = [
        "upscale",
        str(folder),
        "-m",
        str(checkpoint),
        "-o",
        str(folder.parent / "out"),
        *options,
    ]
    return CliRunner().invoke(cli, arguments, obj=Console(), standalone_mode=False)


def test_a_gpu_that_fails(folder: Path, micro_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fail_at(22, RuntimeError("CUDA error: unspecified launch failure\n..."), patch)
        result = upscale(folder, micro_checkpoint)
    assert result.return_value == ExitCode.DEVICE, result.exception
    assert "the device failed: CUDA error: unspecified launch failure" in result.stderr
    assert "2 left; to resume, repeat the command" in result.stderr
    out = folder.parent / "out"
    assert names_in(out) == {"0_x2.png", "1_x2.png", JOURNAL}
    again = upscale(folder, micro_checkpoint)
    assert again.return_value == ExitCode.DONE, again.exception
    assert "3 upscaled" in again.stderr
    assert len(names_in(out)) == 6


@pytest.mark.parametrize("options", [(), ("--debug",)])
def test_a_defect(
    folder: Path, micro_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    fail_at(22, KeyError("a surprise"), monkeypatch)
    result = upscale(folder, micro_checkpoint, *options)
    assert result.return_value == ExitCode.SOME_FAILED, result.exception
    assert "4 upscaled, 1 failed" in result.stderr
    assert "unexpected KeyError" in result.stderr
    assert ("Traceback" in result.stderr) is bool(options)


def test_a_path_that_is_too_long(rgt: RunRGT, folder: Path) -> None:
    result = rgt("upscale", folder / "0.png", "-o", f"{'x' * 300}.png")
    assert result.returncode == ExitCode.BAD_USAGE
    assert result.stderr.endswith("the path is too long for this system\n")
