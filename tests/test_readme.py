"""Every command and every line of Python that README shows under "Use" works as it stands there."""

import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rgt_cli.checkpoints.convert import write_slim
from rgt_cli.network import RGT
from tests.conftest import DATA, MICRO
from tests.helpers.hub import Hub
from tests.jobs.test_video import facts, lavfi

CATALOGUE = Path(__file__).parents[1] / "rgt_cli" / "checkpoints" / "catalogue.toml"
README = (Path(__file__).parents[1] / "README.md").read_text()
X4 = dataclasses.replace(MICRO, upscale=4)
USE, MODELS = (README.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in ("Use", "Models"))


def commands(section: str) -> list[list[str]]:
    """The arguments of each `rgt` command of a section."""
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1]
    return [line.split("#")[0].split()[1:] for line in block.splitlines()]


@pytest.fixture
def folder(small_png: Path, micro_checkpoint: Path) -> Path:
    """The files that README's examples name."""
    Image.open(small_png).save(small_png.with_suffix(".jpg"))
    torch.save(load_file(micro_checkpoint), small_png.with_name("RGT_S_x4.pth"))
    (small_png.parent / "photos" / "sub").mkdir(parents=True)
    Image.open(small_png).save(small_png.parent / "photos" / "sub" / "a.webp")
    lavfi("-c:v", "libx264", source="testsrc2=size=32x24:rate=5:duration=1")(
        small_png.with_name("film.mkv")
    )
    return small_png.parent


@pytest.mark.parametrize("arguments", commands(USE), ids=" ".join)
def test_use(rgt, folder: Path, arguments: list[str]) -> None:
    before = set(folder.rglob("*.*"))
    result = rgt(*arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    made = {p for p in folder.rglob("*.*") if p.is_file() and p.suffix != ".jsonl"} - before
    several = {"large": 2, "--preview": 3}
    expected = next((count for word, count in several.items() if word in arguments), 1)
    assert len(made) == (0 if arguments[0] == "bench" else expected)
    for path in made:
        if path.suffix == ".mkv":
            assert len(facts(path).times) == 5
            continue
        with Image.open(path) as large:
            assert large.width > 40


def test_evaluation(rgt, folder: Path) -> None:
    (folder / "Set5" / "HR").mkdir(parents=True)
    shutil.copy(DATA / "cat.png", folder / "whole.png")
    with Image.open(folder / "whole.png") as whole:
        whole.crop((120, 100, 216, 196)).save(folder / "Set5" / "HR" / "a.png")
    block = next(b for b in re.findall(r"```sh\n(.*?)```", MODELS, re.DOTALL) if "evaluate" in b)
    write_slim(RGT(X4).state_dict(), X4, folder / "x4.safetensors")
    torch.save(load_file(folder / "x4.safetensors"), folder / "RGT_S_x4.pth")
    for line in block.splitlines():
        result = rgt(*line.split("#")[0].split()[1:], cwd=folder)
        assert result.returncode == 0, result.stderr
        assert "Set5" in result.stdout


def test_models(rgt, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of README, so that what is fetched first is there later."""
    own, net = folder / "own.toml", folder / "net.safetensors"
    write_slim(RGT(X4).state_dict(), X4, net)
    content = net.read_bytes()
    with Hub() as hub:
        for name, facts in tomllib.loads(CATALOGUE.read_text()).items():
            if name not in ("rgt-x4", "realwebphoto-x4", "nomosuni-s-x4", "textures-s-x4"):
                continue
            facts = facts | {"file": "net.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
            hub.files[f"{facts['hub']}/net.safetensors"] = content
            known = (f"{k} = {v!r}" for k, v in facts.items() if k not in ("bytes", "url", "url_bytes"))
            own.open("a").write("\n".join([f"[{name}]", *known, ""]))
        monkeypatch.setenv("RGT_CATALOGUE", str(own))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(folder / "home"))
        shown = [rgt(*arguments, cwd=folder) for arguments in commands(MODELS)]
    for result in shown:
        assert result.returncode == 0, result.stderr
    assert "nomosuni-s-x4" in shown[0].stdout
    assert (folder / "in_x4.png").exists()
    assert (folder / "in_x4.jpg").exists()
    assert "CC-BY-4.0" in shown[-1].stdout


def test_python(folder: Path) -> None:
    code = re.search(r"```python\n(.*?)```", USE, re.DOTALL)[1]
    code += "assert large.size == (160, 120)\n"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_exit_codes_are_all_explained() -> None:
    from rgt_cli.errors import ExitCode

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", USE, re.MULTILINE)} == set(ExitCode)
