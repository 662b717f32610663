"""The recipe of the bundled checkpoints runs, resumes, and writes what the loader reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from rgt_cli.checkpoints.catalogue import catalogue
from rgt_cli.checkpoints.load import load_network
from tests.helpers import DATA, WEIGHTS

TINY_X2 = WEIGHTS / "rgt-tiny-x2.safetensors"


def run(script: str, *arguments: object) -> str:
    """Run a script of the recipe and return what it prints."""
    command = map(str, [sys.executable, WEIGHTS / script, *arguments])
    return subprocess.run([*command], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 20 drawn images, one of which is held out in training."""
    folder = tmp_path_factory.mktemp("drawn")
    run("draw.py", folder, "--count", 20)
    return folder


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an x2 checkpoint for photos after two steps of training."""
    out = tmp_path_factory.mktemp("trained") / "out.safetensors"
    options = ("--scale", 2, "--steps", 2, "--mse-steps", 1, "--photo", "--drawn", drawn)
    printed = run("train.py", drawn, *options, "--init", TINY_X2, "--out", out)
    assert "dB on held-out images" in printed
    return out


def test_drawn_images_have_contrast(drawn: Path) -> None:
    images = [np.asarray(Image.open(path)) for path in sorted(drawn.iterdir())]
    assert len(images) == 20
    assert {image.shape for image in images} == {(384, 384, 3)}
    assert all(image.std() > 5 for image in images)


def test_curve_is_written_and_drawn(trained: Path) -> None:
    step, loss, psnr = trained.with_suffix(".csv").read_text().strip().split(",")
    assert int(step) == 2
    assert 0 < float(loss) < 0.2
    assert 10 < float(psnr) < 40
    assert "<polyline" in run("curves.py", trained.with_suffix(".csv"))


def test_blend_has_the_mean_weights(trained: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    run("blend.py", TINY_X2, trained, "--share", 0.5, "--out", half)
    first, blended, second = (load_network(p).conv_first.weight for p in (TINY_X2, half, trained))
    assert not torch.equal(first, second)
    torch.testing.assert_close(blended, (first + second) / 2, rtol=1e-3, atol=1e-4)


def test_crops_are_shown_side_by_side(trained: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    run("crops.py", DATA / "cat.png", "--scale", 2, "--model", trained, "--jpeg", 60, "-o", sheet)
    with Image.open(sheet) as image:
        assert image.width > 4 * 2 * 96
        assert image.height > 2 * 96


def test_a_killed_run_resumes(tmp_path: Path) -> None:
    """As on a GPU: patches are drawn by other processes, in bf16, with a limit of time."""
    init = WEIGHTS / "rgt-tiny-x4.safetensors"
    images, out = tmp_path / "images", tmp_path / "out.safetensors"
    images.mkdir()
    (images / "cat.png").write_bytes((DATA / "cat.png").read_bytes())
    options = [images, "--scale", 2, "--init", init, "--out", out, "--photo"]
    options += ["--batch-size", 2, "--precision", "bf16", "--save-interval", 1]
    command = [sys.executable, WEIGHTS / "train.py", *options, "--minutes", 60, "--workers", 1]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert lines[0] == "1 images, 293808 parameters, cpu in bf16\n"
    assert [line.split(":")[0] for line in lines[1:]] == ["step 1", "step 2"]
    assert not psutil.wait_procs(workers, timeout=30)[1], "they end with the process that started them"

    state = torch.load(out.with_suffix(".state"), weights_only=True)
    assert 0 < state["seconds"] < 3600
    first = load_network(out).conv_first.weight
    steps = state["step"] + 1
    resumed = run("train.py", *options, "--steps", steps).splitlines()
    assert [line.split(":")[0] for line in resumed[1:]] == [f"step {steps}"]
    network = load_network(out)
    assert network.config.upscale == 2
    change = (first - load_network(init).conv_first.weight).abs().max()
    assert 0 < change < 0.01, "training starts from the given body and changes it"
    assert not torch.equal(first, network.conv_first.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out.safetensors", "out.state"]


def test_license_of_each_training_image_is_listed() -> None:
    header, *rows = (WEIGHTS / "CREDITS.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["crops", "license", "attribution", "source"]
    crops, licenses, *_ = zip(*(row.split("\t") for row in rows), strict=True)
    assert sum(map(int, crops)) == 344
    assert all(licenses)


def test_model_card_lists_the_hashes_of_the_catalogue() -> None:
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    bundled = [entry for entry in catalogue().values() if entry.bundled]
    assert bundled
    for entry in bundled:
        assert f"| `{entry.name}` | `{entry.sha256}` |" in card
