"""Input files, models and a fast `rgt` for the commands in README and in the manual."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rgt_cli.checkpoints.convert import write_slim
from tests.helpers import DATA
from tests.helpers.docs import ROOT
from tests.helpers.hub import Hub
from tests.helpers.networks import MICRO, random_rgt
from tests.helpers.process import forked_command
from tests.helpers.shell import ENVIRONMENT, Shell
from tests.helpers.videos import lavfi

_CATALOGUE = ROOT / "rgt_cli" / "checkpoints" / "catalogue.toml"
_SOURCES = ("bundled", "hub", "file", "revision", "url", "sha256", "bytes", "url_sha256", "url_bytes")
"""The keys of a catalogue entry that describe where its file is."""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every input file that the documents name."""
    folder = tmp_path_factory.mktemp("template")
    with Image.open(DATA / "cat.png") as opened:
        photo = opened.crop((150, 100, 190, 130))
        truth = opened.crop((120, 100, 216, 196))
    for name in ("photo.png", "photo.jpg", "photos/portrait.jpg", "photos/2024/cat.webp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(folder / name)
    transparent = np.dstack([np.asarray(photo), np.arange(30 * 40, dtype=np.uint8).reshape(30, 40)])
    Image.fromarray(transparent).save(folder / "logo.png")
    (folder / "Set5" / "HR").mkdir(parents=True)
    truth.save(folder / "Set5" / "HR" / "cat.png")
    lavfi("-c:v", "libx264", source="testsrc2=size=32x24:rate=4:duration=2")(folder / "clip.mkv")
    (folder / "renders").mkdir()
    for number in (1, 2, 3):
        photo.save(folder / "renders" / f"{number:06}.png")
    (folder / "rgt.toml").write_text("[profile.clips]\ncrf = 18\n")
    write_network(4, folder / "x4.safetensors")
    torch.save(load_file(folder / "x4.safetensors"), folder / "RGT_S_x4.pth")
    (folder / "x4.safetensors").unlink()
    return folder


def write_network(scale: int, path: Path) -> None:
    """Write a checkpoint that computes in no time."""
    network = random_rgt(dataclasses.replace(MICRO, upscale=scale))
    write_slim(network.state_dict(), network.config, path)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which every model that is not bundled comes from a Hub on loopback."""
    folder = tmp_path_factory.mktemp("models")
    contents = {}
    for scale in (2, 3, 4):
        write_network(scale, folder / f"x{scale}.safetensors")
        contents[scale] = (folder / f"x{scale}.safetensors").read_bytes()
    tables = []
    with Hub() as hub:
        for name, facts in tomllib.loads(_CATALOGUE.read_text()).items():
            if "bundled" in facts:
                continue
            content = contents[facts["scale"]]
            hub.files[f"test/{name}/net.safetensors"] = content
            entry = {key: value for key, value in facts.items() if key not in _SOURCES}
            entry |= {"hub": f"test/{name}", "file": "net.safetensors"}
            entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
            tables.append("\n".join([f"[{name}]", *lines, ""]))
        (folder / "catalogue.toml").write_text("\n".join(tables))
        yield {"RGT_CATALOGUE": str(folder / "catalogue.toml"), "HF_ENDPOINT": hub.url}


@pytest.fixture(scope="session")
def rgt_on_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program `rgt` that need not import PyTorch each time."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "rgt"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(forked_command())} "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of the input files."""
    return shutil.copytree(template, tmp_path / "work")


@pytest.fixture
def shell(models: dict[str, str], rgt_on_path: Path, template: Path, tmp_path: Path) -> Shell:
    """Run shell commands. The model cache is the same for all commands of one test."""
    environment = os.environ | ENVIRONMENT | models | {"HF_HOME": str(tmp_path / "home")}
    environment["XDG_DATA_HOME"] = str(tmp_path / "data")
    environment["PATH"] = f"{rgt_on_path}:{os.environ['PATH']}"
    return Shell(template, tmp_path, environment)
