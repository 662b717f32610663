"""The checks of `rgt doctor` one by one, with what can go wrong made for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from rgt_cli.doctor import devices, examine, files, services
from rgt_cli.doctor.check import Check, State
from rgt_cli.inference import device, hardware
from rgt_cli.inference.hardware import nvidia_gpus
from rgt_cli.network import RGTConfig, kernels
from tests.helpers.gpu import SimulatedGPU
from tests.helpers.hub import Hub
from tests.helpers.networks import Overflowing, random_rgt
from tests.helpers.sandbox import small_disk

SMALL = RGTConfig(
    upscale=2, embed_dim=32, depth=(2,), num_heads=(2,), split_size=(4, 8), upsampler="direct"
)
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget the GPUs that were found before and after a test, and compute on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    nvidia_gpus.cache_clear()
    yield
    nvidia_gpus.cache_clear()
    torch.set_num_threads(threads)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that PATH consists of."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder / "nvidia-smi"


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "text",
    ["cannot read '/home/jane/models/a.pth'", "~/rgt/x: damaged", r"C:\Users\jane\x is missing",
     "(/srv/jane doe/x)", "in /Users/jane/x, 5 GB free"],
)  # fmt: skip
def test_reports_have_no_paths(text: str) -> None:
    assert "jane" not in Check(name="x", text=text).public_text.replace("jane doe", "")
    assert "PATH" in Check(name="x", text=text).public_text


def test_reports_keep_addresses_and_fractions() -> None:
    text = "https://huggingface.co/a/b answers, 1/2 of a/b, Debian GNU/Linux, /tmp"
    assert Check(name="x", text=text).public_text == text


def test_gpus_are_found_by_the_program_of_the_driver(smi: Path, tmp_path: Path) -> None:
    write_program(smi, "echo 'NVIDIA A, B, 550.54'; echo 'NVIDIA C, 550.54'")
    found = nvidia_gpus(tmp_path, tmp_path)
    assert found.names == ("NVIDIA A, B", "NVIDIA C")
    assert found.driver == "550.54"


@pytest.mark.parametrize("script", ["echo no devices were found", "exit 9", "exec sleep 60"])
def test_gpus_are_found_without_a_program_that_works(
    smi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(hardware, "_PATIENCE", 0.2)
    write_program(smi, script)
    assert nvidia_gpus(tmp_path / "proc", tmp_path / "dev").names == ()
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    nvidia_gpus.cache_clear()
    assert nvidia_gpus(tmp_path / "proc", tmp_path / "dev").names == ("NVIDIA GPU",) * 2
    gpu = tmp_path / "proc" / "gpus" / "0000:01:00.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text("Model: \t\t NVIDIA H200\nIRQ:   1\n")
    (tmp_path / "proc" / "version").write_text(VERSION)
    nvidia_gpus.cache_clear()
    found = nvidia_gpus(tmp_path / "proc", tmp_path / "dev")
    assert (found.names, found.driver) == (("NVIDIA H200",), "550.54.15")


@pytest.mark.parametrize(
    ("cuda", "visible", "state", "words"),
    [(None, None, State.FAIL, "without CUDA"), ("12.6", None, State.FAIL, "not usable with CUDA 12.6"),
     ("12.6", "", State.NOTE, "CUDA_VISIBLE_DEVICES")],
)  # fmt: skip
def test_a_gpu_that_pytorch_does_not_use(
    smi: Path, monkeypatch: pytest.MonkeyPatch, cuda: str, visible: str, state: State, words: str
) -> None:
    write_program(smi, "echo NVIDIA A, 470.10")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check = next(check for check in devices.check_pytorch() if check.name == "nvidia")
    assert check.state is state
    assert words in check.text
    assert ("cu126" in check.command) == (state is State.FAIL)


def test_a_precision_that_computes_incorrectly_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention without its mask, and an overflow, in the place of a device."""
    attend, network = kernels.attend, random_rgt(SMALL)

    def without_mask(*arguments: object) -> torch.Tensor:
        q, k, v, _, scale = arguments
        is_half = q.dtype == torch.float16  # type: ignore[attr-defined]
        return attend(q, k, v, None if is_half else arguments[3], scale)  # type: ignore[arg-type]

    monkeypatch.setattr("rgt_cli.inference.selfcheck.attend", without_mask)
    monkeypatch.setattr("rgt_cli.checkpoints.load.load_network", lambda path: network)
    monkeypatch.setattr(device, "is_emulated", lambda dtype, device: dtype == torch.bfloat16)
    checks = {check.name: check for check in devices.check_golden_tiles()}
    assert checks["cpu fp32"].state is State.OK
    assert checks["cpu fp32"].text.startswith("exact")
    assert checks["cpu fp16"].state is State.FAIL
    assert "attention" in checks["cpu fp16"].text
    assert checks["cpu bf16"].state is State.NOTE
    monkeypatch.setattr("rgt_cli.checkpoints.load.load_network", lambda path: Overflowing())
    checks = {check.name: check for check in devices.check_golden_tiles()}
    assert "not finite" in checks["cpu fp16"].text


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_every_gpu_is_checked_in_every_precision(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("rgt_cli.checkpoints.load.load_network", lambda path: random_rgt(SMALL))
    with SimulatedGPU(kind, monkeypatch):
        found = {check.name: check for check in devices.check_pytorch()}
        tiles = {check.name: check for check in devices.check_golden_tiles()}
    for number in (0, 1):
        assert found[f"{kind}:{number}"].text == "Simulated, 9.7 GB free"
        for precision in ("fp32", "fp16", "bf16"):
            assert tiles[f"{kind}:{number} {precision}"].state is State.OK
    assert tiles["cpu fp32"].state is State.OK
    assert list(found)[-1] == "cpu"


def test_a_format_that_does_not_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: object, file: object, name: str) -> None:
        raise OSError("encoder error\nmore")

    Image.init()  # which fills the table that is changed here
    monkeypatch.setitem(Image.SAVE, "WEBP", fail)
    monkeypatch.setattr(files, "is_installed", lambda each: each.plugin is None)
    checks = {check.name: check for check in files.check_formats()}
    assert "webp" not in checks["formats"].text
    assert checks["webp"].state is State.FAIL
    assert checks["webp"].command == "pip install --force-reinstall pillow"
    assert checks["extra formats"].state is State.NOTE
    assert checks["extra formats"].facts["missing"] == ["heif", "jxl"]


