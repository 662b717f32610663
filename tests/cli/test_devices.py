"""`rgt upscale` on several devices: real Ray on this machine."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from rgt_cli.jobs.journal import JOURNAL
from tests.helpers.process import RunRGT, command, names_in
from tests.helpers.report import read_events
from tests.helpers.videos import X264, ffmpeg, lavfi

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray, of the extra `cluster`, is not installed"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of ten images and a video."""
    folder = tmp_path / "in"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(10):
        pixels = noise.integers(0, 256, (24, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    lavfi(*X264, source="testsrc2=size=32x24:rate=10:duration=0.5")(folder / "clip.mp4")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the journal."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != JOURNAL}


@needs_ray
def test_two_workers_have_the_results_of_one_device(
    rgt: RunRGT, folder: Path, tmp_path: Path, micro_checkpoint: Path
) -> None:
    arguments = ("upscale", folder, "-m", micro_checkpoint, "--threads", "1")
    alone = rgt(*arguments, "-o", tmp_path / "alone", new=True)
    assert alone.returncode == 0, alone.stderr
    shared = rgt(*arguments, "-o", tmp_path / "shared", "--device", "cpu,cpu", "--json", new=True)
    assert shared.returncode == 0, shared.stderr
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    done = [event for event in read_events(shared.stdout) if event["event"] == "done"]
    assert len(done) == 11
    assert {event["worker"].split(" ", 1)[1] for event in done} <= {"cpu #1", "cpu #2"}
    assert 0 < read_events(shared.stdout)[-1]["device_busy"] <= 1
    again = rgt(*arguments, "-o", tmp_path / "shared", "--device", "cpu,cpu", new=True)
    assert again.returncode == 0
    assert "0 upscaled" in again.stderr


def start(
    folder: Path, out: Path, checkpoint: Path
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Return a run on two workers that has just written its first outputs, and its processes."""
    arguments = command("upscale", folder, "-m", checkpoint, "-o", out, "--device", "cpu,cpu")
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    while not (out.is_dir() and len(names_in(out)) > 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process, psutil.Process(process.pid).children(recursive=True)


def is_agent(process: psutil.Process) -> bool:
    """Return whether a process is one of Ray's agents, which do no work."""
    with suppress(psutil.NoSuchProcess):
        return "Agent" in process.name()
    return False


@needs_ray
@pytest.mark.parametrize(("presses", "kill"), [(1, False), (2, False), (0, True)])
def test_a_run_that_is_stopped(
    rgt: RunRGT, folder: Path, tmp_path: Path, micro_checkpoint: Path, presses: int, kill: bool
) -> None:
    """No process outlives it, nothing half is left, and the same command goes on."""
    out = tmp_path / "out"
    for number in range(10, 200):
        (folder / f"{number}.png").write_bytes((folder / "00.png").read_bytes())
    process, children = start(folder, out, micro_checkpoint)
    agents = [child for child in children if is_agent(child)]
    if kill:
        process.kill()
    for _ in range(presses):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.2)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if kill else 130), printed
    # Ray's agents notice that it was killed only after a while.
    working = [child for child in children if not (kill and child in agents)]
    _, alive = psutil.wait_procs(working, timeout=60)
    assert not alive
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out)
    assert result.returncode == 0, result.stderr
    assert names_in(out) == {f"{number:02}_x2.png" for number in range(200)} | {"clip_x2.mp4", JOURNAL}
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            image.load()


@needs_ray
def test_a_missing_input_fails_alone(rgt: RunRGT, folder: Path, micro_checkpoint: Path) -> None:
    names = ("00.png", "missing.png", "01.png")
    options = ("-m", micro_checkpoint, "-o", "out", "--device", "cpu,cpu")
    result = rgt("upscale", *names, *options, cwd=folder)
    assert result.returncode == 1
    assert "2 upscaled, 1 failed" in result.stderr
    assert "left out" not in result.stderr
    assert str(folder) not in result.stderr, "inputs are named as they were given"


def test_without_ray(rgt: RunRGT, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = rgt("upscale", folder, "-o", tmp_path / "out", "--device", "cpu,cpu", env=environment)
    assert result.returncode == 2
    assert 'pip install "rgt-cli[cluster]"' in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--device", "cpu,mps"), "'mps'"), (("--device", "cuda:0,cuda:0"), "twice"),
     (("--workers", "2"), "--cluster"), (("--device", "cpu", "--cluster", "auto"), "exclude")],
)  # fmt: skip
def test_misuse(rgt: RunRGT, folder: Path, options: tuple[str, ...], reason: str) -> None:
    result = rgt("upscale", folder, *options)
    assert result.returncode == 2
    assert reason in result.stderr


@needs_ray
def test_ray_listens_on_this_machine_alone(folder: Path, tmp_path: Path, micro_checkpoint: Path) -> None:
    process, children = start(folder, tmp_path / "out", micro_checkpoint)
    ports = []
    for child in children:
        with suppress(psutil.NoSuchProcess):
            connections = child.net_connections()
            ports += [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]
    assert ports
    assert set(ports) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    process.communicate(timeout=60)
    assert process.returncode == 0


@needs_ray
def test_workers_share_a_video(rgt: RunRGT, tmp_path: Path, micro_checkpoint: Path) -> None:
    """Its segments are computed by both, and the output is that of one device."""
    source = tmp_path / "clip.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=32x24:rate=10:duration=4", "-f", "lavfi", "-i",
        "sine=duration=4", *X264, "-g", "15", "-c:a", "aac", source,
    )  # fmt: skip
    arguments = ("upscale", source, "-m", micro_checkpoint, "--threads", "1", "--segment-seconds", "0.5")
    alone = rgt(*arguments, "-o", tmp_path / "alone.mp4")
    assert alone.returncode == 0, alone.stderr
    shared = rgt(*arguments, "-o", tmp_path / "shared.mp4", "--device", "cpu,cpu", "--json", new=True)
    assert shared.returncode == 0, shared.stderr
    assert (tmp_path / "shared.mp4").read_bytes() == (tmp_path / "alone.mp4").read_bytes()
    (done,) = (event for event in read_events(shared.stdout) if event["event"] == "done")
    assert done["frames"] == 40
    assert done["worker"].count("#") == 2
    assert names_in(tmp_path) == {"clip.mp4", "alone.mp4", "shared.mp4", micro_checkpoint.name}
