"""`rgt upscale` on several devices and on a cluster: real Ray on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from rgt_cli.jobs.journal import JOURNAL
from tests.helpers.process import RunRGT, command, names_in, wait_until
from tests.helpers.report import read_events
from tests.helpers.terminal import on_terminal
from tests.helpers.videos import X264, ffmpeg, lavfi

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray, of the extra `cluster`, is not installed"
)
MARK = "RGT_TEST_MARK"
"""A variable by whose value all processes of a run are found, whoever their parents are."""


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
    alone = rgt(*arguments, "-o", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    shared = rgt(*arguments, "-o", tmp_path / "shared", "--device", "cpu,cpu", "--json")
    assert shared.returncode == 0, shared.stderr
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    done = [event for event in read_events(shared.stdout) if event["event"] == "done"]
    assert len(done) == 11
    assert {event["worker"].split(" ", 1)[1] for event in done} <= {"cpu #1", "cpu #2"}
    assert 0 < read_events(shared.stdout)[-1]["device_busy"] <= 1
    again = rgt(*arguments, "-o", tmp_path / "shared", "--device", "cpu,cpu")
    assert again.returncode == 0
    assert "0 upscaled" in again.stderr


def processes_of(mark: str) -> Iterator[psutil.Process]:
    """Yield the processes whose environment has a mark."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def command_line(process: psutil.Process) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def start(folder: Path, out: Path, checkpoint: Path) -> tuple[subprocess.Popen[str], str]:
    """Return a run on two workers that has just written its first outputs, and its mark."""
    mark = uuid.uuid4().hex
    arguments = command("upscale", folder, "-m", checkpoint, "-o", out, "--device", "cpu,cpu")
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {MARK: mark},
    )  # fmt: skip
    wait_until(lambda: out.is_dir() and len(names_in(out)) > 2, process)
    return process, mark


def check_security(processes: list[psutil.Process]) -> None:
    """Check that Ray serves this machine alone, asks for a token, and reports nothing to its authors."""
    connections = list[Any]()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # Ray ends some of its processes after the start
            connections += process.net_connections()
    listening = [one.laddr for one in connections if one.status == psutil.CONN_LISTEN]
    assert listening
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    (raylet,) = (process for process in processes if "/raylet " in command_line(process))
    assert raylet.environ()["RAY_AUTH_MODE"] == "token"
    assert raylet.environ()["RAY_USAGE_STATS_ENABLED"] == "0"
    assert not any("dashboard-port" in command_line(process) for process in processes)


@needs_ray
@pytest.mark.parametrize(("presses", "kill"), [(1, False), (2, False), (0, True)])
def test_a_run_that_is_stopped(
    rgt: RunRGT, folder: Path, tmp_path: Path, micro_checkpoint: Path, presses: int, kill: bool
) -> None:
    """No process and no file outlives it, no partial output is left, and the same command resumes."""
    out = tmp_path / "out"
    for number in range(10, 200):
        (folder / f"{number}.png").write_bytes((folder / "00.png").read_bytes())
    process, mark = start(folder, out, micro_checkpoint)
    running = list(processes_of(mark))
    temporary = {Path(path).parent for one in running for path in re.findall(
        r"/\S*rgt-ray-\w+/session_\w+", command_line(one))}  # fmt: skip
    assert temporary
    if kill:
        process.kill()
    else:
        check_security(running)
    for _ in range(presses):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.2)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if kill else 130), printed
    deadline = time.monotonic() + 60
    while left := list(processes_of(mark)):
        # After a kill, nobody waits for Ray, which notices it by itself.
        assert kill, left
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert kill or not any(path.exists() for path in temporary)
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out)
    assert result.returncode == 0, result.stderr
    assert names_in(out) == {f"{number:02}_x2.png" for number in range(200)} | {"clip_x2.mp4", JOURNAL}
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            image.load()


@needs_ray
def test_progress(cluster: Any, folder: Path, micro_checkpoint: Path) -> None:
    """A terminal shows a line for each worker, and the images per second of all.

    An input that is missing fails alone, and inputs are named as they were given.
    """
    for number in range(10):  # large enough to be seen in hand
        with Image.open(folder / f"{number:02}.png") as image:
            image.resize((220, 176)).save(image.filename)
    names = ("missing.png", *sorted(names_in(folder)))
    options = ("-m", micro_checkpoint, "-o", "out", "--fit", "440x440", "--workers", "2")
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    with on_terminal(command("upscale", *names, *options), folder, environment) as terminal:
        shown = terminal.wait_for("11 upscaled, 1 failed", 120)
    assert re.search(r"cpu #1 .* busy \d+%, .*\d\d.png", shown)
    assert re.search(r"cpu #2 .* busy \d+%, ", shown)
    assert re.search(r"files .* \d+/12, [\d.]+ (images/s|fps)", shown)
    assert "left out" not in shown
    assert str(folder) not in shown


