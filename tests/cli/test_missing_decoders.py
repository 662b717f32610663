"""Without the extra `formats`, HEIF and JPEG XL images are recognized, and fail alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rgt_cli.media import Encoding, ImageSequence, Picture, format_of, write_images
from rgt_cli.media.formats import ImageFormat
from tests.helpers.process import RunRGT, names_in
from tests.helpers.report import read_report

PIP = 'run pip install "rgt-cli[formats]"'


@pytest.fixture
def without_plugins(tmp_path: Path) -> dict[str, Any]:
    """Return the options of a process that cannot import the packages of the extra `formats`."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    lines = [f"sys.modules['{name}'] = None\n" for name in ("pillow_heif", "pillow_jxl")]
    (hidden / "sitecustomize.py").write_text("import sys\n" + "".join(lines))
    return {"env": os.environ | {"PYTHONPATH": str(hidden)}}


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """Return a folder with images of several formats, and a JPEG that is called HEIC."""
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = Picture(np.ascontiguousarray(photo[:16, :20]))
    for name in ("a.heic", "b.heic", "c.jxl", "d.png"):
        path = folder / name
        file_format = format_of(path)
        assert isinstance(file_format, ImageFormat)
        write_images(ImageSequence([picture]), path, file_format, Encoding())
    Image.fromarray(picture.pixels).save(folder / "jpeg.heic", "JPEG")
    return folder


def test_only_images_without_a_decoder_fail(
    rgt: RunRGT, folder: Path, tmp_path: Path, micro_checkpoint: Path, without_plugins: dict[str, Any]
) -> None:
    arguments = ("upscale", folder, "-m", micro_checkpoint, "--report", tmp_path / "run.json")
    result = rgt(*arguments, **without_plugins)
    assert result.returncode == 1, result.stderr
    outcomes = {Path(f["source"]).name: f for f in read_report(tmp_path / "run.json")["files"]}
    assert {name for name, file in outcomes.items() if file["error"]} == {"a.heic", "b.heic", "c.jxl"}
    for name, kind in (("a.heic", "HEIF"), ("c.jxl", "JXL")):
        assert f"{kind} images need a decoder that is not installed: {PIP}" in outcomes[name]["error"]
    assert Path(outcomes["jpeg.heic"]["target"]).name == "jpeg_x2.jpg"
    assert {"d_x2.png", "jpeg_x2.jpg"} <= names_in(tmp_path / "photos_upscaled")
    warning = "3 of 5 inputs are HEIF and JXL images"
    (line,) = [line for line in result.stderr.splitlines() if warning in line]
    assert PIP in line
    assert "outputs of .heic, .heif, .hif and .jxl files are JPEG" in line


def test_one_image_without_a_decoder(
    rgt: RunRGT, folder: Path, micro_checkpoint: Path, without_plugins: dict[str, Any]
) -> None:
    before = names_in(folder)
    result = rgt("upscale", folder / "a.heic", "-m", micro_checkpoint, **without_plugins)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("rgt: error: ")
    assert PIP in line
    result = rgt("upscale", folder / "d.png", "--format", "heic", **without_plugins)
    assert result.returncode == 2
    assert PIP in result.stderr
    assert names_in(folder) == before


def test_all_decoders_are_there(
    rgt: RunRGT, folder: Path, micro_checkpoint: Path, tmp_path: Path
) -> None:
    result = rgt("upscale", folder, "-m", micro_checkpoint, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "installed" not in result.stderr
    names = {"a_x2.heic", "b_x2.heic", "c_x2.jxl", "d_x2.png", "jpeg_x2.heic", ".rgt-journal.jsonl"}
    assert names_in(tmp_path / "out") == names
