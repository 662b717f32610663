"""`rgt doctor` as a person runs it: on a healthy machine, and where much is broken at once."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import torch

from tests.helpers.process import UNPRIVILEGED, RunRGT
from tests.helpers.sandbox import NAME, SERVED, TOKEN, Result, Sandbox, read_only

GROUPS = ["system", "pytorch", "golden tile", "images", "videos", "models", "workers", "hub"]


def checks_of(result: Result) -> dict[str, dict[str, Any]]:
    """Return the checks in the JSON of `rgt doctor` by their names."""
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def add_program(folder: Path, name: str, script: str) -> dict[str, str]:
    """Write a shell script, and return an environment whose PATH has it first."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_healthy_machine(sandbox: Sandbox) -> None:
    # A GPU of this machine that PyTorch does not use would be a problem, unless it is hidden.
    environment = {"COLUMNS": "40", "HOME": str(sandbox.folder), "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"RAY_AUTH_TOKEN": TOKEN}
    result = sandbox.run("doctor", also=environment)
    assert result.returncode == 0, result.stdout
    screen, _, report = result.stdout.partition("For a bug report:")
    assert [line for line in screen.splitlines() if line and not line.startswith(" ")] == GROUPS
    assert "FAIL" not in screen
    for name in ("cpu fp32", "ffmpeg", "x264", "png,", "intact", "token"):
        assert name in screen
    for line in result.stdout.splitlines():
        assert len(line) <= 40 or "run: " in line or len(line.split()) == 1, line
    assert str(sandbox.folder) not in result.stdout
    assert sandbox.hub.url not in report
    assert sandbox.hub.requests
    assert not any(request.authorized for request in sandbox.hub.requests)


def test_what_is_broken_is_named_with_the_command_that_fixes_it(
    sandbox: Sandbox, published: bytes
) -> None:
    sandbox.hub.files[SERVED] = published
    sandbox.succeed("models", "download", NAME)
    (cached,) = sandbox.home.glob("assets/rgt/*/*.safetensors")
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    sandbox.hub.statuses, sandbox.hub.stuck = [(503, {})], True
    programs = add_program(sandbox.folder / "bin", "nvidia-smi", "echo NVIDIA Pretend 9, 550.54.15")
    broken = programs | {"IMAGEIO_FFMPEG_EXE": "/no/such/ffmpeg", "OMP_NUM_THREADS": "1"}
    with read_only(sandbox.home):
        result = sandbox.run("doctor", "--json", also=broken, before=UNPRIVILEGED)
    assert result.returncode == 1, result.stderr
    checks = checks_of(result)
    failed = {name for name, check in checks.items() if check["state"] == "fail"}
    assert {"ffmpeg", "cached", "cache folder", "hub"} <= failed
    assert json.loads(result.stdout)["failed"] == len(failed)
    assert checks["ffmpeg"]["command"] == "unset IMAGEIO_FFMPEG_EXE"
    assert checks["cache folder"]["command"] == "export HF_HOME=FOLDER"
    assert "503" in checks["hub"]["text"]
    assert checks["nvidia"]["facts"] == {"gpus": ["NVIDIA Pretend 9"], "driver": "550.54.15"}
    if torch.version.cuda is None:
        assert checks["nvidia"]["state"] == "fail"
        assert "--index-url https://download.pytorch.org/whl/cu" in checks["nvidia"]["command"]
    report = json.loads(result.stdout)["report"]
    assert "ffmpeg FAIL" in report
    for private in (TOKEN, str(sandbox.folder), sandbox.hub.url):
        assert private not in report
    sandbox.succeed(*shlex.split(checks["cached"]["command"])[1:])
    assert not cached.exists(), "the command fixes it"


def test_without_pytorch_ray_and_network(rgt: RunRGT, sandbox: Sandbox) -> None:
    """What depends on them is omitted, and all other checks are run."""
    modules = sandbox.folder / "modules"
    modules.mkdir()
    (modules / "torch.py").write_text("raise ImportError('libcudart.so: cannot open')")
    (modules / "ray.py").write_text("raise ImportError")
    environment = {"PYTHONPATH": str(modules), "HF_HUB_OFFLINE": "1"}
    result = sandbox.run("doctor", "--json", also=environment)
    assert result.returncode == 1, result.stderr
    checks = checks_of(result)
    assert [name for name, check in checks.items() if check["state"] == "fail"] == ["pytorch"]
    assert "libcudart.so: cannot open" in checks["pytorch"]["text"]
    assert checks["pytorch"]["command"].startswith("pip install")
    assert checks["ray"]["command"] == 'pip install "rgt-cli[cluster]"'
    assert checks["ray"]["state"] == checks["hub"]["state"] == "note"
    assert checks["bundled"]["state"] == checks["ffmpeg"]["state"] == "ok"
    assert not sandbox.hub.requests


def test_a_wrong_option_is_refused(rgt: RunRGT) -> None:
    assert rgt("doctor", "--gpu").returncode == 2