@needs_ray
def test_workers_share_a_video(
    cluster: Any, rgt: RunRGT, tmp_path: Path, micro_checkpoint: Path
) -> None:
    """Its segments are computed by both, and the output is that of one device."""
    source = tmp_path / "clip.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=32x24:rate=10:duration=4", "-f", "lavfi", "-i",
        "sine=duration=4", *X264, "-g", "15", "-c:a", "aac", source,
    )  # fmt: skip
    arguments = ("upscale", source, "-m", micro_checkpoint, "--threads", "1", "--segment-seconds", "0.5")
    alone = rgt(*arguments, "-o", tmp_path / "alone.mp4")
    assert alone.returncode == 0, alone.stderr
    on = ("--cluster", cluster.address, "--workers", "2")
    shared = rgt(*arguments, *on, "-o", tmp_path / "shared.mp4", "--json")
    assert shared.returncode == 0, shared.stderr
    assert (tmp_path / "shared.mp4").read_bytes() == (tmp_path / "alone.mp4").read_bytes()
    (done,) = (event for event in read_events(shared.stdout) if event["event"] == "done")
    assert done["frames"] == 40
    assert done["worker"].count("#") == 2
    assert names_in(tmp_path) == {"clip.mp4", "alone.mp4", "shared.mp4", micro_checkpoint.name}


@needs_ray
def test_dry_run(cluster: Any, rgt: RunRGT, folder: Path, micro_checkpoint: Path) -> None:
    """It reports the workers, what they are given, and the time of all; it writes nothing."""
    on = ("--cluster", cluster.address, "--workers", "2", "--segment-seconds", "0.1")
    result = rgt("upscale", ".", "-m", micro_checkpoint, *on, "--dry-run", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "images in groups of about 1 s and 1 video in 5 segments of 0.1 s" in result.stderr
    assert re.search(r"11 to upscale on 2 workers in (about|less than) ", result.stderr)
    *planned, workers, _ = read_events(result.stdout)
    assert [event["segments"] for event in planned[1:]] == [None] * 10 + [5]
    assert [name.split(" ", 1)[1] for name in workers["workers"]] == ["cpu #1", "cpu #2"]
    assert all(speed > 0 for speed in workers["workers"].values())
    on_one = sum(event["seconds"] for event in planned[1:])
    assert workers["seconds"] == pytest.approx(on_one / 2, abs=0.1)
    assert names_in(folder.parent) == {"in", micro_checkpoint.name}


@needs_ray
def test_no_worker_is_left(cluster: Any, rgt: RunRGT, folder: Path, micro_checkpoint: Path) -> None:
    """The run reports what is missing, and the same command resumes."""
    from tests.helpers.clusters import workers_on_this_machine

    for number in range(10, 200):
        (folder / f"{number}.png").write_bytes((folder / "00.png").read_bytes())
    out = folder.parent / "out"
    arguments = ("upscale", folder, "-m", micro_checkpoint, "-o", out, "--workers", "2")
    line = command(*arguments, "--cluster", cluster.address)
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: out.is_dir() and len(names_in(out)) > 2, process)
    hidden = micro_checkpoint.rename(micro_checkpoint.with_suffix(".hidden"))
    for worker in workers_on_this_machine():
        worker.kill()
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    assert "rgt: error: no worker is left" in printed
    assert printed.count("is not replaced") == 2
    (left,) = map(int, re.findall(r"^rgt: (\d+) left; to resume", printed, re.MULTILINE))
    hidden.rename(micro_checkpoint)
    again = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out)
    assert again.returncode == 0, again.stderr
    (upscaled,) = map(int, re.findall(r"(\d+) upscaled", again.stderr))
    assert 0 < upscaled <= left
    assert len(names_in(out)) == 202


def test_without_ray(rgt: RunRGT, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = rgt("upscale", folder, "-o", tmp_path / "out", "--device", "cpu,cpu", env=environment)
    assert result.returncode == 2
    assert 'pip install "rgt-cli[cluster]"' in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--device", "cpu,mps"), "'mps'"), (("--device", "cuda:0,cuda:0"), "twice"),
     (("--workers", "2"), "--cluster"), (("--device", "cpu", "--cluster", "auto"), "together")],
)  # fmt: skip
def test_misuse(rgt: RunRGT, folder: Path, options: tuple[str, ...], reason: str) -> None:
    result = rgt("upscale", folder, *options)
    assert result.returncode == 2
    assert reason in result.stderr


@needs_ray
@pytest.mark.parametrize(
    ("address", "reason"), [("127.0.0.1:1", "no Ray cluster at"), ("ray://host:1", "HOST:PORT")]
)
def test_no_cluster_at_an_address(
    rgt: RunRGT, folder: Path, micro_checkpoint: Path, address: str, reason: str
) -> None:
    """It is refused at once; a device of this machine that is given overrules the variable."""
    environment = os.environ | {"RAY_ADDRESS": address}
    arguments = ("upscale", folder / "00.png", "-m", micro_checkpoint)
    result = rgt(*arguments, env=environment)
    assert result.returncode == 2
    assert reason in result.stderr
    assert rgt(*arguments, "--device", "cpu", env=environment).returncode == 0
