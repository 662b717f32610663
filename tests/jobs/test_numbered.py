"""Patterns and numbered images, as inputs and as outputs."""

from pathlib import Path

import pytest

from rgt_cli.errors import NoInputError, UsageError
from rgt_cli.jobs.numbered import FrameImages, find_numbered, is_numbered, numbered_path
from rgt_cli.jobs.options import Existing, OutputOptions
from rgt_cli.jobs.plan import images_of_one_video, plan_one
from rgt_cli.size import Size
from tests.helpers.process import names_in


@pytest.mark.parametrize(
    ("name", "expected"),
    [("%06d.png", "000042.png"), ("%d.png", "42.png"), ("50%_%3d.png", "50%_ 42.png"),
     ("a%d_%d.png", "a42_%d.png"), ("50%done.gif", None), ("50%d1.png", "50421.png"),
     ("100%2dx.png", None), ("frame.png", None), ("100%.png", None), ("%s.png", None)],
)  # fmt: skip
def test_numbered_names(name: str, expected: str | None) -> None:
    target = Path("frames", name)
    assert is_numbered(target) == (expected is not None)
    if expected:
        assert numbered_path(target, 42) == Path("frames", expected)


def test_a_pattern_in_a_folder_name_does_not_count() -> None:
    assert not is_numbered(Path("%d", "out.mkv"))


@pytest.mark.parametrize(
    "names",
    [("1.png", "2.png", "10.png"), ("000999.jpg", "001000.jpg"), ("a7_x.webp", "a8_x.webp"),
     ("shot2_09.dpx", "shot2_10.dpx"), ("0.tif", "1.tif"), ("5.png",)],
)  # fmt: skip
def test_images_of_a_folder_in_the_order_of_their_numbers(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in (*names, ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    if names == ("1.png", "2.png", "10.png"):
        with pytest.raises(UsageError, match=r"3\.png and 6 more are missing"):
            find_numbered(tmp_path)
    else:
        assert find_numbered(tmp_path) == tuple(tmp_path / name for name in names)


@pytest.mark.parametrize(
    ("names", "reason"),
    [(("001.png", "003.png"), r"002\.png is missing"), (("1.png", "b.png"), r"b\.png has no number"),
     (("1.png", "2.jpg"), r"several series of images, such as 1\.png and 2\.jpg"),
     (("a1.png", "b2.png"), "several series"), (("1.png", "01.png"), "have the same number"),
     (("1.png", "2.mkv"), r"2\.mkv is a video"), ((), "contains no images")],
)  # fmt: skip
def test_folders_that_are_not_one_video(tmp_path: Path, names: tuple[str, ...], reason: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises((UsageError, NoInputError), match=reason):
        find_numbered(tmp_path)


def test_images_of_a_pattern(tmp_path: Path) -> None:
    for name in ("a_08.png", "a_09.png", "a_10.png", "a_7.png", "b_11.png", "a_12.jpg"):
        (tmp_path / name).touch()
    found = find_numbered(tmp_path / "a_%02d.png")
    assert [path.name for path in found] == ["a_08.png", "a_09.png", "a_10.png"]
    (tmp_path / "a_12.png").touch()
    with pytest.raises(UsageError, match=r"a_11\.png is missing"):
        find_numbered(tmp_path / "a_%02d.png")
    with pytest.raises(NoInputError, match="no file matches"):
        find_numbered(tmp_path / "c%d.png")


@pytest.mark.parametrize(
    ("source", "target", "is_one"),
    [("in", "out.mp4", True), ("in", "out.gif", True), ("in", "out", False), ("in", None, False),
     ("in", "out.png", False), ("in/%d.png", "out.mkv", True), ("in/1.png", "out.mp4", False),
     ("50%done.png", "out.mp4", False), ("in", "folder.mp4", False)],
)  # fmt: skip
def test_which_inputs_are_one_video(
    tmp_path: Path, source: str, target: str | None, is_one: bool
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "in" / "1.png").touch()
    output = OutputOptions(target=tmp_path / target if target else None)
    found = images_of_one_video(tmp_path / source, output)
    assert found == ((tmp_path / "in" / "1.png",) if is_one else ())


@pytest.mark.parametrize(("target", "reason"), [(None, "name the video"), ("x%d.png", "is not a video")])
def test_numbered_images_need_a_video(tmp_path: Path, target: str | None, reason: str) -> None:
    image = tmp_path / "1.png"
    image.touch()
    output = OutputOptions(target=tmp_path / target if target else None)
    with pytest.raises(UsageError, match=reason):
        plan_one(image, Size(scale=2), output, (image,))


def visible(folder: Path) -> set[str]:
    """Return the names in a folder without hidden ones."""
    return {name for name in names_in(folder) if not name.startswith(".")}


SETTINGS = {"source": [1, 2], "size": (4, 4)}


@pytest.mark.parametrize(
    ("existing", "changes", "result"),
    [(Existing.REFUSE, {}, "resumed"), (Existing.SKIP, {}, "resumed"), (Existing.UPDATE, {}, "resumed"),
     (Existing.OVERWRITE, {}, "replaced"), (Existing.REFUSE, {"size": (8, 8)}, "refused"),
     (Existing.SKIP, {"size": (8, 8)}, "refused"), (Existing.UPDATE, {"size": (8, 8)}, "refused"),
     (Existing.UPDATE, {"source": [1, 3]}, "replaced"), (Existing.REFUSE, {"source": [1, 3]}, "refused"),
     (Existing.OVERWRITE, {"size": (8, 8)}, "replaced")],
)  # fmt: skip
def test_images_of_frames_are_never_mixed(
    tmp_path: Path, existing: Existing, changes: dict[str, object], result: str
) -> None:
    pattern = tmp_path / "%03d.png"
    path = FrameImages(pattern, SETTINGS, Existing.REFUSE).missing(1)
    assert path == tmp_path / "001.png"
    path.write_text("an image")
    (tmp_path / "1.png").write_text("not one of them")
    if result == "refused":
        with pytest.raises(UsageError, match=r"with other settings exist \(1\)"):
            FrameImages(pattern, SETTINGS | changes, existing)
    else:
        again = FrameImages(pattern, SETTINGS | changes, existing)
        assert again.missing(1) == (path if result == "replaced" else None)
    assert visible(tmp_path) == {"1.png"} | ({"001.png"} if result != "replaced" else set())
