"""Every command and every line of Python that README shows under "Use" works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

README = (Path(__file__).parents[1] / "README.md").read_text()
USE = README.split("\n## Use\n")[1].split("\n## ")[0]
COMMANDS = [
    line.split("#")[0].split()[1:]
    for line in re.search(r"```sh\n(.*?)```", USE, re.DOTALL)[1].splitlines()
]


@pytest.fixture
def folder(small_png: Path, micro_checkpoint: Path) -> Path:
    """The files that README's examples name."""
    Image.open(small_png).save(small_png.with_suffix(".jpg"))
    torch.save(load_file(micro_checkpoint), small_png.with_name("RGT_S_x4.pth"))
    return small_png.parent


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands(rgt, folder: Path, arguments: list[str]) -> None:
    before = set(folder.iterdir())
    result = rgt(*arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    (made,) = set(folder.iterdir()) - before
    with Image.open(made) as large:
        assert large.width > 40


def test_python(folder: Path) -> None:
    code = re.search(r"```python\n(.*?)```", USE, re.DOTALL)[1]
    code += "assert large.size == (160, 120)\n"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_exit_codes_are_all_explained() -> None:
    from rgt_cli.errors import ExitCode

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", USE, re.MULTILINE)} == set(ExitCode)
