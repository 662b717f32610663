"""`rgt compare` writes pages and contact sheets of what it is given."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from PIL import Image

from rgt_cli.measure import bicubic_resize, psnr_luma
from tests.helpers.process import RunRGT, names_in
from tests.helpers.videos import lavfi

MICRO = "micro.safetensors"


def scenes_in(page: Path) -> list[dict[str, Any]]:
    """Return what the script of a page shows; the page is parsed strictly."""
    tree = html5lib.HTMLParser(strict=True).parse(page.read_text())
    (script,) = (e for e in tree.iter() if e.get("id") == "data")
    scenes: list[dict[str, Any]] = json.loads(script.text)["scenes"]
    return scenes


def pixels_of(page: Path, view: dict[str, Any]) -> np.ndarray:
    """Return the image of a view, from beside the page or from inside of it."""
    source = view["src"]
    if source.startswith("data:"):
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    return np.asarray(Image.open(page.parent / source))


def test_a_page_with_its_images_beside_it(
    rgt: RunRGT, small_png: Path, micro_checkpoint: Path, photo: np.ndarray
) -> None:
    result = rgt("compare", small_png, "-m", f"tiny,{micro_checkpoint}", "-s", "2")
    assert result.returncode == 0, result.stderr
    page = small_png.with_name("in_compare.html")
    (scene,) = scenes_in(page)
    views = {view["name"]: view for view in scene["views"]}
    assert list(views) == ["input, nearest", "input, bicubic", "input, Lanczos", "rgt-tiny-x2", MICRO]
    assert (scene["width"], scene["height"]) == (80, 60)
    assert views["rgt-tiny-x2"]["facts"]["seconds"] > 0
    np.testing.assert_array_equal(pixels_of(page, views["input, nearest"]), photo[100:130, 150:190])
    upscaled = rgt("upscale", small_png, "-m", "tiny", "-s", "2", "-o", small_png.with_name("out.png"))
    assert upscaled.returncode == 0
    expected = np.asarray(Image.open(small_png.with_name("out.png")))
    np.testing.assert_array_equal(pixels_of(page, views["rgt-tiny-x2"]), expected)
    assert len(names_in(small_png.with_name("in_compare_files"))) == 5

    again = rgt("compare", small_png, "-m", "tiny", "-s", "2")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    (small_png.parent / "in_compare_files" / "notes.png").touch()
    again = rgt("compare", small_png, "-m", "tiny", "-s", "2", "--overwrite")
    assert again.returncode == 0
    assert len(names_in(small_png.with_name("in_compare_files"))) == 5, "4 images and notes.png"


def test_a_standalone_page_of_a_part_with_its_truth(
    rgt: RunRGT, tmp_path: Path, micro_checkpoint: Path, photo: np.ndarray
) -> None:
    truth = photo[60:161, 100:221]  # one row and column more than the results
    low = bicubic_resize(truth[:100, :120], 1 / 2)
    Image.fromarray(truth).save(tmp_path / "high.png")
    Image.fromarray(low).save(tmp_path / "low.png")
    page = tmp_path / "out.html"
    command = ("compare", tmp_path / "low.png", "-m", micro_checkpoint, "--hr", tmp_path / "high.png")
    result = rgt(*command, "--crop", "10,5,30,25", "--standalone", "-o", page)
    assert result.returncode == 0, result.stderr
    assert not page.with_name("out_files").exists()
    (scene,) = scenes_in(page)
    views = {view["name"]: view for view in scene["views"]}
    np.testing.assert_array_equal(pixels_of(page, views["ground truth"]), truth[10:60, 20:80])
    np.testing.assert_array_equal(pixels_of(page, views["input, nearest"]), low[5:30, 10:40])
    for name in ("input, bicubic", MICRO):
        score = psnr_luma(pixels_of(page, views[name]), truth[10:60, 20:80], 2)
        assert views[name]["facts"]["psnr"] == pytest.approx(score)
    assert views["input, bicubic"]["facts"]["ssim"] > views["input, nearest"]["facts"]["ssim"]
    wrong = rgt(*command, "-s", "1.5", "-o", tmp_path / "wrong.html")
    assert wrong.returncode == 1
    assert not (tmp_path / "wrong.html").exists()


def test_names_of_files_are_texts_and_addresses(
    rgt: RunRGT, small_png: Path, micro_checkpoint: Path
) -> None:
    model = micro_checkpoint.rename(micro_checkpoint.with_name("<b> &amp; 100%.safetensors"))
    name = os.fsdecode(b"</script><script>alert(1)</script> #? \xff.png".replace(b"/", b":"))
    source = small_png.rename(small_png.with_name(name))
    result = rgt("compare", source, "-m", f"{model},{model},{model}", "-o", small_png.parent)
    assert result.returncode == 0, result.stderr
    (page,) = source.parent.glob("*_compare.html")
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page.read_text())
    assert len(list(tree.iter("script"))) == 2
    assert next(tree.iter("h1")).text == name.replace("\udcff", r"\xff")
    (scene,) = scenes_in(page)
    names = [view["name"] for view in scene["views"][3:]]
    assert names == [model.name, f"{model.name} (2)", f"{model.name} (3)"]
    folder = names_in(page.with_name(f"{page.stem}_files"))
    assert all(re.fullmatch(r"[a-z0-9.-]+", each) for each in folder)


def test_frames_of_a_video(rgt: RunRGT, tmp_path: Path, micro_checkpoint: Path) -> None:
    clip = tmp_path / "clip.mkv"
    source = "testsrc2=size=32x24:rate=4:duration=3"
    lavfi("-vf", "setsar=3/2", "-c:v", "ffv1", source=source)(clip)
    result = rgt("compare", clip, "-m", micro_checkpoint, "--at", "0:01", "--at", "1.9")
    assert result.returncode == 0, result.stderr
    page = tmp_path / "clip_compare.html"
    one, other = scenes_in(page)
    assert [one["title"], other["title"]] == ["0:00:01", "0:00:01.90"]
    assert (one["width"], one["height"]) == (96, 48), "as players show it"
    preview = rgt("upscale", clip, "-m", micro_checkpoint, "--start", "1.9", "-o", tmp_path / "%d.png")
    assert preview.returncode == 0, preview.stderr
    np.testing.assert_array_equal(
        pixels_of(page, other["views"][-1]), np.asarray(Image.open(tmp_path / "1.png"))
    )
    late = rgt("compare", clip, "-m", micro_checkpoint, "--at", "9", "--overwrite")
    assert late.returncode == 1
    assert "3.00 s" in late.stderr


def test_a_contact_sheet(rgt: RunRGT, small_png: Path, micro_checkpoint: Path) -> None:
    sheet = small_png.with_name("sheet.png")
    result = rgt("compare", small_png, "-m", ",".join(3 * [str(micro_checkpoint)]), "-o", sheet)
    assert result.returncode == 0, result.stderr
    array = np.asarray(Image.open(sheet))
    ours = small_png.with_name("out.png")
    assert rgt("upscale", small_png, "-m", micro_checkpoint, "-o", ours).returncode == 0
    windows = np.lib.stride_tricks.sliding_window_view(array, (60, 80, 3))[:, :, 0]
    found = (windows[..., ::7, ::9, :] == np.asarray(Image.open(ours))[::7, ::9]).all(axis=(2, 3, 4))
    assert found.sum() == 3


def test_a_browser_opens_the_page(rgt: RunRGT, small_png: Path, micro_checkpoint: Path) -> None:
    browser = small_png.with_name("browser")
    browser.write_text(f'#!/bin/sh\necho "$1" > {small_png.parent}/opened\n')
    browser.chmod(0o755)
    page = small_png.with_name("a page.html")
    result = rgt(
        "compare", small_png, "-m", micro_checkpoint, "-o", page, "--open",
        env=os.environ | {"BROWSER": f"{browser} %s"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (small_png.parent / "opened").read_text().strip() == page.as_uri()


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("--crop", "30,0,20,20"), 2, "40 x 30"),
        (("--crop", "1,2,3"), 2, "X,Y,WIDTH,HEIGHT"),
        (("--at", "1:30"), 2, "videos"),
        (("-o", "out.mp4"), 2, ".html"),
        (("-o", "out.pdf"), 2, ".html"),
        (("-o", "out.png", "--standalone"), 2, "out.html"),
        (("-o", "missing/out.html"), 6, "missing"),
        (("--hr", "missing.png"), 3, "missing.png"),
        (("-m", ","), 2, "model"),
    ],
)
def test_refusals(
    rgt: RunRGT, small_png: Path, arguments: tuple[str, ...], code: int, hint: str
) -> None:
    result = rgt("compare", small_png, *arguments, cwd=small_png.parent)
    assert result.returncode == code, result.stderr
    assert hint in result.stderr
    assert names_in(small_png.parent) == {"in.png"}
