"""Targets of a batch: where they lie, that no two are one, and what becomes of those that exist."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.errors import UsageError
from rgt_cli.jobs import (
    DEFAULT_NAME,
    Existing,
    Journal,
    Source,
    find_sources,
    output_folder,
    partition,
    plan_batch,
)
from rgt_cli.size import Size

OUT, X4 = Path("out"), Size(scale=4)


def targets(*relative: str, template: str = DEFAULT_NAME, form: str | None = None) -> list[str]:
    sources = [Source(Path("in", name), Path(name)) for name in relative]
    return [os.fspath(j.target.relative_to(OUT)) for j in plan_batch(sources, OUT, X4, template, form)]


def test_the_tree_is_mirrored() -> None:
    assert targets("a.png", "sub/b.jpg") == ["a_x4.png", "sub/b_x4.jpg"]
    assert targets("a.png", "b.png", template="{index:03}-{name}.webp") == [
        "001-a.png.webp", "002-b.png.webp",
    ]  # fmt: skip


def test_sources_that_would_meet() -> None:
    assert targets("a.jpg", "a.png", "b.jpg", form="png") == ["a_jpg_x4.png", "a_png_x4.png", "b_x4.png"]
    assert targets("A.png", "a.png") == ["A_png_x4.png", "a_png_2_x4.png"]


@given(st.lists(st.sampled_from(["a.png", "A.png", "a.jpg", "a_png.png", "a_png_2.png", "s/a.png"])))
def test_no_two_targets_are_one(relative: list[str]) -> None:
    planned = targets(*relative, form="png")
    assert len({name.casefold() for name in planned}) == len(relative)


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    (name,) = targets("n" * 250 + ".png")
    assert len(name) == 255
    assert name.endswith("n_x4.png")
    (tmp_path / name).touch()


@pytest.mark.parametrize(
    "template",
    ["../{stem}{ext}", "/tmp/{stem}{ext}", "{nothing}", "{stem", "{stem}.xyz", "a/../../b.png",
     ""],
)  # fmt: skip
def test_templates_that_are_refused(template: str) -> None:
    with pytest.raises(UsageError):
        targets("a.png", template=template)


def test_a_template_that_tells_nothing_apart_is_refused() -> None:
    with pytest.raises(UsageError, match="same"):
        targets("a.png", "b.png", template="same.png")


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


def test_existing_targets(tmp_path: Path) -> None:
    for name in ("in/a.png", "in/b.png", "in/c.png", "out/a_x4.png", "out/b_x4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.utime(tmp_path / "in/a.png", (1, 1))
    os.utime(tmp_path / "out/a_x4.png", (2, 2))
    os.utime(tmp_path / "in/b.png", (3, 3))
    os.utime(tmp_path / "out/b_x4.png", (2, 2))
    out = tmp_path / "out"
    jobs = plan_batch(find_sources([tmp_path / "in"]).sources, out, X4, DEFAULT_NAME, None)
    (out / ".rgt-0123abcd.part").touch()
    with Journal(out, {}) as journal:
        for existing, expected in [
            (Existing.SKIP, "c"), (Existing.UPDATE, "bc"), (Existing.OVERWRITE, "abc"),
        ]:  # fmt: skip
            to_do, there = partition(jobs, journal, existing)
            assert "".join(job.source.stem for job in to_do) == expected
            assert len(to_do) + len(there) == 3
        with pytest.raises(UsageError, match="--skip-existing"):
            partition(jobs, journal, Existing.REFUSE)
        assert not (out / ".rgt-0123abcd.part").exists(), "what a dead run left is cleaned up"
