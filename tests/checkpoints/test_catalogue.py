"""Each name selects the expected checkpoint, and the facts in the catalogue are the published ones."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rgt_cli.checkpoints.cache import sha256_of
from rgt_cli.checkpoints.catalogue import (
    OWN_CATALOGUE,
    CatalogueEntry,
    available_scales,
    catalogue,
    lookup,
)
from rgt_cli.errors import CheckpointError, UsageError
from tests.helpers import DATA

PUBLISHED: dict[str, dict[str, Any]] = tomllib.loads(
    (DATA / "published_checkpoints.toml").read_text(encoding="utf-8")
)
VALID_ENTRY = """
short = "Net"
variant = "RGT"
scale = 2
purpose = "bicubic"
description = "a test"
license = "CC0-1.0"
author = "nobody"
hub = "owner/repo"
file = "net.pth"
"""


@pytest.fixture
def own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the path of a catalogue of the user. The file does not exist yet."""
    path = tmp_path / "own.toml"
    monkeypatch.setenv(OWN_CATALOGUE, str(path))
    catalogue.cache_clear()
    yield path
    monkeypatch.delenv(OWN_CATALOGUE)
    catalogue.cache_clear()


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
        ("general-large", None, "nomosuni-x4"),
        ("texture-x4", None, "textures-s-x4"),
        ("texture-dither", None, "textures-dither-s-x4"),
        ("RGT-S", 2, "rgt-s-x2"),
        ("Tiny-Photo", None, "rgt-tiny-photo-x4"),
        ("RGT-S-x3", None, "rgt-s-x3"),
        ("TEXTURE-X4", None, "textures-s-x4"),
    ],
)
def test_names_select_their_entries(model: str, scale: int | None, expected: str) -> None:
    assert name_of(model, scale) == expected


@pytest.mark.parametrize(
    ("model", "suggestion"),
    [
        ("foto", "photo"),
        ("photos", "photo"),
        ("Genral", "general"),
        ("rgt_s", "rgt-s"),
        ("RGTS", "rgt-s"),
        ("textur", "texture"),
        ("rgt-s-x5", "rgt-s-x"),
        ("zzz", "rgt models"),
    ],
)
def test_unknown_names_get_a_suggestion(model: str, suggestion: str) -> None:
    with pytest.raises(CheckpointError, match=suggestion) as caught:
        lookup(model, None)
    assert str(caught.value).startswith(f"'{model}'")


def test_suggestions_are_of_different_models() -> None:
    with pytest.raises(CheckpointError) as caught:
        lookup("photos", None)
    suggested = str(caught.value).rpartition("did you mean ")[2].rstrip("?").split(" or ")
    assert sorted(suggested) == ["photo", "photo-s"]


def test_scales_beyond_the_model_are_refused() -> None:
    with pytest.raises(UsageError, match="4 at most, not by 8"):
        lookup("rgt", 8)


@pytest.mark.parametrize(
    ("model", "scales"),
    [
        ("auto", [2, 3, 4]),
        ("tiny", [2, 3, 4]),
        ("RGT", [2, 3, 4]),
        ("tiny-photo", [2, 4]),
        ("photo", [4]),
        ("rgt-s-x3", [3]),
        ("owner/repo", []),
    ],
)
def test_available_scales(model: str, scales: list[int]) -> None:
    assert available_scales(model) == scales


