"""`rgt upscale` on videos: real processes, killed for real, and what a person sees."""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.process import RunRGT, names_in, start_rgt, wait_until
from tests.helpers.sandbox import resize_disk, small_disk
from tests.helpers.videos import X264, ffmpeg, frame_count, lavfi, planes, with_everything

KILLS = int(os.environ.get("RGT_TEST_KILLS", "2"))
"""How often the run is killed; more are worth the time after a change of the segments."""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """40 frames of 32 x 24, with audio."""
    path = tmp_path / "clip.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=32x24:rate=20:duration=2", "-f", "lavfi", "-i",
        "sine=duration=2", *X264, "-bf", "2", "-c:a", "aac", path,
    )  # fmt: skip
    return path


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".rgt-*") if path.name != ".rgt-journal.jsonl"]


def end_event(stdout: str) -> dict[str, Any]:
    """Return the last event of a run with --json."""
    event: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    assert event["event"] == "end"
    return event


def test_killed_at_any_moment(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    """Resumed after kill -9, the frames are those of an undisturbed run, and nothing else is left."""
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.2", "--device", "cpu"]
    whole = tmp_path / "whole.mkv"
    result = rgt("upscale", clip, "-o", whole, *options)
    assert result.returncode == 0, result.stderr
    assert "40 frames" in result.stderr
    expected = planes(whole, "yuv420p")
    chance, resumed = random.Random(1), 0
    for number in range(KILLS):
        folder = tmp_path / f"killed{number}"
        folder.mkdir()
        target = folder / "out.mkv"
        process = start_rgt("upscale", clip, "-o", target, *options, stderr=subprocess.DEVNULL)
        while not list(folder.rglob("*.mkv")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.7)
        process.kill()
        process.wait()
        resumed += bool(list(folder.rglob("000000.mkv")))
        if not target.exists():
            result = rgt("upscale", clip, "-o", target, *options)
            assert result.returncode == 0, result.stderr
        np.testing.assert_array_equal(planes(target, "yuv420p"), expected)
        assert hidden(folder) == []
    assert resumed, "not once was there a segment to continue after"


def pause_after_a_segment(
    source: Path, target: Path, options: list[str], output: Path | None = None
) -> subprocess.Popen[str]:
    """Start a run and stop its process, as Ctrl-Z does, once its first segment is complete."""
    process = start_rgt("upscale", source, "-o", output or target, *options)
    wait_until(lambda: list(target.parent.rglob("000000.mkv")), process)
    process.send_signal(signal.SIGSTOP)
    return process


def test_two_runs_on_one_video(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    """The second one is refused, and the first one completes."""
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.2", "--device", "cpu"]
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "out.mkv"
    first = pause_after_a_segment(clip, target, options)
    try:
        work = {path.name for path in target.parent.rglob("*")}
        second = rgt("upscale", clip, "-o", target, *options)
        assert second.returncode == 2, second.stderr
        assert "another rgt process" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        assert {path.name for path in target.parent.rglob("*")} == work
    finally:
        first.send_signal(signal.SIGCONT)
    _, stderr = first.communicate(timeout=60)
    assert first.returncode == 0, stderr
    assert frame_count(target) == 40
    assert names_in(target.parent) == {"out.mkv"}


def test_a_folder_and_one_of_its_videos(
    rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """A run on a folder and a run on one of its videos never write to the same segments."""
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.2", "--device", "cpu"]
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    clip.rename(folder / "clip.mkv")
    first = pause_after_a_segment(folder, out / "clip_x2.mkv", options, output=out)
    try:
        second = rgt("upscale", folder / "clip.mkv", "-o", out / "clip_x2.mkv", *options)
        assert second.returncode == 2, second.stderr
        assert "another rgt process" in second.stderr
    finally:
        first.send_signal(signal.SIGCONT)
    _, stderr = first.communicate(timeout=60)
    assert first.returncode == 0, stderr
    assert frame_count(out / "clip_x2.mkv") == 40
    assert hidden(out) == []


def test_a_killed_run_blocks_no_other(
    rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.2", "--device", "cpu"]
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "out.mkv"
    first = pause_after_a_segment(clip, target, options)
    first.kill()
    first.communicate()
    second = rgt("upscale", clip, "-o", target, *options)
    assert second.returncode == 0, second.stderr
    assert re.search(rf"resuming {target}: \d+ of 40 frames are done", second.stderr)
    assert frame_count(target) == 40
    assert names_in(target.parent) == {"out.mkv"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_gracefully(
    rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    target = tmp_path / "out.mkv"
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.1"]
    process = start_rgt("upscale", clip, "-o", target, *options)
    wait_until(lambda: list(tmp_path.rglob("000001.mkv")), process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert "resume" in stderr
    assert not target.exists()
    assert rgt("upscale", clip, "-o", target, *options).returncode == 0
    assert frame_count(target) == 40
    assert hidden(tmp_path) == []


def test_folder_of_images_and_videos(
    rgt: RunRGT, clip: Path, small_png: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    clip.rename(folder / "a.mkv")
    small_png.rename(folder / "b.png")
    (folder / "c.mp4").write_text("not a video")
    data = (folder / "a.mkv").read_bytes()
    (folder / "d.mkv").write_bytes(data[: len(data) // 2])
    result = rgt("upscale", folder, "-m", micro_checkpoint, "--json")
    assert result.returncode == 1, result.stderr
    end = end_event(result.stdout)
    assert (end["done"], end["failed"]) == (2, 2)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    failed = {Path(e["source"]).name: e["error"] for e in events if e["event"] == "failed"}
    assert failed.keys() == {"c.mp4", "d.mkv"}
    assert "damaged" in failed["d.mkv"]
    made = tmp_path / "mixed_upscaled"
    assert frame_count(made / "a_x2.mkv") == 40
    assert 0 < frame_count(made / "d_x2.mkv") < 40
    with Image.open(made / "b_x2.png") as opened:
        assert opened.size == (80, 60)
    again = end_event(rgt("upscale", folder, "-m", micro_checkpoint, "--json").stdout)
    assert (again["skipped"], again["failed"]) == (3, 1)


def test_full_disk(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    command = ("upscale", clip, "-m", micro_checkpoint, "-o", disk / "out.mkv")
    with small_disk(disk, 48 << 10):
        result = rgt(*command, "--segment-seconds", "0.2", "--codec", "ffv1")
        assert result.returncode == 6, result.stderr
        assert "space" in result.stderr
        assert "Traceback" not in result.stderr
        assert not (disk / "out.mkv").exists()
        resize_disk(disk, 4 << 20)
        result = rgt(*command, "--segment-seconds", "0.2", "--codec", "ffv1")
        assert result.returncode == 0, result.stderr
        assert frame_count(disk / "out.mkv") == 40
        assert names_in(disk) == {"out.mkv"}


def test_preview(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    result = rgt("upscale", clip, "-m", micro_checkpoint, "--preview", "3")
    assert result.returncode == 0, result.stderr
    for number in (1, 2, 3):
        with Image.open(tmp_path / f"clip_x2_preview{number}.png") as opened:
            assert opened.size == (64, 48)
    assert not (tmp_path / "clip_x2.mkv").exists()


def test_progress_of_one_video(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    result = rgt("upscale", clip, "-m", micro_checkpoint, "-o", tmp_path / "out.mkv", "--json")
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert (names[:2], names[-2:]) == (["start", "progress"], ["done", "end"])
    assert events[1] | {"done": 0} == {
        "event": "progress", "source": str(clip), "target": str(tmp_path / "out.mkv"), "done": 0,
        "total": 40,
    }  # fmt: skip


def test_frames_are_replaced_on_request(
    rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    command = ("upscale", clip, "-m", micro_checkpoint, "-o", tmp_path / "frames" / "%03d.png")
    assert rgt(*command).returncode == 0
    first = tmp_path / "frames" / "001.png"
    before = first.stat().st_ino
    other = rgt(*command, "--start", "1")
    assert other.returncode == 2, other.stderr
    assert "images of another video or with other settings exist (40)" in other.stderr
    assert first.stat().st_ino == before
    assert rgt(*command, "--start", "1", "--overwrite").returncode == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == 20


def test_numbered_images_become_a_video_despite_kill(
    rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, target = tmp_path / "frames", tmp_path / "out" / "out.mkv"
    for made in (folder, target.parent):
        made.mkdir()
    ffmpeg("-i", clip, "-start_number", "7", folder / "f_%04d.png")
    options = ["-m", str(micro_checkpoint), "--segment-seconds", "0.2", "--fps", "23.976"]
    first = pause_after_a_segment(folder, target, options)
    first.kill()
    first.communicate()
    again = rgt("upscale", folder, "-o", target, *options)
    assert again.returncode == 0, again.stderr
    assert re.search(rf"resuming {target}: \d+ of 40 frames are done", again.stderr)
    assert names_in(target.parent) == {"out.mkv"}
    assert frame_count(target) == 40
    whole = tmp_path / "whole.mkv"
    result = rgt("upscale", folder / "f_%04d.png", "-o", whole, *options[:4], "--fps", "24000/1001")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(planes(target, "yuv420p"), planes(whole, "yuv420p"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("-o", "out.mp4", "--fps", "24"), "several series"), (("-o", "out", "--fps", "24"), "--fps"),
     (("-o", "out.mp4", "--fps", "0"), "frame rate")],
)  # fmt: skip
def test_folders_that_cannot_become_one_video(
    rgt: RunRGT, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a1.png", "b1.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    result = rgt("upscale", "in", "-m", "tiny", *options, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert reason in result.stderr
    assert names_in(tmp_path) == {"in"}


def test_percent_sign_in_a_name(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("50%done.gif", "50%done.mp4"):
        result = rgt("upscale", clip, "-m", micro_checkpoint, "-o", tmp_path / name, "--end", "0.2")
        assert result.returncode == 0, result.stderr
        assert frame_count(tmp_path / name) == 4


def test_dry_run(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    result = rgt("upscale", clip, "-m", micro_checkpoint, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "64 x 48, libx264 yuv420p, 40 frames" in result.stdout
    assert re.search(r"about 0:\d\d:\d\d|less than a second", result.stdout)
    assert names_in(tmp_path) == {"clip.mkv", "micro.safetensors"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--codec", "nonsense"), "nonsense"), (("--start", "soon"), "soon"),
     (("-o", "out.png"), "frames/%06d.png"), (("--encoder-args", "-bf lots"), "lots"),
     (("--start", "2", "--end", "1"), "--end 1"), (("--crf", "99"), "0 to 51"),
     (("--lossless",), "--codec ffv1"), (("--map", "0:a:7"), "--map 0:a:7")],
)  # fmt: skip
def test_misuse(
    rgt: RunRGT,
    clip: Path,
    micro_checkpoint: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    reason: str,
) -> None:
    result = rgt("upscale", clip, "-m", micro_checkpoint, *options, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
    assert names_in(tmp_path) == {"clip.mkv", "micro.safetensors"}


def test_a_video_on_stdout(rgt: RunRGT, clip: Path, micro_checkpoint: Path, tmp_path: Path) -> None:
    result = rgt("upscale", clip, "-m", micro_checkpoint, "--end", "0.5", "-o", "-", text=False)
    assert result.returncode == 0, result.stderr
    (tmp_path / "out.mkv").write_bytes(result.stdout)  # type: ignore[arg-type]
    assert frame_count(tmp_path / "out.mkv") == 10


def test_unchanged_frames_are_computed_once(rgt: RunRGT, micro_checkpoint: Path, tmp_path: Path) -> None:
    """300 frames of a still video take no longer than a few: each would take a while."""
    still = tmp_path / "still.mkv"
    lavfi("-c:v", "ffv1", source="color=red:size=200x120:rate=25:duration=12")(still)
    result = rgt("upscale", still, "-m", micro_checkpoint, "--json", "--codec", "ffv1")
    assert result.returncode == 0, result.stderr
    assert '"frames": 300' in result.stdout


def test_streams_that_the_container_does_not_support(
    rgt: RunRGT, micro_checkpoint: Path, tmp_path: Path
) -> None:
    with_everything(tmp_path / "all.mkv")
    result = rgt("upscale", tmp_path / "all.mkv", "-m", micro_checkpoint, "-o", tmp_path / "all.mp4")
    assert result.returncode == 0, result.stderr
    assert "subtitle 3" in result.stderr
    assert "mp4" in result.stderr


def test_location_and_metadata_are_left_out(rgt: RunRGT, micro_checkpoint: Path, tmp_path: Path) -> None:
    place = ("-metadata", "location=+48.8577+002.2950/", "-metadata", "title=Holiday")
    lavfi("-t", "0.2", *X264, *place)(tmp_path / "in.mp4")
    for option, left in (("--strip-gps", {b"Holiday"}), ("--strip", set[bytes]())):
        target = tmp_path / f"out{option}.mp4"
        result = rgt("upscale", tmp_path / "in.mp4", "-m", micro_checkpoint, "-o", target, option)
        assert result.returncode == 0, result.stderr
        content = target.read_bytes()
        assert {word for word in (b"48.8577", b"Holiday") if word in content} == left
