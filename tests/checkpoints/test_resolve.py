"""A model name and a scale select a file, bundled, cached or at a path."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from rgt_cli.checkpoints import resolve
from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import CheckpointError, UsageError
from tests.helpers.sandbox import SERVED, Sandbox
from tests.helpers.scripts import run_script


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bundled_model_without_cuda(scale: int) -> None:
    resolved = resolve("auto", scale)
    assert resolved.name == f"rgt-tiny-x{scale}"
    assert resolved.notes == ()
    assert resolve("tiny", scale).path == resolve(resolved.name, scale).path == resolved.path
    network = load_network(resolved.path)
    assert network.config.upscale == scale
    assert network.config.split_size == (8, 16)


def test_named_model_has_no_notes() -> None:
    resolved = resolve("TINY", 2)
    assert (resolved.name, resolved.notes, resolved.tile) == ("rgt-tiny-x2", (), 256)


def test_file_is_used_as_it_is(micro_checkpoint: Path) -> None:
    resolved = resolve(str(micro_checkpoint), None)
    assert (resolved.path, resolved.name) == (micro_checkpoint, micro_checkpoint.name)


def test_unknown_models_are_refused() -> None:
    with pytest.raises(UsageError, match="8"):
        resolve("auto", 8)
    with pytest.raises(CheckpointError, match="nonesuch"):
        resolve("nonesuch", 4)


def test_origin_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="rgt_cli"):
        resolve("tiny", 2)
    assert "rgt-tiny-x2: bundled" in caplog.text


def test_auto_on_cuda(sandbox: Sandbox, published: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published model is selected, or the bundled one with a note if it cannot be downloaded."""
    own = sandbox.catalogue(published, "rgt-x2", short="rgt")
    for key, value in (sandbox.environment | own).items():
        monkeypatch.setenv(key, value)
    selected = json.loads(run_script("resolve_auto.py", "auto"))
    assert selected["name"] == "rgt-tiny-x2"
    assert "no such repository" in selected["notes"][0]
    sandbox.hub.files[SERVED] = published
    assert json.loads(run_script("resolve_auto.py", "auto")) == {"name": "rgt-x2", "notes": []}


def test_auto_photo_on_cuda_is_bundled_where_no_model_for_photos_has_the_factor() -> None:
    selected = json.loads(run_script("resolve_auto.py", "auto-photo"))
    assert selected == {"name": "rgt-tiny-photo-x2", "notes": []}
