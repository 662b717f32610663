"""`rgt evaluate` measures what it is given."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rgt_cli.measure import bicubic_resize, jpeg_roundtrip, luma, psnr
from tests.helpers.process import RunRGT


@pytest.fixture
def dataset(tmp_path: Path, photo: np.ndarray) -> Path:
    """A dataset called Set5, of a gray image and one in color, with low-resolution inputs."""
    for index, image in enumerate((photo[60:156, 100:220], photo[100:180, 200:290, 1])):
        for folder in ("HR", "LR"):
            (tmp_path / "Set5" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"Set5/HR/{index}.png")
        small = bicubic_resize(image, 1 / 2)
        Image.fromarray(small).save(tmp_path / f"Set5/LR/{index}x2.png")
    return tmp_path / "Set5"


def means(stdout: str) -> dict[str, dict[str, Any]]:
    return {mean["method"]: mean for mean in json.loads(stdout)["means"]}


def test_a_model_beside_the_baselines(rgt: RunRGT, dataset: Path, tmp_path: Path) -> None:
    command = ("evaluate", "--hr", dataset / "HR", "-s", "2", "-m", "tiny")
    result = rgt(*command, "--json", "--vmaf", "--csv", tmp_path / "out.csv")
    assert result.returncode == 0, result.stderr
    by = means(result.stdout)
    assert by["rgt-tiny-x2"]["psnr"] > by["lanczos"]["psnr"] > by["bicubic"]["psnr"] > 25
    assert by["rgt-tiny-x2"]["ssim"] > by["bicubic"]["ssim"] > 0.7
    assert 50 < by["bicubic"]["vmaf"] < by["rgt-tiny-x2"]["vmaf"] <= 100
    assert {mean["dataset"] for mean in by.values()} == {"Set5"}
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {row["image"] for row in rows} == {"0.png", "1.png"}
    given = rgt(*command, "--lr", dataset / "LR", "--json")
    assert means(given.stdout)["bicubic"]["psnr"] == by["bicubic"]["psnr"]


def test_results_are_saved(rgt: RunRGT, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = rgt("evaluate", dataset / "HR", "-s", "2", "-m", "tiny", "--save-images", out, "--json")
    assert result.returncode == 0, result.stderr
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == {
        f"Set5/{method}/{image}.png"
        for method in ("bicubic", "lanczos", "rgt-tiny-x2")
        for image in (0, 1)
    }
    saved = np.asarray(Image.open(out / "Set5/rgt-tiny-x2/1.png"))
    truth = np.asarray(Image.open(dataset / "HR/1.png"))
    (score,) = [r for r in json.loads(result.stdout)["images"]
                if (r["method"], r["image"]) == ("rgt-tiny-x2", "1.png")]  # fmt: skip
    ours, original = (luma(image)[2:-2, 2:-2] for image in (saved, truth))
    assert psnr(ours, original) == pytest.approx(score["scores"]["psnr"])


def test_inputs_for_another_factor_are_named(rgt: RunRGT, dataset: Path) -> None:
    for index in (0, 1):
        shutil.copy(dataset / f"LR/{index}x2.png", dataset / f"LR/{index}x3.png")
    wrong_size = rgt("evaluate", dataset / "HR", "--lr", dataset / "LR", "-s", "3", "-m", "tiny")
    assert wrong_size.returncode == 1
    assert wrong_size.stderr.rstrip().endswith("use -s 2")
    other_name = rgt("evaluate", dataset / "HR", "--lr", dataset / "LR", "-s", "4", "-m", "tiny")
    assert other_name.returncode == 3
    assert "for -s 2" in other_name.stderr


def test_several_models(rgt: RunRGT, dataset: Path, micro_checkpoint: Path) -> None:
    result = rgt(
        "evaluate", dataset / "HR", "--hr", dataset / "HR", "-s", "2", "--images",
        "-m", "tiny", "--compare", micro_checkpoint, "--self-ensemble",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for word in ("bicubic", "lanczos", "rgt-tiny-x2 +", "micro", "Set5 x2", "0.png"):
        assert word in result.stdout


def test_the_paper_beside_a_published_model(
    rgt: RunRGT, dataset: Path, micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that the catalogue calls RGT has the scores of the paper in a row of its own."""
    entry = {
        "short": "own", "variant": "RGT", "scale": 2, "purpose": "bicubic", "description": "",
        "author": "", "license": "", "bundled": str(micro_checkpoint), "sha256": "0" * 64,
    }  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    (tmp_path / "own.toml").write_text("\n".join(["[own-x2]", *lines]))
    monkeypatch.setenv("RGT_CATALOGUE", str(tmp_path / "own.toml"))
    command = ("evaluate", "--hr", dataset / "HR", "-s", "2", "-m", "own")
    by = means(rgt(*command, "--json").stdout)
    assert by["own-x2"]["paper"] == {"psnr": 38.59, "ssim": 0.9628}
    assert by["bicubic"]["paper"] is None
    table = rgt(*command).stdout
    assert "RGT in the paper" in table
    assert "38.59" in table
    assert means(rgt(*command, "--self-ensemble", "--json").stdout)["own-x2 +"]["paper"]["psnr"] > 38.59
    assert means(rgt(*command, "--jpeg", "60", "--json").stdout)["own-x2"]["paper"] is None
    shutil.copytree(dataset, tmp_path / "Other")
    other = rgt("evaluate", "--hr", tmp_path / "Other" / "HR", "-s", "2", "-m", "own", "--json")
    assert means(other.stdout)["own-x2"]["paper"] is None