@pytest.mark.parametrize(
    ("model", "hub", "file", "url"),
    [
        ("owner/repo", "owner/repo", None, None),
        ("owner/repo:a/b.pth", "owner/repo", "a/b.pth", None),
        ("hf://owner/repo", "owner/repo", None, None),
        ("hf://owner/repo/a/b.pth", "owner/repo", "a/b.pth", None),
        ("https://a.org/b.pth?c=d", None, None, "https://a.org/b.pth?c=d"),
        ("http://localhost/b.pth", None, None, "http://localhost/b.pth"),
    ],
)
def test_remote_checkpoints(model: str, hub: str | None, file: str | None, url: str | None) -> None:
    found = lookup(model, None)
    assert isinstance(found, CatalogueEntry)
    (location,) = found.locations
    assert (location.hub, location.file, location.url) == (hub, file, url)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("http://a.org/b.pth", "https://"),
        ("ftp://a.org/b.pth", "https://"),
        ("https://a.org/b.html", ".safetensors"),
        ("hf://owner", "hf://owner/repo/file"),
        ("hf://owner/repo/", "hf://owner/repo/file"),
        ("a/b.pth", "file"),
        ("./rgt", "file"),
        ("", "file"),
    ],
)
def test_bad_addresses_and_paths_are_refused(model: str, word: str) -> None:
    with pytest.raises(CheckpointError, match=word):
        lookup(model, None)


def test_secrets_in_an_address_are_hidden() -> None:
    address = "https://user:secret@a.org/b.pth?signature=secret#secret"
    found = lookup(address, None)
    assert isinstance(found, CatalogueEntry)
    assert found.name == str(found.locations[0]) == "https://a.org/b.pth"
    with pytest.raises(CheckpointError) as caught:
        lookup(address.replace("b.pth", "b.html"), None)
    assert "secret" not in str(caught.value)


def test_names_have_priority_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").write_bytes(b"")
    assert name_of("photo", None) == "realwebphoto-x4"
    assert lookup("./photo", None) == Path("photo")


def test_existing_paths_have_priority_over_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine").write_bytes(b"")
    assert lookup("nets/mine", None) == Path("nets/mine")


def test_bundled_files_have_the_hashes_of_the_catalogue() -> None:
    bundled = [(entry, entry.bundled) for entry in catalogue().values() if entry.bundled]
    assert len(bundled) == 5
    for entry, path in bundled:
        assert sha256_of(path) == entry.sha256
        assert entry.bytes == path.stat().st_size


def test_every_entry_is_described_and_can_be_obtained() -> None:
    for entry in catalogue().values():
        assert all((entry.short, entry.variant, entry.scale, entry.license, entry.author))
        assert entry.purpose in ("bicubic", "photo", "general", "texture")
        assert 10 < len(entry.description) <= 63
        assert entry.bundled or entry.locations


@pytest.mark.parametrize(
    "content", [None, "not toml", "[a]\nshort = 'a'", "a = 1", f"[a]{VALID_ENTRY}".replace("file", "")]
)
def test_invalid_catalogues_are_refused(own_catalogue: Path, content: str | None) -> None:
    if content is not None:
        own_catalogue.write_text(content)
    with pytest.raises(UsageError, match="not a valid catalogue") as caught:
        catalogue()
    assert str(own_catalogue) in str(caught.value)


def test_own_entries_are_found_in_any_case(own_catalogue: Path) -> None:
    own_catalogue.write_text(f"[Net-x2]{VALID_ENTRY}")
    assert name_of("net", None) == name_of("NET-X2", None) == "Net-x2"
    assert name_of("tiny", 2) == "rgt-tiny-x2"
    assert available_scales("NET") == [2]


@pytest.mark.parametrize("name", PUBLISHED)
def test_facts_are_the_published_ones(name: str) -> None:
    facts, entry = PUBLISHED[name], catalogue()[name]
    for key in ("variant", "scale", "purpose", "license", "author"):
        assert getattr(entry, key) == facts[key]
    by_kind = {"hub" if location.hub else "url": location for location in entry.locations}
    assert set(by_kind) == {"hub", "url"} & set(facts)
    if "hub" in facts:
        keys = ("hub", "file", "revision", "sha256", "bytes")
        assert [getattr(by_kind["hub"], key) for key in keys] == [facts.get(key) for key in keys]
    if "url" in facts:
        assert by_kind["url"].url == facts["url"]
        assert by_kind["url"].sha256 == facts.get("url_sha256", facts.get("sha256"))


def test_all_published_checkpoints_are_in_the_catalogue() -> None:
    assert set(PUBLISHED) == {name for name, entry in catalogue().items() if not entry.bundled}
