"""The recipe of the bundled checkpoints runs, resumes, and makes what the loader reads."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rgt_cli.checkpoints.load import load_network
from tests.conftest import DATA, WEIGHTS


def run(script: str, *arguments: object) -> str:
    command = map(str, [sys.executable, WEIGHTS / script, *arguments])
    return subprocess.run([*command], check=True, capture_output=True, text=True).stdout


def test_train_a_photo_model_and_show_it(tmp_path: Path) -> None:
    """On drawn pictures, of which one is held out; the curve and the crops can be drawn."""
    drawn, out = tmp_path / "drawn", tmp_path / "out.safetensors"
    run("draw.py", drawn, "--count", 20)
    pictures = [np.asarray(Image.open(path)) for path in sorted(drawn.iterdir())]
    assert {picture.shape for picture in pictures} == {(384, 384, 3)}
    assert all(picture.std() > 5 for picture in pictures)
    init = ("--init", WEIGHTS / "rgt-tiny-x2.safetensors")
    shown = run("train.py", drawn, "--scale", 2, "--steps", 2, "--mse-steps", 1, "--out", out,
                "--photo", "--drawn", drawn, *init)  # fmt: skip
    assert "dB on held-out pictures" in shown
    step, loss, psnr = out.with_suffix(".csv").read_text().strip().split(",")
    assert int(step) == 2
    assert 0 < float(loss) < 0.2
    assert 10 < float(psnr) < 40
    assert "<polyline" in run("curves.py", out.with_suffix(".csv"))
    half = tmp_path / "half.safetensors"
    run("blend.py", init[1], out, "--share", 0.5, "--out", half)
    ends = [load_network(path).conv_first.weight for path in (init[1], half, out)]
    torch.testing.assert_close(ends[1], (ends[0] + ends[2]) / 2, rtol=1e-3, atol=1e-4)
    run(
        "crops.py",
        DATA / "cat.png",
        "--scale",
        2,
        "--model",
        out,
        "--jpeg",
        60,
        "-o",
        tmp_path / "a.png",
    )
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width > 4 * 96


def test_train_and_resume(tmp_path: Path) -> None:
    init = WEIGHTS / "rgt-tiny-x4.safetensors"
    pictures, out = tmp_path / "pictures", tmp_path / "out.safetensors"
    pictures.mkdir()
    (pictures / "cat.png").write_bytes((DATA / "cat.png").read_bytes())

    def train(steps: int) -> dict[str, torch.Tensor]:
        command = [sys.executable, WEIGHTS / "train.py", pictures, "--scale", "2", "--out", out]
        shown = subprocess.run(
            [*map(str, command), "--steps", str(steps), "--init", str(init)],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert shown.startswith("1 pictures")
        assert f"step {steps}: loss" in shown
        return load_network(out).state_dict()

    first = train(1)
    assert torch.load(out.with_suffix(".state"), weights_only=True)["step"] == 1
    second = train(2)
    assert load_network(out).config.upscale == 2
    body = load_network(init).state_dict()["conv_first.weight"]
    change = (first["conv_first.weight"] - body).abs().max()
    assert 0 < change < 0.01, "started from the given body, and moved"
    assert not torch.equal(first["conv_first.weight"], second["conv_first.weight"])
