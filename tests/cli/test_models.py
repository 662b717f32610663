"""`rgt models`: list, describe, download, verify, remove and convert, by the real command."""

from __future__ import annotations

import hashlib
import inspect
import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from rgt_cli.checkpoints.catalogue import catalogue
from rgt_cli.cli.models import models
from tests.helpers import WEIGHTS
from tests.helpers.checkpoints import flip_last_bit
from tests.helpers.docs import REFERENCE, section, table_rows
from tests.helpers.hub import COMMIT
from tests.helpers.process import run_rgt
from tests.helpers.sandbox import NAME, SERVED, Sandbox

KEYS = {
    "name", "short", "variant", "scale", "purpose", "description",
    "seconds_per_megapixel", "license", "author", "bytes", "state",
    "sha256", "revision", "source", "path",
}  # fmt: skip
"""The keys of a model in JSON."""
FILE_KEYS = {
    "bytes", "sha256", "variant", "groups", "blocks", "parameters", "multiply_adds", "config",
}  # fmt: skip
"""The keys of the file that `rgt models info` adds."""
COMMANDS = {"convert", "download", "info", "path", "remove", "suggest", "verify"}


def listed(sandbox: Sandbox, **options: Any) -> dict[str, dict[str, Any]]:
    """Return each listed model by its name."""
    content = sandbox.json("models", **options)
    assert content["schema"] == 1
    return {model["name"]: model for model in content["models"]}


def test_list_and_info_agree(sandbox: Sandbox) -> None:
    found = listed(sandbox)
    assert list(found) == list(catalogue())
    for name in ("rgt-tiny-x2", "rgt-x4", "realwebphoto-x4"):
        info = sandbox.json("models", "info", name)
        assert info.pop("schema") == 1
        file = info.pop("file")
        assert set(info) == KEYS
        assert info == found[name]
        assert (file is None) == (info["state"] == "remote")
    tiny, photo = found["rgt-tiny-x2"], found["realwebphoto-x4"]
    assert (tiny["state"], tiny["path"]) == ("bundled", str(WEIGHTS / "rgt-tiny-x2.safetensors"))
    assert (tiny["bytes"], tiny["source"], tiny["revision"]) == (638_196, [], None)
    assert (photo["short"], photo["scale"], photo["state"]) == ("photo", 4, "remote")
    assert (photo["license"], photo["author"]) == ("CC-BY-4.0", "Philip Hofmann")
    assert photo["source"] == ["Phips/4xRealWebPhoto_RGT:4xRealWebPhoto_RGT.safetensors"]


def test_table_lists_every_model(sandbox: Sandbox) -> None:
    result = sandbox.succeed("models", also={"COLUMNS": ""})
    header, line, *rows = [line for line in result.stdout.splitlines() if line.strip()]
    assert header.split()[:2] == ["name", "scale"]
    assert set(line) == {"-"}
    assert len(rows) == len(catalogue())
    for row, entry in zip(rows, catalogue().values(), strict=True):
        assert row.startswith(entry.short)
        for text in (f"x{entry.scale}", entry.description, entry.variant, entry.name, entry.license):
            assert f"  {text}" in row
    (tiny,) = (row for row in rows if "rgt-tiny-x2" in row)
    assert tiny.split()[:3] == ["tiny", "*", "x2"]
    assert " 16    bundled " in tiny
    marked = {row.split()[0] for row in rows if row.split()[1] == "*"}
    assert marked == {"tiny", "tiny-photo"}
    assert "* is used without -m" in result.stderr


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_table_fits_the_terminal(sandbox: Sandbox, width: int) -> None:
    lines = sandbox.succeed("models", also={"COLUMNS": str(width)}).stdout.splitlines()
    assert max(map(len, lines)) <= width
    shown = {word for line in lines for word in line.split()}
    for entry in catalogue().values():
        assert {entry.short, f"x{entry.scale}", *entry.description.split()} <= shown
    known = {word for e in catalogue().values() for word in f"{e.short} {e.description}".split()}
    texts = {word for word in shown if word.isalpha() and word.islower()}
    titles = {"name", "scale", "made", "for", "state", "variant", "full", "size", "license"}
    assert texts <= known | titles | {"bundled", "remote", "kB"}, "no word is cut"


