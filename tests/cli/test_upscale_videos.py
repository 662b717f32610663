"""`rgt upscale` on films: real processes, killed for real, and what a person sees."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.cli.test_upscale import AS_ROOT
from tests.conftest import RunRGT
from tests.jobs.test_video import X264, ffmpeg, lavfi, planes, with_everything

KILLS = int(os.environ.get("RGT_TEST_KILLS", "2"))
"""How often the run is killed; more are worth the time after a change of the segments."""


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """40 frames of 32 x 24, with sound."""
    path = tmp_path / "film.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=32x24:rate=20:duration=2", "-f", "lavfi", "-i",
        "sine=duration=2", *X264, "-bf", "2", "-c:a", "aac", path,
    )  # fmt: skip
    return path


def count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".rgt-*") if path.name != ".rgt-journal.jsonl"]


def test_killed_at_any_moment(rgt: RunRGT, film: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    """Resumed after kill -9, the frames are those of an undisturbed run, and nothing else is left."""
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.2", "--device", "cpu"]
    whole = tmp_path / "whole.mkv"
    started = time.monotonic()
    result = rgt("upscale", film, "-o", whole, *options)
    assert result.returncode == 0, result.stderr
    assert "40 frames" in result.stderr
    duration = time.monotonic() - started
    expected = planes(whole, "yuv420p")
    chance, resumed = random.Random(1), 0
    for number in range(KILLS):
        folder = tmp_path / f"killed{number}"
        folder.mkdir()
        target = folder / "out.mkv"
        command = [sys.executable, "-m", "rgt_cli", "upscale", str(film), "-o", str(target), *options]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + duration
        while not list(folder.rglob("*.mkv")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.7)
        process.kill()
        process.wait()
        resumed += bool(list(folder.rglob("000000.mkv")))
        if not target.exists():
            result = rgt("upscale", film, "-o", target, *options)
            assert result.returncode == 0, result.stderr
        np.testing.assert_array_equal(planes(target, "yuv420p"), expected)
        assert hidden(folder) == []
    assert resumed, "not once was there a segment to go on from"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_gently(
    rgt: RunRGT, film: Path, micro_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    target = tmp_path / "out.mkv"
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.1"]
    command = [sys.executable, "-m", "rgt_cli", "upscale", str(film), "-o", str(target), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("000001.mkv")):
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number, shown
    assert "the same command goes on" in shown
    assert not target.exists()
    assert rgt("upscale", film, "-o", target, *options).returncode == 0
    assert count(target) == 40
    assert hidden(tmp_path) == []


def test_folder_of_pictures_and_films(
    rgt: RunRGT, film: Path, small_png: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    film.rename(folder / "a.mkv")
    small_png.rename(folder / "b.png")
    (folder / "c.mp4").write_text("no film")
    data = (folder / "a.mkv").read_bytes()
    (folder / "d.mkv").write_bytes(data[: len(data) // 2])
    result = rgt("upscale", folder, "-m", micro_checkpoint)
    assert result.returncode == 1
    assert "2 done, 2 failed" in result.stderr
    assert "c.mp4" in result.stderr
    assert "is damaged" in result.stderr
    made = tmp_path / "mixed_upscaled"
    assert count(made / "a_x2.mkv") == 40
    assert 0 < count(made / "d_x2.mkv") < 40
    with Image.open(made / "b_x2.png") as opened:
        assert opened.size == (80, 60)
    again = rgt("upscale", folder, "-m", micro_checkpoint)
    assert "3 were there already" in again.stderr


@AS_ROOT
def test_full_disk(rgt: RunRGT, film: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], check=True)
    command = ("upscale", film, "-m", micro_checkpoint, "-o", disk / "out.mkv")
    try:
        result = rgt(*command, "--segment-seconds", "0.2", "--codec", "ffv1")
        assert result.returncode == 6, result.stderr
        assert "space" in result.stderr
        assert "Traceback" not in result.stderr
        assert not (disk / "out.mkv").exists()
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        result = rgt(*command, "--segment-seconds", "0.2", "--codec", "ffv1")
        assert result.returncode == 0, result.stderr
        assert count(disk / "out.mkv") == 40
    finally:
        subprocess.run(["umount", disk], check=True)


def test_preview_and_dry_run(rgt: RunRGT, film: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    result = rgt("upscale", film, "-m", micro_checkpoint, "--preview", "3")
    assert result.returncode == 0, result.stderr
    for number in (1, 2, 3):
        with Image.open(tmp_path / f"film_x2_preview{number}.png") as opened:
            assert opened.size == (64, 48)
    result = rgt("upscale", film, "-m", micro_checkpoint, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "64 x 48, libx264 yuv420p, 40 frames" in result.stdout
    assert "about 0:00:" in result.stdout
    assert not (tmp_path / "film_x2.mkv").exists()


def test_misuse(rgt: RunRGT, film: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    for options, said in (
        (("--codec", "nonsense"), "no such encoder"),
        (("--start", "soon"), "is no time"),
        (("--format", "png"), "frames/%06d.png"),
        (("--encoder-args", "-bf lots"), "the encoder refuses"),
    ):
        result = rgt("upscale", film, "-m", micro_checkpoint, *options)
        assert result.returncode == 2, (options, result.stderr)
        assert said in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"film.mkv", "micro.safetensors"}


def test_unchanged_frames_are_computed_once(rgt: RunRGT, micro_checkpoint: Path, tmp_path: Path) -> None:
    """300 frames of a still film take no longer than a few: each would take a while."""
    still = tmp_path / "still.mkv"
    lavfi("-c:v", "ffv1", source="color=red:size=200x120:rate=25:duration=12")(still)
    result = rgt("upscale", still, "-m", micro_checkpoint, "--json", "--codec", "ffv1")
    assert result.returncode == 0, result.stderr
    assert '"frames": 300' in result.stdout
    with_everything(tmp_path / "all.mkv")
    result = rgt("upscale", tmp_path / "all.mkv", "-m", micro_checkpoint, "-o", tmp_path / "all.mp4")
    assert result.returncode == 0, result.stderr
    assert "mp4 cannot hold subtitle" in result.stderr
