"""Names: each leads where a person expects it to, and the facts are the published ones."""

import tomllib
from pathlib import Path

import pytest

from rgt_cli.checkpoints.cache import sha256_of
from rgt_cli.checkpoints.catalogue import CatalogueEntry, catalogue, lookup
from rgt_cli.errors import CheckpointError, UsageError

FACTS = Path(__file__).parents[3] / "shared" / "reference" / "checkpoints.toml"


def name_of(model: str, scale: int | None) -> str:
    found = lookup(model, scale)
    assert isinstance(found, CatalogueEntry)
    return found.name


@pytest.mark.parametrize(
    ("model", "scale", "expected"),
    [
        ("tiny", 2, "rgt-tiny-x2"),
        ("tiny", None, "rgt-tiny-x4"),
        ("tiny-x3", None, "rgt-tiny-x3"),
        ("rgt", 3, "rgt-x3"),
        ("rgt-s", None, "rgt-s-x4"),
        ("rgt-s-x2", None, "rgt-s-x2"),
        ("photo", 4, "realwebphoto-x4"),
        ("photo", 2, "realwebphoto-x4"),  # the smallest scale that reaches it
        ("photo-s", None, "realwebphoto-v2-s-x4"),
        ("general", None, "nomosuni-s-x4"),
        ("texture-x4", None, "textures-s-x4"),
        ("texture-dither", None, "textures-dither-s-x4"),
    ],
)
def test_names(model: str, scale: int | None, expected: str) -> None:
    assert name_of(model, scale) == expected


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("foto", "photo"),
        ("rgt_s", "rgt-s"),
        ("textur", "texture"),
        ("rgt-s-x5", "rgt-s-x"),
        ("zzz", "lists"),
    ],
)
def test_near_misses(model: str, near: str) -> None:
    with pytest.raises(CheckpointError, match=near):
        lookup(model, None)


def test_scales_out_of_reach() -> None:
    with pytest.raises(UsageError, match="4 at most, not by 8"):
        lookup("rgt", 8)


@pytest.mark.parametrize(
    ("model", "hub", "file", "url"),
    [
        ("owner/repo", "owner/repo", None, None),
        ("owner/repo:a/b.pth", "owner/repo", "a/b.pth", None),
        ("hf://owner/repo", "owner/repo", None, None),
        ("hf://owner/repo/a/b.pth", "owner/repo", "a/b.pth", None),
        ("https://a.org/b.pth?c=d", None, None, "https://a.org/b.pth?c=d"),
    ],
)
def test_elsewhere(model: str, hub: str | None, file: str | None, url: str | None) -> None:
    found = lookup(model, None)
    assert isinstance(found, CatalogueEntry)
    (place,) = found.places
    assert (place.hub, place.file, place.url) == (hub, file, url)


@pytest.mark.parametrize(
    "model",
    [
        "http://a.org/b.pth",
        "ftp://a.org/b.pth",
        "https://a.org/b.html",
        "hf://owner",
        "a/b.pth",
        "./rgt",
        "",
    ],
)
def test_refused(model: str) -> None:
    with pytest.raises(CheckpointError):
        lookup(model, None)


def test_secrets_of_an_address_are_not_shown() -> None:
    found = lookup("https://user:secret@a.org/b.pth?signature=secret#secret", None)
    assert isinstance(found, CatalogueEntry)
    assert found.name == str(found.places[0]) == "https://a.org/b.pth"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").write_bytes(b"")
    assert name_of("photo", None) == "realwebphoto-x4"
    assert lookup("./photo", None) == Path("photo")


def test_bundled_files_are_those_of_the_catalogue() -> None:
    bundled = [entry for entry in catalogue().values() if entry.bundled]
    assert len(bundled) == 5
    for entry in bundled:
        assert sha256_of(entry.bundled) == entry.sha256
        assert entry.size is not None


def test_own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.toml"
    monkeypatch.setenv("RGT_CATALOGUE", str(path))
    for content in (None, "not toml", "[a]\nshort = 'a'"):
        if content:
            path.write_text(content)
        catalogue.cache_clear()
        with pytest.raises(UsageError, match="is no catalogue"):
            catalogue()
    monkeypatch.delenv("RGT_CATALOGUE")
    catalogue.cache_clear()


@pytest.mark.skipif(not FACTS.is_file(), reason="the verified facts are not at hand")
def test_facts() -> None:
    for name, facts in tomllib.loads(FACTS.read_text()).items():
        entry = catalogue()[name]
        for key in ("variant", "scale", "purpose", "license", "author"):
            assert getattr(entry, key) == facts[key]
        by_kind = {"hub" if place.hub else "url": place for place in entry.places}
        if "hub" in facts:
            place = by_kind["hub"]
            keys = ("hub", "file", "revision", "sha256", "bytes")
            assert [getattr(place, key) for key in keys] == [facts.get(key) for key in keys]
        if "url" in facts:
            assert by_kind["url"].url == facts["url"]
            assert by_kind["url"].sha256 == facts.get("url_sha256", facts.get("sha256"))
