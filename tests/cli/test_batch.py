"""`rgt upscale` over many files: real processes, killed for real."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgt_cli.jobs.journal import JOURNAL
from tests.conftest import UNPRIVILEGED, RunRGT

KILLS = int(os.environ.get("RGT_TEST_KILLS", "2"))
"""How often the run is killed; more are worth the time after a change of the journal."""


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Callable[[int], Path]:
    """Make a folder of so many small pictures, some in a folder of their own."""

    def make(count: int, size: int = 20) -> Path:
        folder = tmp_path / "photos"
        (folder / "sub").mkdir(parents=True)
        for i in range(count):
            piece = photo[3 * i : 3 * i + size, 5 * i : 5 * i + size]
            name = f"sub/{i:02}.png" if i % 3 == 0 else f"{i:02}.jpg"
            Image.fromarray(piece).save(folder / name)
        return folder

    return make


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the journal."""
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != JOURNAL
    }


def begun(arguments: list[str], out: Path, targets: int = 1) -> subprocess.Popen[str]:
    """A run that has just put its first targets into `out`."""
    command = [sys.executable, "-m", "rgt_cli", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("*.jpg"))) < targets:
        time.sleep(0.01)
        assert process.poll() is None
    return process


def test_folder(rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder = photos(9)
    (folder / "note.txt").write_text("no picture")
    (folder / "bad.png").write_text("no picture either")
    command = ("upscale", folder, "-r", "-m", micro_checkpoint, "--report", tmp_path / "run.json")
    result = rgt(*command, "--json")
    assert result.returncode == 1, result.stderr
    assert "8 done" not in result.stderr
    assert "9 done, 1 failed; left out: 1 no picture by their names" in result.stderr
    assert "not a picture" in result.stderr
    made = content(tmp_path / "photos_upscaled")
    assert set(made) == {f"sub/{i:02}_x2.png" for i in (0, 3, 6)} | {
        f"{i:02}_x2.jpg" for i in range(9) if i % 3
    }
    for name in made:
        with Image.open(tmp_path / "photos_upscaled" / name) as large:
            assert large.size == (40, 40)

    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events].count("done") == 9
    assert (events[0]["event"], events[-1]["event"]) == ("start", "end")
    report = json.loads((tmp_path / "run.json").read_text())
    assert (report["done"], report["failed"], report["planned"]) == (9, 1, 10)
    failed = [picture for picture in report["pictures"] if picture["error"]]
    assert [Path(picture["source"]).name for picture in failed] == ["bad.png"]
    assert report["pictures"][-1]["target_size"] == [40, 40]

    again = rgt(*command)
    assert again.returncode == 1
    assert "0 done, 1 failed, 9 were there already" in again.stderr
    assert content(tmp_path / "photos_upscaled") == made
    (tmp_path / "photos_upscaled" / "01_x2.jpg").unlink()
    assert "1 done" in rgt(*command).stderr
    assert content(tmp_path / "photos_upscaled") == made

    other = rgt(*command, "--format", "webp")
    assert other.returncode == 2
    assert "format was None, now webp" in other.stderr
    assert rgt(*command, "--format", "webp", "--overwrite").returncode == 1
    assert len(content(tmp_path / "photos_upscaled")) == 18


