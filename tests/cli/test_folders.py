"""`rgt upscale` over many files: real processes, killed for real."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgt_cli.jobs.journal import JOURNAL
from tests.helpers.process import UNPRIVILEGED, RunRGT, start_rgt, wait_until
from tests.helpers.report import read_events, read_report
from tests.helpers.sandbox import resize_disk, small_disk

KILLS = int(os.environ.get("RGT_TEST_KILLS", "2"))
"""How often the run is killed; after a change of the journal, try more."""

Photos = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Photos:
    """Return a function that makes a folder of small images, a third of them in a subfolder."""

    def make(count: int, size: int = 20) -> Path:
        folder = tmp_path / "photos"
        (folder / "sub").mkdir(parents=True)
        for i in range(count):
            crop = photo[3 * i : 3 * i + size, 5 * i : 5 * i + size]
            name = f"sub/{i:02}.png" if i % 3 == 0 else f"{i:02}.jpg"
            Image.fromarray(crop).save(folder / name)
        return folder

    return make


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the journal."""
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != JOURNAL
    }


def started(arguments: tuple[object, ...], out: Path, outputs: int = 1) -> subprocess.Popen[str]:
    """Return a run that has just written its first outputs into `out`."""
    process = start_rgt(*arguments)
    wait_until(lambda: len(list(out.glob("*.jpg"))) >= outputs, process)
    return process


