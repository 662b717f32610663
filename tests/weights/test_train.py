"""The recipe of the bundled checkpoints runs, resumes, and makes what the loader reads."""

import subprocess
import sys
from pathlib import Path

import torch

from rgt_cli.checkpoints.load import load_network
from tests.conftest import DATA, WEIGHTS


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
