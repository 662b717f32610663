"""`rgt upscale --report run.html` writes a page about every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import html5lib
import numpy as np
import pytest
from PIL import Image

from tests.helpers.process import RunRGT, names_in
from tests.helpers.videos import lavfi


def data_in(page: Path) -> dict[str, Any]:
    """Return what the script of a page shows; the page is parsed strictly."""
    tree = html5lib.HTMLParser(strict=True).parse(page.read_text())
    (script,) = (e for e in tree.iter() if e.get("id") == "data")
    data: dict[str, Any] = json.loads(script.text)
    return data


@pytest.fixture
def inputs(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder with images of several kinds, a video, and a file that is none of these."""
    folder = tmp_path / "in"
    folder.mkdir()
    image = Image.fromarray(photo[100:130, 150:190])
    for name in ("a #1.png", "b.webp", "c.tif"):
        image.save(folder / name)
    image.convert("CMYK").save(folder / "d.jpg")
    lavfi("-c:v", "libx264", source="color=red:size=32x24:rate=4:duration=1")(folder / "e.mkv")
    (folder / "f.png").write_bytes(b"no image")
    return folder


def test_the_page_shows_every_outcome(rgt: RunRGT, inputs: Path, micro_checkpoint: Path) -> None:
    page = inputs.parent / "pages" / "run.html"
    page.parent.mkdir()
    command = ("upscale", inputs, "-o", inputs.parent / "out", "-m", micro_checkpoint, "--report", page)
    result = rgt(*command)
    assert result.returncode == 1, result.stderr
    data = data_in(page)
    rows = {Path(row["source"]).name: row for row in data["rows"]}
    assert [row["status"] for row in rows.values()] == ["done"] * 3 + ["warned", "done", "failed"]
    assert dict(data["totals"])["Upscaled"] == 5
    assert "not an image" in rows["f.png"]["notes"][0]
    assert rows["d.jpg"]["notes"] == ["CMYK is converted to sRGB"]
    for name, row in rows.items():
        for side, kind in (("before", "source"), ("after", "target")):
            shown = row[side]
            if name == "f.png":
                assert shown == {"thumbnail": None, "src": None}
                continue
            size = tuple(row[f"{kind}Size"])
            with Image.open(page.parent / shown["thumbnail"]) as thumbnail:
                assert thumbnail.format == "JPEG"
                assert thumbnail.size == size
            source = page.parent / unquote(shown["src"])
            assert source.samefile(row[kind]) == (name in ("a #1.png", "b.webp", "d.jpg"))
            with Image.open(source) as opened:
                assert opened.size == size
    red = np.asarray(Image.open(page.parent / rows["e.mkv"]["before"]["thumbnail"]))
    np.testing.assert_allclose(red[10:-10, 10:-10], np.broadcast_to((255, 0, 0), (4, 12, 3)), atol=20)

    before = names_in(page.with_name("run_files"))
    (page.with_name("run_files") / "000099-after.jpg").touch()
    (page.with_name("run_files") / "mine.jpg").touch()
    again = rgt(*command)
    assert again.returncode == 1, again.stderr
    data = data_in(page)
    assert [row["status"] for row in data["rows"]] == ["failed"] + ["skipped"] * 5
    skipped = {Path(row["source"]).name: row for row in data["rows"]}["a #1.png"]
    assert (page.parent / unquote(skipped["after"]["src"])).samefile(skipped["target"])
    assert names_in(page.with_name("run_files")) == {"mine.jpg"} < before | {"mine.jpg"}


def test_thumbnails_never_fail_a_run(rgt: RunRGT, small_png: Path, micro_checkpoint: Path) -> None:
    folder = small_png.parent
    (folder / "run_files").write_text("in the way")
    result = rgt("upscale", small_png, "-m", micro_checkpoint, "--report", folder / "run.html")
    assert result.returncode == 0, result.stderr
    (row,) = data_in(folder / "run.html")["rows"]
    assert row["before"] == {"thumbnail": None, "src": "in.png"}
    piped = rgt(
        "upscale", "-", "-o", folder / "out.png", "-m", micro_checkpoint, "--report", folder / "in.html",
        stdin=small_png.open("rb"),
    )  # fmt: skip
    assert piped.returncode == 0, piped.stderr
    (row,) = data_in(folder / "in.html")["rows"]
    assert row["before"]["src"].startswith("in_files/"), "stdin is a copy that does not remain"


def test_a_dry_run_has_a_page_without_images(rgt: RunRGT, inputs: Path, micro_checkpoint: Path) -> None:
    page = inputs.parent / "run.html"
    result = rgt("upscale", inputs, "-m", micro_checkpoint, "--dry-run", "--report", page)
    assert result.returncode == 1, result.stderr
    rows = data_in(page)["rows"]
    assert [row["status"] for row in rows].count("planned") == 5
    assert not page.with_name("run_files").exists()
