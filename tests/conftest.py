"""Fixtures for all tests: an image, a small checkpoint, and the real `rgt` in a subprocess."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rgt_cli.network import RGT
from tests.helpers import DATA
from tests.helpers.checkpoints import save_as_published, save_network
from tests.helpers.hub import Hub
from tests.helpers.networks import MICRO
from tests.helpers.process import RunRGT, run_rgt
from tests.helpers.sandbox import Sandbox

for _variable in [name for name in os.environ if name.startswith("RGT_") and "_TEST_" not in name]:
    del os.environ[_variable]  # the person who runs the tests may have configured rgt
os.environ["XDG_CONFIG_HOME"] = os.devnull

if "PYTEST_XDIST_WORKER" in os.environ:  # other workers, and the processes they start, compute too
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def logger_as_it_was() -> Iterator[None]:
    """Undo what commands with -v or --debug, run in this process, set for all that follow."""
    yield
    logger = logging.getLogger("rgt_cli")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def photo() -> np.ndarray:
    """A photo of a cat, (300, 451, 3) uint8."""
    with Image.open(DATA / "cat.png") as opened:
        return np.asarray(opened)


@pytest.fixture
def small_png(tmp_path: Path, photo: np.ndarray) -> Path:
    """A crop of the photo, 40 x 30 pixels: `in.png` in a folder of its own."""
    path = tmp_path / "in.png"
    Image.fromarray(photo[100:130, 150:190]).save(path)
    return path


@pytest.fixture
def micro_checkpoint(tmp_path: Path) -> Path:
    """A random RGT for x2 that computes in no time."""
    torch.manual_seed(0)
    return save_network(RGT(MICRO), tmp_path / "micro.safetensors")


@pytest.fixture(scope="session")
def rgt() -> RunRGT:
    """Run `rgt` as a person would."""
    return run_rgt


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """`rgt` between an empty server and an empty cache."""
    with Hub() as hub:
        yield Sandbox(hub, tmp_path)


@pytest.fixture
def published(micro_checkpoint: Path) -> bytes:
    """A small x2 checkpoint, wrapped and with derived buffers as published."""
    return save_as_published(micro_checkpoint).read_bytes()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes with room for a worker each."""
    pytest.importorskip("ray", reason="Ray, of the extra `cluster`, is not installed")
    from tests.helpers.clusters import cluster_of

    with cluster_of(2) as started:
        yield started