def test_compressed_inputs(rgt: RunRGT, dataset: Path, tmp_path: Path) -> None:
    """`--jpeg` gives the scores of inputs that were compressed beforehand."""
    given = tmp_path / "given"
    given.mkdir()
    for path in (dataset / "LR").iterdir():
        small = jpeg_roundtrip(np.asarray(Image.open(path)), 60)
        Image.fromarray(small).save(given / path.name)
    command = ("evaluate", "--hr", dataset / "HR", "-s", "2", "-m", "tiny")
    made = rgt(*command, "--jpeg", "60", "--json")
    assert made.returncode == 0, made.stderr
    by = means(made.stdout)
    other = means(rgt(*command, "--lr", given, "--json").stdout)
    assert {name: mean["psnr"] for name, mean in by.items()} == {
        name: mean["psnr"] for name, mean in other.items()
    }
    table = rgt(*command, "--jpeg", "60").stdout
    assert "JPEG 60" in table
    assert "VMAF" not in table, "it was not measured"


def test_misuse(rgt: RunRGT, dataset: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert rgt("evaluate", empty).returncode == 3
    parent = rgt("evaluate", "Set5", cwd=dataset.parent)
    assert parent.stderr == "rgt: error: Set5: contains no PNG images; did you mean Set5/HR?\n"
    parent = rgt("evaluate", "Set5/HR", "--lr", "Set5", "-s", "2", cwd=dataset.parent)
    assert parent.stderr.endswith("nor 0x2.png; did you mean Set5/LR?\n")
    nothing = rgt("evaluate", "nothing")
    assert (nothing.returncode, nothing.stderr) == (3, "rgt: error: nothing: no such folder\n")
    unwritable = rgt("evaluate", dataset / "HR", "-s", "2", "--csv", tmp_path / "none" / "out.csv")
    assert unwritable.returncode == 6, "before anything is measured"
    unnamed = rgt("evaluate", dataset / "HR", "-s", "2", "-m", "nonesuch", "--compare", " , ")
    assert "'nonesuch' is neither" in unnamed.stderr
    assert rgt("evaluate").returncode == 3
    missing = rgt("evaluate", "--hr", dataset / "HR", "--lr", empty, "-s", "2")
    assert missing.returncode == 3
    assert "0x2.png" in missing.stderr
    wrong = rgt("evaluate", "--hr", dataset / "HR", "--lr", dataset / "HR", "-s", "2")
    assert wrong.returncode == 1
    assert "0.png: its size is not 1/2 of that of" in wrong.stderr
    uneven = rgt("evaluate", "--hr", dataset / "HR", "--lr", dataset / "LR", "--lr", dataset / "LR")
    assert uneven.returncode == 2
    (dataset / "HR" / "2.png").write_text("not an image")
    assert rgt("evaluate", "--hr", dataset / "HR", "-s", "2").returncode == 1