def test_folder(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out = photos(9), tmp_path / "photos_upscaled"
    (folder / "note.txt").write_text("not an image")
    (folder / "bad.png").write_text("not an image either")
    command = ("upscale", folder, "-r", "-m", micro_checkpoint, "--report", tmp_path / "run.json")
    result = rgt(*command, "--json")
    assert result.returncode == 1, result.stderr
    made = content(out)
    assert set(made) == {f"sub/{i:02}_x2.png" for i in (0, 3, 6)} | {
        f"{i:02}_x2.jpg" for i in range(9) if i % 3
    }
    for name in made:
        with Image.open(out / name) as large:
            assert large.size == (40, 40)

    report = read_report(tmp_path / "run.json")
    assert {key: report[key] for key in ("planned", "done", "failed", "skipped")} == {
        "planned": 10, "done": 9, "failed": 1, "skipped": 0,
    }  # fmt: skip
    assert sum(report["ignored"].values()) == 1
    failed = [file for file in report["files"] if file["error"]]
    assert [Path(file["source"]).name for file in failed] == ["bad.png"]
    assert report["files"][-1]["target_size"] == [40, 40]
    events = read_events(result.stdout)
    assert [event["event"] for event in events].count("done") == 9
    assert (events[0]["event"], events[-1]["event"]) == ("start", "end")
    figures = report.keys() - {"files", "skipped_files"}
    assert {name: events[-1][name] for name in figures} == {name: report[name] for name in figures} | {
        name: events[-1][name] for name in ("seconds", "device_busy")
    }
    assert "bad.png" in result.stderr

    assert rgt(*command).returncode == 1
    report = read_report(tmp_path / "run.json")
    assert (report["done"], report["failed"], report["skipped"]) == (0, 1, 9)
    assert content(out) == made
    (out / "01_x2.jpg").unlink()
    rgt(*command)
    assert read_report(tmp_path / "run.json")["done"] == 1
    assert content(out) == made

    other = rgt(*command, "--format", "webp")
    assert other.returncode == 2
    assert "(--format was not given, now webp)" in other.stderr
    assert rgt(*command, "--format", "webp", "--overwrite").returncode == 1
    assert len(content(out)) == 18


def test_messages_of_a_run(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder = photos(5)
    (folder / "empty.png").touch()
    (folder / "note.txt").touch()
    command = ("upscale", folder.name, "-m", micro_checkpoint)
    first = rgt(*command, cwd=tmp_path).stderr
    assert re.search(r"photos/empty\.png +the file is empty$", first, re.MULTILINE), first
    searched = "; ignored: 1 not an image or video; not searched: 1 subfolder: add -r\n"
    assert re.search(r"3 upscaled, 1 failed in [\d.]+ s; device busy \d+%" + searched, first), first
    assert "\noutputs: photos_upscaled\n" in first, "relative, as the input was named"
    again = rgt(*command, cwd=tmp_path).stderr
    assert re.search(rf"0 upscaled, 1 failed, 3 skipped \(up to date\) in [\d.]+ s{searched}", again)
    other = rgt(*command, "--keep-times", "--tile", "64", cwd=tmp_path)
    assert other.returncode == 2
    assert "(--keep-times was not given before; --tile was auto, now 64): repeat these" in other.stderr


def test_segment_length_does_not_matter_to_images(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    command = ("upscale", photos(3), "-m", micro_checkpoint, "--report", tmp_path / "run.json")
    assert rgt(*command).returncode == 0
    assert rgt(*command, "--segment-seconds", "5").returncode == 0
    assert read_report(tmp_path / "run.json")["skipped"] == 2


def test_the_report_lists_why_files_are_skipped(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, out, report = photos(3), tmp_path / "out", tmp_path / "run.json"
    command = ("upscale", folder, "-m", micro_checkpoint, "-o", out, "--report", report)
    assert rgt(*command).returncode == 0
    (out / "01_x2.jpg").write_bytes(b"of someone else")
    (folder / "new.jpg").write_bytes((folder / "01.jpg").read_bytes())
    for option, reason in (("--skip-existing", "exists"), ("--update", "not older than its input")):
        result = rgt(*command, option)
        assert result.returncode == 0, result.stderr
        assert f"1 skipped ({reason})" in result.stderr
        reasons = {
            Path(file["source"]).name: file["reason"] for file in read_report(report)["skipped_files"]
        }
        assert reasons["01.jpg"] == reason
        assert reasons["02.jpg"] == "up to date"
    assert rgt(*command).returncode == 2


def test_results_of_earlier_runs_are_not_inputs(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """Whether the outputs lie beside their inputs, or in a folder inside theirs."""
    folder, report = photos(3), tmp_path / "run.json"
    common = ("-m", micro_checkpoint, "--report", report)
    for arguments in (
        ("upscale", folder, "-o", folder),
        ("upscale", folder / "*.jpg"),
        ("upscale", folder, "-o", folder / "numbered", "-r", "--name", "{index}_{stem}.png"),
    ):
        assert rgt(*arguments, *common).returncode == 0
        made = content(folder)
        again = rgt(*arguments, *common)
        assert again.returncode == 0, again.stderr
        assert content(folder) == made
        assert read_report(report)["done"] == 0
    assert not [name for name in content(folder) if "_x2_x2_x2" in name]


def test_watching_a_folder_that_outputs_go_to(
    photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder = photos(3)
    process = start_rgt("upscale", folder, "-o", folder, "-m", micro_checkpoint, "--watch")
    wait_until(lambda: len(list(folder.glob("*_x2.jpg"))) == 2, process)
    time.sleep(4)  # longer than a file takes to count as complete
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert {name for name in content(folder) if "/" not in name} == {
        "01.jpg", "02.jpg", "01_x2.jpg", "02_x2.jpg",
    }  # fmt: skip


def test_a_missing_input_among_others_fails_alone(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, report = photos(3), tmp_path / "run.json"
    named = (folder / "01.jpg", folder / "none.jpg", folder / "02.jpg", folder / "no*.png")
    result = rgt("upscale", *named, "-m", micro_checkpoint, "-o", tmp_path / "out", "--report", report)
    assert result.returncode == 1, result.stderr
    errors = {Path(file["source"]).name: file["error"] for file in read_report(report)["files"]}
    assert errors.pop("01.jpg") is errors.pop("02.jpg") is None
    assert all("no such file" in error for error in errors.values())
    assert set(errors) == {"none.jpg", "no*.png"}


def test_no_input(rgt: RunRGT, photos: Photos, tmp_path: Path) -> None:
    folder = photos(1)  # in a subfolder
    result = rgt("upscale", folder)
    assert result.returncode == 3
    assert "add -r" in result.stderr
    assert rgt("upscale", "", cwd=folder).returncode == 2, "an unset shell variable"


def test_a_second_run_on_a_folder_is_refused(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("upscale", photos(6), "-m", micro_checkpoint, "-o", out)
    process = started((*arguments, "--watch"), out)
    second = rgt(*arguments)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=60)
    assert second.returncode == 2, second.stderr
    assert "another rgt" in second.stderr
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert len(content(out)) == 4


def test_killed_at_any_moment(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """After kill -9 and a second run, the folder is that of an undisturbed run."""
    folder = photos(60)
    arguments = ("upscale", folder, "-r", "-m", micro_checkpoint, "--device", "cpu")
    assert rgt(*arguments, "-o", tmp_path / "whole").returncode == 0
    expected = content(tmp_path / "whole")
    assert len(expected) == 60
    chance = random.Random(0)
    killed = 0
    for number in range(KILLS):
        out = tmp_path / f"killed{number}"
        process = start_rgt(*arguments, "-o", out, stderr=subprocess.DEVNULL)
        while not list(out.glob("*.jpg")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.8)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        before = len(content(out))
        result = rgt(*arguments, "-o", out)
        assert result.returncode == 0, result.stderr
        assert content(out) == expected, f"killed after {before} outputs"
    assert killed >= KILLS // 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_finishes_the_current_image(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder, out = photos(60, size=40), tmp_path / "out"
    arguments = ("upscale", folder, "-r", "-m", micro_checkpoint, "-o", out)
    process = started(arguments, out)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + number, printed
    assert "Traceback" not in printed
    assert "repeat the command" in printed
    made = content(out)
    assert 0 < len(made) < 60
    assert all(name.endswith((".jpg", ".png")) for name in made)
    result = rgt(*arguments, "--report", tmp_path / "run.json")
    assert result.returncode == 0, result.stderr
    assert read_report(tmp_path / "run.json")["done"] == 60 - len(made)
    assert made.items() <= content(out).items()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_again_and_again(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The run ends without a traceback, and the next one completes it."""
    folder, out = photos(30, size=40), tmp_path / "out"
    arguments = ("upscale", folder, "-r", "-m", micro_checkpoint, "-o", out)
    process = started(arguments, out)
    deadline = time.monotonic() + 60
    while process.poll() is None:
        process.send_signal(number)
        time.sleep(0.01)
        assert time.monotonic() < deadline
    assert process.stderr is not None
    printed = process.stderr.read()
    # The first signal may have ended the run before the second one came.
    assert process.returncode in (130, 128 + number), printed
    assert "Traceback" not in printed
    assert all(name.endswith((".jpg", ".png")) for name in content(out))
    assert rgt(*arguments).returncode == 0
    assert len(content(out)) == 30


def test_full_disk_ends_the_run(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """Every output is whole, and with room again the next run does the rest."""
    folder, out = photos(30, size=60), tmp_path / "disk"
    arguments = ("upscale", folder, "-r", "-m", micro_checkpoint, "-o", out)
    with small_disk(out, 128 << 10):
        result = rgt(*arguments)
        assert result.returncode == 6, result.stderr
        assert "No space left" in result.stderr
        assert "Traceback" not in result.stderr
        made = content(out)
        assert 0 < len(made) < 30
        for name in made:
            with Image.open(out / name) as large:
                large.load()
        resize_disk(out, 4 << 20)
        result = rgt(*arguments)
        assert result.returncode == 0, result.stderr
        assert len(content(out)) == 30
        assert made.items() <= content(out).items()


def test_inputs_of_all_kinds(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
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


def test_fail_fast(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out, report = photos(12), tmp_path / "out", tmp_path / "run.json"
    (folder / "02.jpg").write_text("bad")
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out, "--fail-fast", "--report", report)
    assert result.returncode == 1
    files = read_report(report)["files"]
    assert [Path(file["source"]).name for file in files if file["error"]] == ["02.jpg"]
    assert [Path(file["source"]).name for file in files] == ["01.jpg", "02.jpg"]
    assert set(content(out)) == {"01_x2.jpg"}


def test_the_exit_code_of_a_common_cause(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    """One cause has the same exit code for one file and for many; several causes are exit 1."""
    folder = photos(3)
    Image.new("RGBA", (8, 8)).save(folder / "clear.png")
    command = ("upscale", "-m", micro_checkpoint, "--format", "jpeg")
    assert rgt(*command, folder / "clear.png").returncode == 2
    assert rgt(*command, folder).returncode == 2
    (folder / "bad.png").write_text("not an image")
    assert rgt(*command, folder / "bad.png").returncode == 1
    assert rgt(*command, folder).returncode == 1


def test_watch(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out, report = photos(3), tmp_path / "out", tmp_path / "run.json"
    process = start_rgt(
        "upscale", folder, "-m", micro_checkpoint, "-o", out, "--watch", "--report", report
    )
    wait_until((out / "01_x2.jpg").exists, process)
    (folder / "bad.png").write_text("not an image")
    shutil.copy(folder / "01.jpg", folder / "late.jpg")
    wait_until((out / "late_x2.jpg").exists, process)
    time.sleep(2.5)  # the bad one is tried once, not at every scan
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, printed
    facts = read_report(report)
    assert (facts["done"], facts["failed"]) == (3, 1)
    assert set(content(out)) == {"01_x2.jpg", "02_x2.jpg", "late_x2.jpg"}
    assert "2 upscaled, 0 failed; waiting for new files" in printed
    assert "0 left" not in printed, "there is nothing to resume"
    assert "bad.png" in printed


def test_outputs_keep_the_dates_of_their_inputs(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, out = photos(3), tmp_path / "out"
    dates = {"01.jpg": 10**18, "02.jpg": 1_234_567_890_123_456_789}
    for name, date in dates.items():
        os.utime(folder / name, ns=(date, date))
    command = ("upscale", folder, "-m", micro_checkpoint, "-o", out, "--keep-times")
    assert rgt(*command).returncode == 0
    for name, date in dates.items():
        assert (out / f"{name[:2]}_x2.jpg").stat().st_mtime_ns == date
    assert "2 skipped (up to date)" in rgt(*command).stderr
    one = tmp_path / "one.png"
    assert (
        rgt("upscale", folder / "02.jpg", "-m", micro_checkpoint, "-o", one, "--keep-times").returncode
        == 0
    )
    assert one.stat().st_mtime_ns == dates["02.jpg"]


@pytest.mark.parametrize("name", ["both.png", "video.mp4"])
def test_several_inputs_into_one_file_are_refused(rgt: RunRGT, photos: Photos, name: str) -> None:
    folder = photos(3)
    result = rgt("upscale", folder / "01.jpg", folder / "02.jpg", "-o", folder / name)
    assert result.returncode == 2
    assert f"{name}: names a file" in result.stderr
    assert not (folder / name).exists()


def test_files_that_vanish(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    """An input and the output folder are removed during the run."""
    folder, out, report = photos(40, size=90), tmp_path / "out", tmp_path / "run.json"
    arguments = ("upscale", folder, "-m", micro_checkpoint, "-o", out, "--report", report)
    process = started(arguments, out)
    (folder / "38.jpg").unlink()
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 1, printed
    facts = read_report(report)
    assert (facts["done"], facts["failed"]) == (25, 1)
    assert "no such file" in next(file["error"] for file in facts["files"] if file["error"])

    shutil.rmtree(out)
    process = started(arguments, out, outputs=3)
    out.rename(tmp_path / "elsewhere")
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 6, printed
    assert "Traceback" not in printed
    assert "disappeared" in printed
    assert not out.exists()
    (tmp_path / "elsewhere").rename(out)
    result = rgt(*arguments)
    assert result.returncode == 0, result.stderr
    assert len(content(out)) == 25


def test_read_only_output(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    folder, out = photos(4), tmp_path / "out"
    out.mkdir(mode=0o500)
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out, before=UNPRIVILEGED)
    assert result.returncode == 6, result.stderr
    assert "Traceback" not in result.stderr
    assert content(out) == {}


def test_dry_run(rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path) -> None:
    """It skips and refuses what the run would, and nothing is written."""
    folder, out = photos(6), tmp_path / "out"
    command = ("upscale", folder, "-r", "-m", micro_checkpoint, "-o", out)
    assert rgt(*command).returncode == 0
    made = content(tmp_path)
    (out / "01_x2.jpg").unlink()
    (folder / "bad.png").write_text("not an image")
    Image.new("RGB", (60, 40)).save(folder / "new.png")
    before = content(tmp_path)
    result = rgt(*command, "--dry-run")
    assert result.returncode == 1, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if "_x2" in line]
    assert [Path(row[1]).name for row in rows] == ["01_x2.jpg", "new_x2.png"]
    assert len(re.findall(r"about 0:00:0\d|less than a second", result.stdout)) == 2
    assert "120 x 80" in result.stdout
    assert re.search(
        r"2 to upscale in (about 0:00:0\d|less than a second), about .*, 1 would fail, 5 skipped",
        result.stderr,
    )
    assert "bad.png" in result.stderr
    assert content(tmp_path) == before

    result = rgt(*command, "--dry-run", "--json")
    events = read_events(result.stdout)
    assert [event["event"] for event in events] == ["start", "planned", "failed", "planned", "end"]
    assert [e["target_size"] for e in events if e["event"] == "planned"] == [[40, 40], [120, 80]]
    assert rgt(*command).returncode == 1
    sizes = {Path(e["target"]).name: e["bytes"] for e in events if e["event"] == "planned"}
    for name, size in sizes.items():
        assert (out / name).stat().st_size / 3 < size < (out / name).stat().st_size * 3
    assert content(out) | {"new_x2.png": b""} == {
        os.fspath(Path(name).relative_to("out")): data for name, data in made.items()
        if name.startswith("out")
    } | {"new_x2.png": b""}  # fmt: skip


def test_dry_run_refuses_what_the_run_refuses(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, out = photos(3), tmp_path / "out"
    image = folder / "01.jpg"
    Image.new("RGBA", (8, 8), (0, 0, 0, 9)).save(folder / "clear.png")
    Image.new("RGB", (9000, 2)).save(folder / "long.png")
    cases = [
        (2, (folder / "long.png", "-s", "2", "-o", out.with_suffix(".webp"))),
        (2, (folder / "clear.png", "-o", out.with_suffix(".jpg"))),
        (5, (folder / "long.png", "--tile", "none", "--memory", "100K")),
        (1, (micro_checkpoint,)),
        (3, (folder / "missing.png",)),
        (2, (folder, "-o", folder / "both.png")),
    ]
    for code, arguments in cases:
        for more in (("--dry-run",), ()):
            result = rgt("upscale", *arguments, "-m", micro_checkpoint, *more)
            assert result.returncode == code, (arguments, more, result.stderr)
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out)
    assert result.returncode == 0, result.stderr
    for more in (("--dry-run",), ()):
        changed = rgt("upscale", folder, "-m", micro_checkpoint, "-o", out, "--quality", "50", *more)
        assert changed.returncode == 2, changed.stderr
    previews = rgt("upscale", image, "-m", micro_checkpoint, "--preview", "2")
    assert previews.returncode == 2
    assert "videos" in previews.stderr


def test_subfolders_that_cannot_be_listed_fail(
    rgt: RunRGT, photos: Photos, micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, report = photos(2), tmp_path / "run.json"
    for name in ("locked", ".hidden", "drafts"):
        (folder / name).mkdir()
        (folder / name).chmod(0)
    arguments = ("-r", "--exclude", "drafts", "-m", micro_checkpoint, "--report", report)
    result = rgt("upscale", folder, *arguments, "-o", tmp_path / "out", before=UNPRIVILEGED)
    assert result.returncode == 1
    facts = read_report(report)
    assert (facts["done"], facts["failed"]) == (2, 1)
    (failed,) = (file for file in facts["files"] if file["error"])
    assert failed["source"] == str(folder / "locked")
    assert failed["error"].endswith("no permission to read it")
    result = rgt("upscale", folder / "locked", *arguments, "-o", tmp_path / "out2", before=UNPRIVILEGED)
    assert result.returncode == 1
    assert "locked: cannot be listed: Permission denied" in result.stderr
    assert not (tmp_path / "out2").exists()
    for name in ("locked", ".hidden", "drafts"):
        (folder / name).chmod(0o700)