def test_an_ffmpeg_without_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    script = 'case "$*" in *-version) echo ffmpeg version 5.1;; *) echo " V....D libx265 x";; esac'
    write_program(program, script)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    checks = {check.name: check for check in files.check_ffmpeg()}
    assert checks["ffmpeg"].text == "5.1, from IMAGEIO_FFMPEG_EXE"
    assert checks["encoders"].state is State.FAIL
    assert "x264" in checks["encoders"].facts["missing"]  # type: ignore[operator]
    assert checks["nvenc"].text == "not usable: not in this ffmpeg"
    write_program(program, "echo broken >&2; exit 3")
    (check,) = files.check_ffmpeg()
    assert check.state is State.FAIL
    assert "broken" in check.text


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", 1 << 20):
        monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "disk" / "assets"))
        checks = {check.name: check for check in files.check_models()}
    assert checks["cache folder"].state is State.FAIL
    assert "less than 1" in checks["cache folder"].text
    assert checks["cache folder"].command == "export HF_HOME=FOLDER"
    assert checks["temporary"].state is State.OK


@pytest.mark.parametrize(
    ("silent", "closed", "words"), [(True, False, "no data"), (False, True, "cannot connect")]
)
def test_a_hub_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, silent: bool, closed: bool, words: str
) -> None:
    monkeypatch.setattr(services, "PATIENCE", 0.3)
    with Hub(silent=silent) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9" if closed else hub.url)
        check = next(services.HubRequest().check())
    assert check.state is State.FAIL
    assert words in check.text
    assert "127.0.0.1" not in check.public_text


def test_a_check_that_raises_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Check]:
        raise ValueError("a surprise")

    def nothing() -> Iterator[Check]:
        return iter(())

    for name in ("check_pytorch", "check_golden_tiles", "check_ffmpeg", "check_models", "check_ray"):
        monkeypatch.setattr(f"rgt_cli.doctor.examination.{name}", nothing)
    monkeypatch.setattr("rgt_cli.doctor.examination.check_formats", broken)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    *_, (_, _, examination) = examine()
    assert examination.failed == 1
    assert examination.groups["images"][0].text == "unexpected ValueError: a surprise"
    assert list(examination.groups) == ["system", "images", "hub"]
