"""`rgt evaluate` scores what it is given."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgt_cli.measure import bicubic_resize, compressed
from tests.conftest import RunRGT


@pytest.fixture
def benchmark(tmp_path: Path, photo: np.ndarray) -> Path:
    """A benchmark called Set5, of one gray picture and one in color, with their reductions."""
    for at, picture in enumerate((photo[60:156, 100:220], photo[100:180, 200:290, 1])):
        for folder in ("HR", "LR"):
            (tmp_path / "Set5" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / f"Set5/HR/{at}.png")
        small = bicubic_resize(picture, 1 / 2)
        Image.fromarray(small).save(tmp_path / f"Set5/LR/{at}x2.png")
    return tmp_path / "Set5"


def means(shown: str) -> dict[str, dict]:
    return {mean["method"]: mean for mean in json.loads(shown)["means"]}


def test_model_beside_the_baselines(rgt: RunRGT, benchmark: Path, tmp_path: Path) -> None:
    command = ("evaluate", "--hr", benchmark / "HR", "-s", "2", "-m", "tiny")
    result = rgt(*command, "--json", "--vmaf", "--csv", tmp_path / "out.csv")
    assert result.returncode == 0, result.stderr
    by = means(result.stdout)
    assert by["rgt-tiny-x2"]["psnr"] > by["lanczos"]["psnr"] > by["bicubic"]["psnr"] > 25
    assert by["rgt-tiny-x2"]["ssim"] > by["bicubic"]["ssim"] > 0.7
    assert 50 < by["bicubic"]["vmaf"] < by["rgt-tiny-x2"]["vmaf"] <= 100
    assert {mean["benchmark"] for mean in by.values()} == {"Set5"}
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {row["picture"] for row in rows} == {"0.png", "1.png"}
    given = rgt(*command, "--lr", benchmark / "LR", "--json")
    assert means(given.stdout)["bicubic"]["psnr"] == by["bicubic"]["psnr"]


def test_several_models_and_the_paper(
    rgt: RunRGT, benchmark: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    shown = rgt(
        "evaluate", "--hr", benchmark / "HR", "--hr", benchmark / "HR", "-s", "2", "--images",
        "--compare", f"tiny,{micro_checkpoint}", "--self-ensemble",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    for word in ("bicubic", "lanczos", "rgt-tiny-x2 +", "micro", "Set5 x2", "0.png"):
        assert word in shown.stdout


def test_compressed_inputs(rgt: RunRGT, benchmark: Path, tmp_path: Path) -> None:
    """The same as giving the compressed reductions; the paper has no word on them."""
    given = tmp_path / "given"
    given.mkdir()
    for path in (benchmark / "LR").iterdir():
        small = compressed(np.asarray(Image.open(path)), 60)
        Image.fromarray(small).save(given / path.name)
    command = ("evaluate", "--hr", benchmark / "HR", "-s", "2", "-m", "tiny")
    made = rgt(*command, "--jpeg", "60", "--json")
    assert made.returncode == 0, made.stderr
    by = means(made.stdout)
    other = means(rgt(*command, "--lr", given, "--json").stdout)
    assert {name: mean["psnr"] for name, mean in by.items()} == {
        name: mean["psnr"] for name, mean in other.items()
    }
    assert "Set5 x2, JPEG 60" in rgt(*command, "--jpeg", "60").stdout


def test_misuse(rgt: RunRGT, benchmark: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert rgt("evaluate", "--hr", empty).returncode == 3
    missing = rgt("evaluate", "--hr", benchmark / "HR", "--lr", empty, "-s", "2")
    assert missing.returncode == 3
    assert "0x2.png" in missing.stderr
    wrong = rgt("evaluate", "--hr", benchmark / "HR", "--lr", benchmark / "HR", "-s", "2")
    assert wrong.returncode == 1
    assert "is not the x2 reduction" in wrong.stderr
    (benchmark / "HR" / "2.png").write_text("no picture")
    assert rgt("evaluate", "--hr", benchmark / "HR", "-s", "2").returncode == 1
