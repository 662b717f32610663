"""Fixtures for checkpoints: a server with a cache, and a checkpoint as published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.checkpoints import save_as_published
from tests.helpers.hub import Hub
from tests.helpers.sandbox import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Return `rgt` between an empty server and an empty cache."""
    with Hub() as hub:
        yield Sandbox(hub, tmp_path)


@pytest.fixture
def published(micro_checkpoint: Path) -> bytes:
    """Return the content of a small x2 checkpoint, wrapped and with derived buffers as published."""
    return save_as_published(micro_checkpoint).read_bytes()