def test_speeds_are_those_of_the_manual() -> None:
    manual = (REFERENCE.parent / "performance.md").read_text(encoding="utf-8")
    documented = {}
    for names, seconds, _ in table_rows(section(manual, "How long it takes")):
        for name in names.split(", "):
            documented[name.strip("`")] = float(seconds.removeprefix("about "))
    assert documented == {e.short: e.seconds_per_megapixel for e in catalogue().values()}


def test_info_begins_with_what_the_model_is_for(sandbox: Sandbox) -> None:
    first, *rest = sandbox.succeed("models", "info", "Tiny-Photo", "-s", "2").stdout.splitlines()
    assert first.split("  ")[0] == "made for"
    assert "JPEG" in first
    assert any(line.split() == ["scale", "x2"] for line in rest)
    assert any(line.split()[:3] == ["speed", "16", "s"] for line in rest)
    assert any(line.split()[:2] == ["upscale", "2"] for line in rest)


def test_info_on_a_file(sandbox: Sandbox, micro_checkpoint: Path) -> None:
    info = sandbox.json("models", "info", str(micro_checkpoint))
    content = micro_checkpoint.read_bytes()
    assert (info["state"], info["path"], info["scale"]) == ("file", str(micro_checkpoint), 2)
    assert (info["bytes"], info["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (info["variant"], info["license"]) == ("custom", None)
    file = info["file"]
    assert set(file) == FILE_KEYS
    assert (file["groups"], file["blocks"], file["config"]["embed_dim"]) == (2, 5, 64)


def test_model_from_download_to_removal(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    own = sandbox.catalogue(published)
    remote = listed(sandbox, also=own)["net-x2"]
    assert (remote["state"], remote["path"]) == ("remote", None)
    assert "rgt models download net" in sandbox.succeed("models", "info", "net", also=own).stdout
    assert sandbox.run("models", "path", "net-x2", also=own).returncode == 4
    result = sandbox.succeed("models", "download", "net", "-s", "2", also=own)
    assert "first use" not in result.stderr
    cached = listed(sandbox, also=own)["net-x2"]
    slim = sandbox.path_of("net-x2", also=own)
    assert (cached["state"], cached["path"], cached["revision"]) == ("cached", str(slim), COMMIT)
    info = sandbox.json("models", "info", "net-x2", also=own)
    assert {key: info[key] for key in KEYS} == cached
    assert (info["license"], info["author"]) == ("CC0-1.0", "nobody")
    assert info["sha256"] == hashlib.sha256(published).hexdigest()
    assert (info["bytes"], info["file"]["bytes"]) == (len(published), slim.stat().st_size)
    assert_verified(sandbox, "ok", own)
    slim.write_bytes(flip_last_bit(slim.read_bytes()))
    assert_verified(sandbox, "DAMAGED", own)
    sandbox.succeed("models", "remove", "net-x2", also=own)
    assert sandbox.remains() == []
    assert sandbox.run("models", "remove", "net-x2", also=own).returncode == 4


def assert_verified(sandbox: Sandbox, word: str, own: dict[str, str]) -> None:
    """Check the result of `rgt models verify` for net-x2 and for the bundled models."""
    result = sandbox.run("models", "verify", also=own)
    words = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines()}
    assert words.pop("net-x2") == word
    assert words == {name: "ok" for name, entry in catalogue().items() if entry.bundled}
    assert result.returncode == (0 if word == "ok" else 4)


def test_model_outside_the_catalogue_is_listed(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    sandbox.download(NAME)
    model = listed(sandbox)[NAME]
    assert (model["state"], model["source"], model["revision"]) == ("cached", [NAME], COMMIT)
    assert (model["bytes"], model["license"]) == (len(published), None)
    info = sandbox.json("models", "info", NAME)
    assert {key: info[key] for key in KEYS - {"variant", "scale"}} == {
        key: model[key] for key in KEYS - {"variant", "scale"}
    }


def test_several_downloads_with_a_failure(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    result = sandbox.run("models", "download", "owner/missing", NAME, "tiny")
    assert result.returncode == 4
    assert "owner/missing: cannot be downloaded" in result.stderr
    assert "not in the cache" in sandbox.run("models", "remove", "owner/missing").stderr
    assert "rgt-tiny-x4: bundled" in result.stderr
    assert sandbox.path_of(NAME).is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["download"], 2, "--all"),
        (["download", "tiny", "--all"], 2, "--all"),
        (["download", "photos"], 4, "photo"),
        (["remove", "tiny"], 2, "installation"),
        (["remove", "photo"], 4, "not in the cache"),
        (["info", "nonesuch.pth"], 4, "nonesuch.pth"),
        (["path", "rgt"], 4, "rgt models download rgt"),
    ],
)
def test_refusals(sandbox: Sandbox, arguments: list[str], code: int, word: str) -> None:
    result = sandbox.run("models", *arguments)
    assert result.returncode == code
    assert word in result.stderr
    assert result.stdout == ""


def test_file_cannot_be_downloaded_or_removed(sandbox: Sandbox, micro_checkpoint: Path) -> None:
    for command in ("download", "remove"):
        result = sandbox.run("models", command, str(micro_checkpoint))
        assert result.returncode == 2
        assert result.stderr.startswith(f"rgt: error: {micro_checkpoint}: ")
    assert micro_checkpoint.exists()


def test_convert(sandbox: Sandbox, published: bytes) -> None:
    source, target = sandbox.folder / "net.pth", sandbox.folder / "net.safetensors"
    source.write_bytes(published)
    target.write_bytes(b"precious")
    assert "--overwrite" in sandbox.run("models", "convert", source, target).stderr
    assert target.read_bytes() == b"precious"
    sandbox.succeed("models", "convert", source, target, "--overwrite")
    half = sandbox.folder / "half.safetensors"
    sandbox.succeed("models", "convert", source, half, "--fp16")
    assert half.stat().st_size < 0.6 * target.stat().st_size


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("net.pth", "net.safetensors", 2),
        ("net.pth", "other.pth", 2),
        ("net.pth", "nowhere/x.safetensors", 6),
        ("nonesuch.pth", "y.safetensors", 4),
        ("damaged.pth", "y.safetensors", 4),
    ],
)
def test_conversions_that_fail(
    sandbox: Sandbox, published: bytes, source: str, target: str, code: int
) -> None:
    folder = sandbox.folder
    (folder / "net.pth").write_bytes(published)
    (folder / "damaged.pth").write_bytes(b"damaged")
    (folder / "net.safetensors").write_bytes(b"precious")
    result = sandbox.run("models", "convert", folder / source, folder / target)
    assert result.returncode == code
    named = source if code == 4 else target
    assert result.stderr.startswith(f"rgt: error: {folder / named}: ")
    assert not (folder / "y.safetensors").exists()


