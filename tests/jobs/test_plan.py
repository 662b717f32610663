"""Everything that can be refused beforehand is."""

from pathlib import Path

import numpy as np
import pytest

from rgt_cli.errors import NoInputError, OutputError, UsageError
from rgt_cli.jobs.plan import check_output, plan_job
from rgt_cli.media import Encoding, ImageSequence, Picture
from rgt_cli.size import Size

X2, X4 = Size(scale=2), Size(scale=4)


def test_default_targets(tmp_path: Path) -> None:
    for name, expected in [("in.png", "in_x4.png"), ("a b.JPG", "a b_x4.JPG"), ("é.x.tif", "é.x_x4.tif"),
                           ("scan", "scan_x4.png"), ("in.jp2", "in_x4.png")]:  # fmt: skip
        source = tmp_path / name
        source.touch()
        assert plan_job(source, None, X4, None, False).target == tmp_path / expected


def test_target_and_format(small_png: Path) -> None:
    folder = small_png.parent
    out = folder / "out"
    out.mkdir()
    assert plan_job(small_png, out, X2, None, False).target == out / "in_x2.png"
    assert plan_job(small_png, None, X2, "jpeg", False).target == folder / "in_x2.jpg"
    assert plan_job(small_png, folder / "b.webp", X2, None, False).format.name == "webp"
    bare = plan_job(small_png, folder / "bare", X2, "tiff", False)
    assert (bare.target, bare.format.name) == (folder / "bare", "tiff")
    with pytest.raises(UsageError, match="bare"):
        plan_job(small_png, folder / "bare", X2, None, False)


def test_refusals(small_png: Path) -> None:
    folder = small_png.parent
    (folder / "old.png").touch()
    (folder / "link.png").symlink_to(small_png)
    for error, source, target, form, overwrite in [
        (NoInputError, folder / "none.png", None, None, False),
        (UsageError, small_png, folder / "old.png", None, False),
        (UsageError, small_png, small_png, None, True),
        (UsageError, small_png, folder / "link.png", None, True),
        (UsageError, small_png, folder / "a.jpg", "png", False),
        (UsageError, small_png, folder / "a.xyz", None, False),
        (OutputError, small_png, folder / "no" / "a.png", None, False),
    ]:
        with pytest.raises(error):
            plan_job(source, target, X4, form, overwrite)
    assert plan_job(small_png, folder / "old.png", X4, None, True)


def test_size_limits(small_png: Path) -> None:
    webp = plan_job(small_png, None, X4, "webp", False)
    check_output(webp, images(4095, 1), X4, Encoding())
    with pytest.raises(UsageError, match="16383"):
        check_output(webp, images(10, 4096), X4, Encoding())
    jpeg = plan_job(small_png, None, X4, "jpeg", False)
    with pytest.raises(UsageError, match="65535"):
        check_output(jpeg, images(16384, 10), X4, Encoding())
    check_output(jpeg, images(16384, 10), Size(height=65535), Encoding())


def images(height: int, width: int) -> ImageSequence:
    return ImageSequence([Picture(np.zeros((height, width), np.uint8))])