def test_killed_at_any_moment(
    rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """Resumed after kill -9, the targets are those of an undisturbed run, and nothing else is left."""
    folder = photos(60)
    arguments = ["upscale", folder, "-r", "-m", micro_checkpoint, "--device", "cpu"]
    started = time.monotonic()
    assert rgt(*arguments, "-o", tmp_path / "whole").returncode == 0
    duration = time.monotonic() - started
    expected = content(tmp_path / "whole")
    assert len(expected) == 60
    chance = random.Random(0)
    killed = 0
    for number in range(KILLS):
        out = tmp_path / f"killed{number}"
        command = [sys.executable, "-m", "rgt_cli", *map(str, arguments), "-o", str(out)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + duration
        while not list(out.glob("*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.8)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        before = len(content(out))
        result = rgt(*arguments, "-o", out)
        assert result.returncode == 0, result.stderr
        assert content(out) == expected, f"killed after {before} targets"
    assert killed >= KILLS // 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_gently(
    rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder, out = photos(60, size=40), tmp_path / "out"
    arguments = ["upscale", str(folder), "-r", "-m", str(micro_checkpoint), "-o", str(out)]
    process = begun(arguments, out)
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number, shown
    assert "Traceback" not in shown
    assert "the same command goes on" in shown
    made = content(out)
    assert 0 < len(made) < 60
    assert all(name.endswith((".jpg", ".png")) for name in made)
    result = rgt(*arguments)
    assert result.returncode == 0, result.stderr
    assert f"{60 - len(made)} done" in result.stderr
    assert made.items() <= content(out).items()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_at_once(
    rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The signal comes again and again, and what is left can be resumed."""
    folder, out = photos(30, size=40), tmp_path / "out"
    arguments = ["upscale", str(folder), "-r", "-m", str(micro_checkpoint), "-o", str(out)]
    process = begun(arguments, out)
    deadline = time.monotonic() + 60
    while process.poll() is None:
        process.send_signal(number)
        time.sleep(0.01)
        assert time.monotonic() < deadline
    assert process.stderr is not None
    shown = process.stderr.read()
    assert process.returncode == 130, shown
    assert "Traceback" not in shown
    assert all(name.endswith((".jpg", ".png")) for name in content(out))
    assert rgt(*arguments).returncode == 0
    assert len(content(out)) == 30


def test_full_disk_stops_the_batch(
    rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """Nothing half-written; with room again, the same command goes on."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder, out = photos(30, size=60), tmp_path / "disk"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", out], check=False)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    arguments = ("upscale", folder, "-r", "-m", micro_checkpoint, "-o", out)
    try:
        result = rgt(*arguments)
        assert result.returncode == 6, result.stderr
        assert "No space left" in result.stderr
        assert "Traceback" not in result.stderr
        made = content(out)
        assert 0 < len(made) < 30
        for name in made:
            with Image.open(out / name) as large:
                large.load()
        subprocess.run(["mount", "-o", "remount,size=4m", out], check=True)
        result = rgt(*arguments)
        assert result.returncode == 0, result.stderr
        assert len(content(out)) == 30
        assert made.items() <= content(out).items()
    finally:
        subprocess.run(["umount", out], check=True)


def test_sources_of_all_kinds(
    rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, out = photos(6), tmp_path / "out"
    common = ("-m", micro_checkpoint, "--name", "{stem}{ext}", "-o", out)
    listed = "\n".join(str(folder / name) for name in ("01.jpg", "02.jpg"))
    result = rgt("upscale", "--from-file", "-", *common, input=listed)
    assert result.returncode == 0, result.stderr
    assert set(content(out)) == {"01.jpg", "02.jpg"}
    result = rgt("upscale", folder / "0[45].jpg", *common, "--fail-fast")
    assert result.returncode == 0, result.stderr
    assert set(content(out)) == {"01.jpg", "02.jpg", "04.jpg", "05.jpg"}
    raw = os.fsdecode(b"caf\xe9.png")
    (folder / "sub" / "00.png").rename(folder / raw)
    result = rgt("upscale", folder, *common, "--include", "caf*")
    assert result.returncode == 0, result.stderr
    assert raw in content(out)
    for nothing in (("upscale",), ("upscale", tmp_path / "no*.png", *common)):
        assert rgt(*nothing).returncode == 3
    (tmp_path / "empty").mkdir()
    assert rgt("upscale", tmp_path / "empty").returncode == 3


def test_fail_fast(rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out = photos(12), tmp_path / "out"
    (folder / "00.jpg").write_text("bad")
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out, "--fail-fast")
    assert result.returncode == 1
    assert len(content(out)) <= 2


def test_watch(rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out = photos(3), tmp_path / "out"
    arguments = ["upscale", str(folder), "-m", str(micro_checkpoint), "-o", str(out), "--watch"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rgt_cli", *arguments], stderr=subprocess.PIPE, text=True
    )

    def wait_for(name: str) -> None:
        while not (out / name).exists():
            time.sleep(0.05)
            assert process.poll() is None

    wait_for("01_x2.jpg")
    (folder / "bad.png").write_text("no picture")
    shutil.copy(folder / "01.jpg", folder / "late.jpg")
    wait_for("late_x2.jpg")
    time.sleep(2.5)  # the bad one is tried once, not at every look
    process.send_signal(signal.SIGTERM)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, shown
    assert "3 done, 1 failed" in shown
    assert set(content(out)) == {"01_x2.jpg", "02_x2.jpg", "late_x2.jpg"}


def test_things_that_vanish(
    rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """A source and the output folder are removed while the run goes on."""
    folder, out = photos(40, size=90), tmp_path / "out"
    arguments = ["upscale", str(folder), "-m", str(micro_checkpoint), "-o", str(out)]
    process = begun(arguments, out)
    (folder / "38.jpg").unlink()
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 1, shown
    assert "no such file" in shown
    assert "25 done, 1 failed" in shown

    shutil.rmtree(out)
    process = begun(arguments, out, targets=3)
    out.rename(tmp_path / "elsewhere")
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 6, shown
    assert "Traceback" not in shown
    assert "has vanished" in shown
    assert not out.exists()
    (tmp_path / "elsewhere").rename(out)
    result = rgt(*arguments)
    assert result.returncode == 0, result.stderr
    assert len(content(out)) == 25


def test_read_only_output(rgt: RunRGT, photos: Callable, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out = photos(4), tmp_path / "out"
    out.mkdir(mode=0o500)
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out, before=UNPRIVILEGED)
    assert result.returncode == 6, result.stderr
    assert "Traceback" not in result.stderr
    assert content(out) == {}
