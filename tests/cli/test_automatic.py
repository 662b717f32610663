"""The model that is chosen for each input when none is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.process import RunRGT
from tests.helpers.report import read_events
from tests.helpers.videos import ffmpeg

INPUTS = {"strong.jpg": 75, "light.jpg": 98, "clean.png": 100}
"""File name -> quality, which PNG ignores."""
CHOSEN = {"strong.jpg": "tiny-photo", "light.jpg": "tiny", "clean.png": "tiny"}


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    image = Image.fromarray(photo[:48, :40])
    for name, quality in INPUTS.items():
        image.save(tmp_path / name, quality=quality)
    return tmp_path


def test_a_folder_is_upscaled_by_the_model_for_each_file(rgt: RunRGT, folder: Path) -> None:
    result = rgt("upscale", ".", "-o", "out", "-s", 2, "--format", "png", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    events = read_events(result.stdout)
    models = {event["source"]: event["model"] for event in events if event["event"] == "done"}
    assert models == {name: f"rgt-{model}-x2" for name, model in CHOSEN.items()}
    lines = [line for line in result.stderr.splitlines() if line.startswith("using the model")]
    assert sorted(lines) == [
        "using the model rgt-tiny-photo-x2 for strong.jpg (JPEG of quality 75)",
        "using the model rgt-tiny-x2 for clean.png (not a JPEG)",
    ]
    for name, model in CHOSEN.items():
        named = f"{Path(name).stem}.png"
        assert (
            rgt("upscale", name, "-m", model, "-s", 2, "-o", named + ".png", cwd=folder).returncode == 0
        )
        expected = (folder / f"{named}.png").read_bytes()
        assert (folder / "out" / f"{Path(name).stem}_x2.png").read_bytes() == expected


def test_a_named_model_is_used_for_everything(rgt: RunRGT, folder: Path) -> None:
    result = rgt("upscale", "strong.jpg", "-m", "tiny", "-s", 2, cwd=folder)
    assert "strong_x2.jpg: 80 x 96, rgt-tiny-x2" in result.stderr
    assert "using the model" not in result.stderr


@pytest.mark.parametrize("name", ["text.txt", "cut.jpg", "cut.mp4"])
def test_no_model_is_announced_for_what_cannot_be_read(rgt: RunRGT, folder: Path, name: str) -> None:
    content = (folder / "strong.jpg").read_bytes()[:100] if name == "cut.jpg" else b"text"
    (folder / name).write_bytes(content)
    result = rgt("upscale", name, cwd=folder)
    assert result.returncode == 1
    assert result.stderr.startswith(f"rgt: error: {name}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("crf", "model"), [(45, "tiny-photo"), (5, "tiny")])
def test_a_video_is_upscaled_by_the_model_for_its_bitrate(
    rgt: RunRGT, tmp_path: Path, crf: int, model: str
) -> None:
    arguments = ["-f", "lavfi", "-i", "testsrc2=size=256x160:duration=2", "-c:v", "libx264"]
    ffmpeg(*arguments, "-crf", str(crf), "-pix_fmt", "yuv420p", tmp_path / "in.mp4")
    result = rgt("upscale", "in.mp4", "-s", 2, "--end", 0.1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"using the model rgt-{model}-x2 for in.mp4 (h264 with " in result.stderr


def test_a_run_resumes_with_both_models(rgt: RunRGT, folder: Path) -> None:
    for done in (3, 0):
        result = rgt("upscale", ".", "-o", "out", "-s", 2, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert f"{done} upscaled" in result.stderr


@pytest.mark.parametrize("option", [["--dry-run"], ["--preview", "1"]])
def test_previews_of_a_video_use_the_model_for_it(
    rgt: RunRGT, tmp_path: Path, option: list[str]
) -> None:
    arguments = ["-f", "lavfi", "-i", "testsrc2=size=32x24:rate=4:duration=1", "-c:v", "libx264"]
    ffmpeg(*arguments, "-crf", "5", "-pix_fmt", "yuv420p", tmp_path / "in.mp4")
    result = rgt("upscale", "in.mp4", "-s", 2, *option, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "using the model rgt-tiny-x2 for in.mp4 (h264 with " in result.stderr