def test_listing_does_not_import_torch() -> None:
    result = run_rgt("models", "--json", before=("env", "PYTHONPROFILEIMPORTTIME=1"))
    assert len(json.loads(result.stdout)["models"]) == len(catalogue())
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "rgt_cli.checkpoints.catalogue" in imported
    assert "torch" not in imported


@pytest.mark.parametrize("name", [None, *sorted(COMMANDS)])
def test_help_has_a_summary_and_then_examples(name: str | None) -> None:
    assert isinstance(models, click.Group)
    assert set(models.commands) == COMMANDS
    command = models.commands[name] if name else models
    summary, examples, *_ = inspect.cleandoc(command.help or "").split("\n\n")
    assert "\n" not in summary
    assert summary.endswith(".")
    title, *lines = examples.removeprefix("\b\n").splitlines()
    assert title == "Examples:"
    # Click remembers the flags of `--help`, for other tests too: they must be those of `rgt`.
    context = click.Context(models, info_name="models", help_option_names=["-h", "--help"])
    for line in lines:
        program, group, *arguments = shlex.split(line.strip().split("   ")[0])
        assert (program, group) == ("rgt", "models")
        if name:
            assert arguments.pop(0) == name
            command.make_context(name, list(arguments), parent=context)
        elif arguments and not arguments[0].startswith("-"):
            assert arguments[0] in COMMANDS
