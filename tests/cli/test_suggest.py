"""Which model `rgt models suggest` and the hint of `rgt upscale` name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from rgt_cli.checkpoints.catalogue import CatalogueEntry, for_compressed, lookup
from rgt_cli.cli.console import Console
from rgt_cli.cli.main import cli
from rgt_cli.cli.notes import better_model
from rgt_cli.errors import ExitCode, NoInputError
from rgt_cli.jobs import Job
from rgt_cli.media import format_named
from rgt_cli.size import Size
from tests.helpers.process import RunRGT
from tests.helpers.videos import ffmpeg


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with inputs of both kinds, which are 40 x 48 pixels."""
    image, other = Image.fromarray(photo[:48, :40]), Image.fromarray(photo[48:96, :40])
    for name, quality in {"strong.jpg": 75, "strong2.jpg": 60, "light.jpg": 98}.items():
        image.save(tmp_path / name, quality=quality)
    image.save(tmp_path / "animation.gif", save_all=True, append_images=[other])
    (tmp_path / "below").mkdir()
    image.save(tmp_path / "below" / "clean.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(
        cli, ["models", "suggest", *arguments], obj=Console(), standalone_mode=False
    )


def suggested(*arguments: str) -> dict[str, dict[str, Any]]:
    """Return what is suggested for each input."""
    result = call(*arguments, "--json")
    assert result.return_value == ExitCode.DONE, result.exception
    return {row["source"]: row for row in json.loads(result.stdout)["inputs"]}


def models_of(row: dict[str, Any]) -> list[str]:
    return [model["name"] for model in row["models"]]


def test_models_and_reasons_are_those_of_the_automatic_choice(folder: Path) -> None:
    found = suggested(".", "-r")
    assert {name: (row["compressed"], row["reason"]) for name, row in found.items()} == {
        "animation.gif": (False, "not a JPEG"),
        "below/clean.png": (False, "not a JPEG"),
        "light.jpg": (False, "JPEG of quality 98"),
        "strong.jpg": (True, "JPEG of quality 75"),
        "strong2.jpg": (True, "JPEG of quality 60"),
    }
    for row in found.values():
        photo, tiny = ["tiny-photo", "photo"], ["tiny", "rgt"]
        assert models_of(row) == (photo if row["compressed"] else tiny)
        assert row["source_size"] == [40, 48]
        assert row["frames"] == (2 if row["source"] == "animation.gif" else 1)
        for model in row["models"]:
            entry = lookup(model["name"], 4)
            assert isinstance(entry, CatalogueEntry)
            assert entry.seconds_per_megapixel
            megapixels = 40 * 48 * row["frames"] / 1e6
            assert model["seconds"] == pytest.approx(entry.seconds_per_megapixel * megapixels)
    assert models_of(suggested("strong.jpg", "-s", "2")["strong.jpg"]) == ["tiny-photo"]
    assert models_of(suggested("light.jpg", "-s", "2")["light.jpg"]) == ["tiny", "rgt"]


def test_the_bits_of_a_pixel_decide_for_videos(folder: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=256x160:duration=2", "-c:v", "libx264"]
    for crf in (5, 45):
        ffmpeg(*source, "-crf", str(crf), "-pix_fmt", "yuv420p", folder / f"{crf}.mp4")
    found = suggested("5.mp4", "45.mp4")
    assert [(row["compressed"], row["frames"]) for row in found.values()] == [(False, 50), (True, 50)]
    assert all("bits per pixel" in row["reason"] for row in found.values())


def test_the_table_has_a_line_for_each_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = call("strong.jpg", "animation.gif")
    lines = [line for line in result.stdout.splitlines() if line.strip()][2:]
    assert [line.split()[0] for line in lines] == ["strong.jpg", "animation.gif"]
    assert "compressed: JPEG of quality 75" in lines[0]
    assert "tiny-photo, 0:00:01" in lines[0]
    assert "40 x 48, 2 frames" in lines[1]


def test_inputs_that_cannot_be_read_are_reported_and_the_others_are_listed(folder: Path) -> None:
    (folder / "cut.jpg").write_bytes((folder / "strong.jpg").read_bytes()[:100])
    (folder / "cut.mp4").write_text("text")
    result = call("cut.jpg", "cut.mp4", "missing.png", "strong.jpg", "--json")
    assert result.return_value == ExitCode.SOME_FAILED
    assert [row["source"] for row in json.loads(result.stdout)["inputs"]] == ["strong.jpg"]
    for name in ("cut.jpg", "cut.mp4", "missing.png"):
        assert f"rgt: error: {name}: " in result.stderr


def test_without_inputs_there_is_nothing_to_suggest(folder: Path) -> None:
    assert isinstance(call().exception, NoInputError)
    (folder / "empty").mkdir()
    assert isinstance(call("empty").exception, NoInputError)


@pytest.mark.parametrize(
    ("model", "better"),
    [
        ("tiny-x2", "rgt-tiny-photo-x2"), ("tiny-x3", "rgt-tiny-photo-x4"),
        ("tiny-x4", "rgt-tiny-photo-x4"), ("rgt-x2", "rgt-tiny-photo-x2"),
        ("rgt-s-x3", "realwebphoto-v2-s-x4"), ("rgt-x4", "realwebphoto-x4"),
        ("photo", None), ("general", None), ("texture", None),
    ],
)  # fmt: skip
def test_a_model_for_clean_images_has_a_counterpart(model: str, better: str | None) -> None:
    entry = lookup(model, None)
    assert isinstance(entry, CatalogueEntry)
    found = for_compressed(entry)
    assert (found.name if found else None) == better


def hint_for(model: str, *names: str) -> str:
    jobs = [Job(Path(name), Path("out.png"), format_named("png")) for name in names]
    return better_model(jobs, model, Size(scale=4))


def test_the_hint_names_the_inputs_and_the_model(folder: Path) -> None:
    one = hint_for("rgt", "strong.jpg", "light.jpg")
    assert one.startswith("strong.jpg (JPEG of quality 75) is compressed")
    assert "-m photo " in one
    many = hint_for("tiny", "light.jpg", "strong.jpg", "strong2.jpg", "strong.jpg")
    assert many.startswith("strong.jpg (JPEG of quality 75) and 2 other inputs are compressed")
    assert "-m tiny-photo " in many
    assert hint_for("tiny", "light.jpg", "below/clean.png") == ""
    for model in ("auto", "auto-photo", "photo", "general", "own.pth"):
        (folder / "own.pth").touch()
        assert hint_for(model, "strong.jpg") == ""


def test_a_run_prints_the_hint_once(rgt: RunRGT, folder: Path) -> None:
    line = "strong.jpg (JPEG of quality 75) and 1 other input are compressed"
    for more, count in ((["--dry-run"], 1), (["--dry-run", "-q"], 0), ([], 1)):
        arguments = ("strong.jpg", "strong2.jpg", "-m", "tiny", "-s", 2, "-o", "out")
        result = rgt("upscale", *arguments, *more, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(line) == count
