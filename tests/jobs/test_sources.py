"""What arguments name is found, once, whatever it is called and wherever links lead."""

import os
from pathlib import Path

import pytest

from rgt_cli.errors import NoInputError
from rgt_cli.jobs import find_sources, read_list


def touch(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder: Path, **options: object) -> list[str]:
    return [os.fspath(s.relative) for s in find_sources([folder], **options).sources]


def test_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.JPG", "c.txt", ".hidden.png", "sub/d.webp", "sub/.x/e.png", "-o.png")
    assert names(tmp_path) == ["-o.png", "a.JPG", "b.png"]
    found = find_sources([tmp_path], recursive=True)
    assert [s.relative for s in found.sources] == [
        Path("-o.png"), Path("a.JPG"), Path("b.png"), Path("sub/d.webp"),
    ]  # fmt: skip
    assert found.ignored == {"hidden": 2, "no picture by their names": 1}


def test_include_and_exclude(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.jpg", "keep/a.png", "drop/a.png")
    assert names(tmp_path, recursive=True, include=("*.png",)) == ["a.png", "drop/a.png", "keep/a.png"]
    assert names(tmp_path, recursive=True, exclude=("drop/*", "*.jpg")) == ["a.png", "keep/a.png"]
    found = find_sources([tmp_path], True, ("*.png",), ("drop/*",))
    assert found.ignored == {"excluded": 2}


def test_links_that_lead_back(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/sub/b.png", "elsewhere/c.png")
    (tmp_path / "in/sub/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/sub/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/twice.png").symlink_to(tmp_path / "in/a.png")
    assert names(tmp_path / "in", recursive=True) == ["a.png", "sub/b.png", "sub/out/c.png"]


def test_hostile_names(tmp_path: Path) -> None:
    long = "n" * 251 + ".png"
    touch(tmp_path, b"caf\xe9.png", long, "new\nline.png", "[a].png")
    assert len(names(tmp_path)) == 4
    # A file that is called like a pattern is that file.
    assert find_sources([tmp_path / "[a].png"]).sources[0].path == tmp_path / "[a].png"


def test_patterns_and_lists(tmp_path: Path) -> None:
    touch(tmp_path, "a1.png", "a2.png", "b.png")
    found = find_sources([tmp_path / "a?.png", tmp_path / "a1.png"])
    assert [s.path.name for s in found.sources] == ["a1.png", "a2.png"], "each once"
    for nothing in ("c*.png", "none.png"):
        with pytest.raises(NoInputError):
            find_sources([tmp_path / nothing])
    assert read_list(b"a b.png\r\n\nc.png", b"\n") == [Path("a b.png"), Path("c.png")]
    assert read_list(b"a\nb\0caf\xe9\0", b"\0") == [Path("a\nb"), Path(os.fsdecode(b"caf\xe9"))]
