"""The inputs that arguments name are found, each once, whatever their names and the targets of links."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from rgt_cli.errors import NoInputError
from rgt_cli.jobs import SourceFilter, find_sources, read_list
from rgt_cli.jobs.source_list import PathList


def touch(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder: Path, selection: SourceFilter | None = None) -> list[str]:
    return [os.fspath(source.relative) for source in find_sources([folder], selection).sources]


def test_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.JPG", "c.txt", ".hidden.png", "sub/d.webp", "sub/.x/e.png", "-o.png")
    assert names(tmp_path) == ["-o.png", "a.JPG", "b.png"]
    scan = find_sources([tmp_path], SourceFilter(recursive=True))
    assert [source.relative for source in scan.sources] == [
        Path("-o.png"), Path("a.JPG"), Path("b.png"), Path("sub/d.webp"),
    ]  # fmt: skip
    assert sorted(scan.ignored.values()) == [1, 2]
    assert scan.ignored["hidden"] == 2


def test_include_and_exclude(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.jpg", "keep/a.png", "drop/a.png")
    included = SourceFilter(recursive=True, include=("*.png",))
    assert names(tmp_path, included) == ["a.png", "drop/a.png", "keep/a.png"]
    excluded = SourceFilter(recursive=True, exclude=("drop/*", "*.jpg"))
    assert names(tmp_path, excluded) == ["a.png", "keep/a.png"]
    both = SourceFilter(recursive=True, include=("*.png",), exclude=("drop/*",))
    assert find_sources([tmp_path], both).ignored == {"excluded": 2}


def test_outputs_beside_their_inputs(tmp_path: Path) -> None:
    results = ["a_x4.webp", "a_x2.5.jpg", "a_w100.png", "a_1920x1080.png", "clip_x2.mp4", "a_x4_x2.png"]
    others = ["a.jpg", "clip.gif", "b_x4.png", "a_xl.png", "a_4.png", "sub/a_x4.png"]
    touch(tmp_path, *results, *others)
    selection = SourceFilter(recursive=True)
    assert names(tmp_path, selection) == sorted(others)
    scan = find_sources([tmp_path], selection)
    assert (scan.results, scan.ignored) == (6, {"written by earlier runs": 6})
    assert [s.path.name for s in find_sources([tmp_path / "a*.png"]).sources] == ["a_4.png", "a_xl.png"]
    assert len(find_sources([tmp_path / "a_x4.webp", tmp_path / "a.jpg"]).sources) == 2
    assert names(tmp_path, SourceFilter(include=("*_x4.*",))) == ["a_x4.webp", "b_x4.png"]


def test_names_of_outputs_that_are_other_images(tmp_path: Path) -> None:
    """The web offers smaller copies of images under such names."""
    sizes = {
        "a.png": (60, 40), "a_x2.png": (120, 80), "a_x3.png": (60, 40), "a_640x480.png": (30, 20),
        "a_90x90.png": (90, 60), "a_w30.png": (30, 20), "a_w120.jpg": (120, 80), "a_h80.png": (130, 80),
    }  # fmt: skip
    for name, size in sizes.items():
        Image.new("L", size).save(tmp_path / name)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("L", (60, 40)).save(tmp_path / "b.jpg", exif=exif)
    Image.new("L", (80, 120)).save(tmp_path / "b_x2.jpg")
    scan = find_sources([tmp_path])
    found = [source.name for source in scan.sources]
    assert found == ["a.png", "a_640x480.png", "a_h80.png", "a_w30.png", "a_x3.png", "b.jpg"]
    assert scan.results == 4


def test_unsupported_images_are_counted_by_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.DNG", "b.dng", "c.psd", "d.txt", "e.HIF", "f.mpo")
    assert names(tmp_path) == ["e.HIF", "f.mpo"]
    ignored = find_sources([tmp_path]).ignored
    assert ignored == {"unsupported .dng": 2, "unsupported .psd": 1, "not an image or video": 1}


def test_images_of_pages(tmp_path: Path) -> None:
    touch(tmp_path, "run.html", "run_files/000001-after.jpg", "run_files/cat.jpg", "a.png")
    touch(tmp_path, "b_files/000001-after.jpg", "c.htm", "c_files/01-02-input-bicubic.png")
    others = ["a.png", "b_files/000001-after.jpg", "run_files/cat.jpg"]
    assert names(tmp_path, SourceFilter(recursive=True)) == others
    assert names(tmp_path, SourceFilter(recursive=True, include=("*",))) == others
    assert find_sources([tmp_path / "*/*"]).results == 2
    assert len(find_sources([tmp_path / "run_files" / "000001-after.jpg"]).sources) == 1


def test_links_that_form_a_circle(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/sub/b.png", "elsewhere/c.png")
    (tmp_path / "in/sub/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/sub/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/twice.png").symlink_to(tmp_path / "in/a.png")
    everything = SourceFilter(recursive=True)
    assert names(tmp_path / "in", everything) == ["a.png", "sub/b.png", "sub/out/c.png"]


def test_unusual_names(tmp_path: Path) -> None:
    long = "n" * 251 + ".png"
    touch(tmp_path, b"caf\xe9.png", long, "new\nline.png", "[a].png")
    assert len(names(tmp_path)) == 4
    (source,) = find_sources([tmp_path / "[a].png"]).sources
    assert source.path == tmp_path / "[a].png"


def test_patterns_and_lists(tmp_path: Path) -> None:
    touch(tmp_path, "a1.png", "a2.png", "b.png")
    scan = find_sources([tmp_path / "a?.png", tmp_path / "a1.png"])
    assert [source.path.name for source in scan.sources] == ["a1.png", "a2.png"], "each once"
    for nothing in ("c*.png", "none.png"):
        with pytest.raises(NoInputError):
            find_sources([tmp_path / nothing])
    scan = find_sources([tmp_path / "none.png", tmp_path / "b.png"])
    assert [source.path.name for source in scan.sources] == ["none.png", "b.png"], "one will fail"
    for mark in (b"", codecs.BOM_UTF8):
        listed = read_list(mark + b"a b.png\r\n\nc.png", b"\n")
        assert list(listed) == [Path("a b.png"), Path("c.png")]
    odd = list(read_list(b"a\nb\0caf\xe9\0", b"\0"))
    assert odd == [Path("a\nb"), Path(os.fsdecode(b"caf\xe9"))] == list(PathList(odd))
