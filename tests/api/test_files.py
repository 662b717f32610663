"""`upscale_file`, `upscale_video` and `upscale_folder` do what `rgt upscale` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import rgt_cli
from rgt_cli import (
    CheckpointError,
    InputError,
    NoInputError,
    Outcome,
    OutputError,
    Upscaler,
    UsageError,
    upscale_file,
    upscale_folder,
    upscale_video,
)
from rgt_cli.jobs import Job
from rgt_cli.size import Dimensions
from tests.helpers.networks import Nearest
from tests.helpers.process import RunRGT
from tests.helpers.videos import lavfi


@pytest.fixture
def doubling() -> Upscaler:
    """An upscaler that repeats every pixel."""
    return Upscaler(Nearest(2), device="cpu")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 8 frames."""
    path = tmp_path / "clip.mkv"
    lavfi("-c:v", "libx264", "-g", "1", source="testsrc2=size=32x24:rate=4:duration=2")(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder with two images, one of them in a subfolder."""
    path = tmp_path / "photos"
    (path / "2024").mkdir(parents=True)
    Image.fromarray(photo[:12, :16]).save(path / "a.png")
    Image.fromarray(photo[:16, :12]).save(path / "2024" / "b.png")
    return path


def test_a_file_is_written_as_by_the_command(rgt: RunRGT, small_png: Path) -> None:
    options: dict[str, Any] = {"model": "tiny", "width": "50", "quality": 80, "bits": 8, "strip": True}
    done: list[tuple[int, int]] = []
    target = small_png.with_name("ours.jpg")
    outcome = upscale_file(
        small_png, target, **options, on_progress=lambda count, total: done.append((count, total))
    )
    assert (outcome.target_size, outcome.skipped, outcome.error) == ((50, 38), "", None)
    assert outcome.job.target == target
    assert outcome.model == "rgt-tiny-x2"
    assert done[-1] == (1, 1)
    arguments = ("-m", "tiny", "--width", 50, "--quality", 80, "--bits", 8, "--strip")
    finished = rgt("upscale", small_png, *arguments, "-o", "theirs.jpg", cwd=small_png.parent)
    assert finished.returncode == 0, finished.stderr
    assert target.read_bytes() == small_png.with_name("theirs.jpg").read_bytes()


def test_an_output_is_named_as_by_the_command(doubling: Upscaler, small_png: Path) -> None:
    assert upscale_file(small_png, upscaler=doubling).job.target.name == "in_x2.png"
    named = upscale_file(small_png, upscaler=doubling, name="{stem}-large{ext}", format="webp")
    assert named.job.target.name == "in-large.webp"
    assert upscale_file(str(small_png), small_png.parent / "out", upscaler=doubling).target_size


def test_an_existing_output_is_refused_skipped_or_replaced(doubling: Upscaler, small_png: Path) -> None:
    target = small_png.with_name("out.png")
    target.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        upscale_file(small_png, target, upscaler=doubling)
    outcome = upscale_file(small_png, target, upscaler=doubling, skip_existing=True)
    assert (outcome.skipped, outcome.target_size, target.read_text()) == ("exists", None, "mine")
    with pytest.raises(UsageError, match="overwrite and update cannot be used together"):
        upscale_file(small_png, target, upscaler=doubling, overwrite=True, update=True)
    assert upscale_file(small_png, target, upscaler=doubling, overwrite=True).target_size == (80, 60)


def test_alpha_is_that_of_the_upscaler(tmp_path: Path) -> None:
    upscaler = Upscaler(Nearest(2), device="cpu", alpha="lanczos")
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    Image.fromarray(image).save(tmp_path / "in.png")
    upscale_file(tmp_path / "in.png", tmp_path / "out.png", upscaler=upscaler)
    with Image.open(tmp_path / "out.png") as written:
        np.testing.assert_array_equal(np.asarray(written), upscaler.upscale(image))


def test_a_video_reports_its_frames_and_is_not_an_image(
    doubling: Upscaler, clip: Path, small_png: Path
) -> None:
    done: list[tuple[int, int]] = []
    outcome = upscale_video(
        clip, clip.with_name("out.mp4"), upscaler=doubling, codec="x264", crf=30, preset="ultrafast",
        end="1", on_progress=lambda count, total: done.append((count, total)),
    )  # fmt: skip
    assert (outcome.frames, outcome.target_size) == (4, (64, 48))
    assert done == [(count, 4) for count in range(1, 5)]
    with av.open(str(clip.with_name("out.mp4"))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4
    with pytest.raises(UsageError, match="neither the input nor the output is a video"):
        upscale_video(small_png, upscaler=doubling)


def test_an_exception_ends_a_video_which_is_resumed(doubling: Upscaler, clip: Path) -> None:
    def stop(count: int, total: int) -> None:
        if count == 6:
            raise KeyError(count)

    options: dict[str, Any] = {"segment_seconds": 0.5, "preset": "ultrafast", "upscaler": doubling}
    with pytest.raises(KeyError):
        upscale_video(clip, **options, on_progress=stop)
    assert not clip.with_name("clip_x2.mkv").exists()
    done: list[int] = []
    outcome = upscale_video(clip, **options, on_progress=lambda count, total: done.append(count))
    assert outcome.frames == 8
    assert done[0] > 4, "finished segments are not computed again"


def test_a_damaged_video_is_written_as_far_as_it_goes(doubling: Upscaler, clip: Path) -> None:
    damaged = clip.with_name("damaged.mkv")
    damaged.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=r"damaged\.mkv"):
        upscale_file(damaged, upscaler=doubling)
    assert damaged.with_name("damaged_x2.mkv").exists()


def test_a_folder_is_resumed_by_the_command_and_the_other_way_round(rgt: RunRGT, folder: Path) -> None:
    upscaler = Upscaler("tiny", 2)
    progress: list[tuple[str, int, int]] = []
    outcomes: list[Outcome] = []

    def on_progress(job: Job, done: int, total: int) -> None:
        progress.append((job.source.name, done, total))

    found = upscale_folder(
        folder, upscaler=upscaler, on_progress=on_progress, on_outcome=outcomes.append
    )
    assert [outcome.job.source.name for outcome in found] == ["a.png"]
    assert found == outcomes
    assert ("a.png", 1, 1) in progress
    out = folder.with_name("photos_upscaled")
    assert [path.name for path in out.glob("*.png")] == ["a_x2.png"]
    finished = rgt("upscale", folder, "-m", "tiny", "-s", 2, "-r")
    assert finished.returncode == 0, finished.stderr
    assert "1 upscaled, 0 failed, 1 skipped (up to date)" in finished.stderr
    outcomes.clear()
    again = upscale_folder(
        str(folder), recursive=True, model="tiny", scale=2, on_outcome=outcomes.append
    )
    assert again == outcomes
    assert [outcome.skipped for outcome in again] == ["up to date", "up to date"]
    with pytest.raises(UsageError, match="a run with different settings"):
        upscale_folder(folder, model="tiny", scale=3)


def test_automatic_models_are_resumed_after_another_use(rgt: RunRGT, folder: Path) -> None:
    upscaler = Upscaler(scale=2)
    upscaler.upscale(folder / "a.png")
    assert len(upscale_folder([folder], folder.with_name("out"), upscaler=upscaler)) == 1
    finished = rgt("upscale", folder, "-s", 2, "-o", folder.with_name("out"))
    assert "0 upscaled, 0 failed, 1 skipped (up to date)" in finished.stderr


def test_a_failure_is_an_outcome_or_ends_the_run(doubling: Upscaler, folder: Path) -> None:
    (folder / "0.png").write_text("text")
    inputs = [folder / "0.png", folder / "a.png", folder / "none.png"]
    outcomes = upscale_folder(inputs, folder / "out", upscaler=doubling)
    assert [outcome.target_size for outcome in outcomes] == [None, Dimensions(32, 24), None]
    assert isinstance(outcomes[0].error, InputError)
    with pytest.raises(InputError, match=r"0\.png: is not an image"):
        upscale_folder(inputs, folder / "other", upscaler=doubling, fail_fast=True)
    assert not list((folder / "other").glob("*.png"))


def test_an_exception_ends_a_folder_which_is_resumed(doubling: Upscaler, folder: Path) -> None:
    def stop(outcome: Outcome) -> None:
        raise KeyError(outcome.job.source.name)

    options: dict[str, Any] = {"upscaler": doubling, "recursive": True}
    with pytest.raises(KeyError, match=r"a\.png"):
        upscale_folder(folder, **options, on_outcome=stop)
    outcomes = upscale_folder(folder, **options)
    assert outcomes[0].skipped == "up to date"
    assert {outcome.error for outcome in outcomes} == {None}


def test_patterns_and_filters_select_inputs(doubling: Upscaler, folder: Path) -> None:
    def names(source: Any, **options: Any) -> list[str]:
        outcomes = upscale_folder(source, folder / "out", upscaler=doubling, overwrite=True, **options)
        return [outcome.job.source.name for outcome in outcomes]

    assert names(f"{folder}/*/*.png") == ["b.png"]
    assert names(folder, recursive=True, exclude="a*") == ["b.png"]
    assert names(folder, recursive=True, include=["a*", "c*"]) == ["a.png"]
    assert names(path for path in [folder / "a.png"]) == ["a.png"]


@pytest.mark.parametrize(
    ("function", "source", "options", "error", "words"),
    [
        (upscale_file, "none.png", {}, NoInputError, "no such file"),
        (upscale_file, "", {}, UsageError, "source: '' is not a path"),
        (upscale_file, None, {}, UsageError, "source: NoneType is not a path"),
        (upscale_file, "photos", {}, UsageError, "is a folder: use upscale_folder"),
        (upscale_file, "in.png", {"target": "in.png"}, UsageError, "is the input itself"),
        (upscale_file, "in.png", {"target": "no/out.png"}, OutputError, "no such folder"),
        (upscale_file, "in.png", {"scale": 0}, UsageError, "scale: 0 is not a factor"),
        (upscale_file, "in.png", {"model": "none"}, CheckpointError, "'none'"),
        (upscale_video, "none.mkv", {}, NoInputError, "no such file"),
        (upscale_folder, "empty", {}, NoInputError, "no images or videos found"),
        (upscale_folder, "none", {}, NoInputError, "none: no such file"),
        (upscale_folder, [], {}, NoInputError, "no input files given"),
        (upscale_folder, ["in.png", 3], {}, UsageError, "source: int is not a path"),
    ],
)
def test_errors_are_raised(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: Any,
    source: object,
    options: dict[str, Any],
    error: type[rgt_cli.RGTError],
    words: str,
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    (folder / "a.png").rename("in.png")
    with pytest.raises(error, match=words):
        function(source, **options)


def test_arguments_of_the_upscaler_are_not_given_twice(doubling: Upscaler, small_png: Path) -> None:
    with pytest.raises(UsageError, match="device, scale: use the arguments of the upscaler"):
        upscale_file(small_png, upscaler=doubling, scale=2, device="cpu")
