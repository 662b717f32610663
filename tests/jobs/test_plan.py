"""Outputs get their names and places, no two get one name, and what is known to fail is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.errors import NoInputError, OutputError, RGTError, UsageError
from rgt_cli.jobs import (
    DEFAULT_NAME,
    Job,
    OutputOptions,
    Source,
    find_sources,
    output_folder,
    plan_folder,
    plan_one,
)
from rgt_cli.jobs.options import ImageOptions
from rgt_cli.jobs.plan import check_image_options, check_output
from rgt_cli.media import Encoding, ImageSequence, Picture, format_of
from rgt_cli.size import Size

OUT, X2, X4 = Path("out"), Size(scale=2), Size(scale=4)


def one(source: Path, target: Path | None = None, form: str | None = None, size: Size = X2) -> Job:
    return plan_one(source, size, OutputOptions(target=target, format=form))


def outputs(*relative: str, template: str = DEFAULT_NAME, form: str | None = None) -> list[str]:
    sources = [Source.of(Path("in", name), Path(name)) for name in relative]
    jobs = plan_folder(sources, OUT, X4, OutputOptions(format=form, name=template))
    return [os.fspath(job.target.relative_to(OUT)) for job in jobs]


def test_default_outputs(tmp_path: Path) -> None:
    for name, expected in [
        ("in.png", "in_x4.png"), ("a b.JPG", "a b_x4.JPG"), ("é.x.tif", "é.x_x4.tif"),
        ("scan", "scan_x4.png"), ("in.jp2", "in_x4.png"), ("in.avi", "in_x4.mkv"),
    ]:  # fmt: skip
        source = tmp_path / name
        source.touch()
        assert one(source, size=X4).target == tmp_path / expected


def test_output_and_format(small_png: Path) -> None:
    folder = small_png.parent
    out = folder / "out"
    out.mkdir()
    assert one(small_png, out).target == out / "in_x2.png"
    assert one(small_png, folder / "new").target == folder / "new" / "in_x2.png"
    assert one(small_png, form="jpeg").target == folder / "in_x2.jpg"
    assert one(small_png, folder / "b.webp").format.name == "webp"
    bare = one(small_png, folder / "bare", "tiff")
    assert (bare.target, bare.format.name) == (folder / "bare", "tiff")


def test_refusals(small_png: Path) -> None:
    folder = small_png.parent
    (folder / "old").touch()
    (folder / "link.png").symlink_to(small_png)
    refused: list[tuple[type[RGTError], Path, Path, str | None]] = [
        (NoInputError, folder / "none.png", folder / "a.png", None),
        (UsageError, small_png, small_png, None),
        (UsageError, small_png, folder / "link.png", None),
        (UsageError, small_png, folder / "a.jpg", "png"),
        (UsageError, small_png, folder / "a.xyz", None),
        (UsageError, small_png, folder / "old", None),
        (OutputError, small_png, folder / "no" / "a.png", None),
    ]
    for error, source, target, form in refused:
        with pytest.raises(error):
            one(source, target, form)


def test_side_limits(small_png: Path) -> None:
    def images(height: int, width: int) -> ImageSequence:
        return ImageSequence([Picture(np.zeros((height, width), np.uint8))])

    webp = one(small_png, form="webp")
    check_output(webp, images(4095, 1), X4, Encoding())
    with pytest.raises(UsageError, match="16383"):
        check_output(webp, images(10, 4096), X4, Encoding())
    jpeg = one(small_png, form="jpeg")
    with pytest.raises(UsageError, match="65500"):
        check_output(jpeg, images(16384, 10), X4, Encoding())
    check_output(jpeg, images(16384, 10), Size(height=65500), Encoding())


def test_subfolders_are_mirrored() -> None:
    assert outputs("a.png", "sub/b.jpg") == ["a_x4.png", "sub/b_x4.jpg"]
    assert outputs("a.png", "b.png", template="{index:03}-{name}.webp") == [
        "001-a.png.webp", "002-b.png.webp",
    ]  # fmt: skip


def test_inputs_that_would_meet() -> None:
    assert outputs("a.jpg", "a.png", "b.jpg", form="png") == ["a_jpg_x4.png", "a_png_x4.png", "b_x4.png"]
    assert outputs("A.png", "a.png") == ["A_png_x4.png", "a_png_2_x4.png"]


def test_a_video_does_not_become_an_image() -> None:
    assert outputs("a.mp4", "b.png", form="webp") == ["a_x4.mp4", "b_x4.webp"]
    assert outputs("a.mp4", "b.avi", form="webm") == ["a_x4.webm", "b_x4.webm"]


@given(st.lists(st.sampled_from(["a.png", "A.png", "a.jpg", "a_png.png", "a_png_2.png", "s/a.png"])))
def test_no_two_outputs_have_one_name(relative: list[str]) -> None:
    planned = outputs(*relative, form="png")
    assert len({name.casefold() for name in planned}) == len(relative)


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    (name,) = outputs("n" * 250 + ".png")
    assert len(name) == 255
    assert name.endswith("n_x4.png")
    (tmp_path / name).touch()


@pytest.mark.parametrize(
    "template",
    ["../{stem}{ext}", "/tmp/{stem}{ext}", "{nothing}", "{stem", "{stem}.xyz", "a/../../b.png", ""],
)
def test_wrong_templates(template: str) -> None:
    with pytest.raises(UsageError):
        outputs("a.png", template=template)


def test_a_template_without_a_suffix() -> None:
    with pytest.raises(UsageError, match=r"\{ext\}"):
        outputs("a.png", template="{stem}")


def test_a_template_that_gives_one_name_to_all() -> None:
    with pytest.raises(UsageError, match="same"):
        outputs("a.png", "b.png", template="same.png")


def test_output_folder(tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/b.png", "more/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos, more = tmp_path / "photos", tmp_path / "more"
    assert output_folder(find_sources([photos])) == tmp_path / "photos_upscaled"
    assert output_folder(find_sources([photos / "a.png", photos / "b.png"])) == photos
    for mixed in ([photos, more], [photos / "a.png", more / "c.png"]):
        with pytest.raises(UsageError, match="-o"):
            output_folder(find_sources(mixed))


@pytest.mark.parametrize(
    ("options", "reason"),
    [(ImageOptions(lossless=True), "--lossless .*--codec ffv1"), (ImageOptions(bits=16), "--pix-fmt"),
     (ImageOptions(quality=80), "--crf"), (ImageOptions(background=(0, 0, 0)), "--background"),
     (ImageOptions(dpi=300), "--dpi")],
)  # fmt: skip
def test_image_options_are_refused_if_all_outputs_are_videos(options: ImageOptions, reason: str) -> None:
    def jobs(*names: tuple[str, str]) -> list[Job]:
        return [Job(Path(a), Path(b), format_of(Path(b))) for a, b in names]

    check_image_options(jobs(("a.mkv", "b.mkv"), ("c.png", "d.png")), options)
    check_image_options(jobs(("a.mkv", "%d.png")), options)
    check_image_options([], options)
    check_image_options(jobs(("a.mkv", "b.mkv")), ImageOptions())
    check_image_options(jobs(("a.mkv", "b.mkv")), ImageOptions(quality=80), configured=["quality"])
    for target in ("b.mkv", "b.gif"):
        with pytest.raises(UsageError, match=reason):
            check_image_options(jobs(("a.mkv", target)), options)
