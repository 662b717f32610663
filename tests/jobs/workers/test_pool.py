"""The workers of a run: what they have in common, and those that cannot take part."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rgt_cli.inference.selfcheck import golden_image
from rgt_cli.jobs.options import JobOptions, ModelOptions
from rgt_cli.jobs.workers.devices import Devices
from rgt_cli.jobs.workers.pool import Pool, slots_of
from rgt_cli.jobs.workers.worker import Fitness, Place, WorkerSpec
from tests.helpers.clusters import Run, check_outputs, make_folder, node_with, node_without
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.scripts.upscale_on_workers import SLOW

RAY = SimpleNamespace(remote=lambda **options: lambda name: name)
"""What some of these tests use of Ray; others use Ray itself."""


@pytest.mark.parametrize(
    ("local", "precision"), [("cuda:0,cuda:1", "auto"), ("xpu:0,xpu:1", "auto"), ("cuda:0,cpu", "fp32")]
)
def test_different_devices_compute_in_one_precision(local: str, precision: str) -> None:
    devices = Devices(local=tuple(local.split(",")))
    spec = WorkerSpec(model=ModelOptions(), size=None, options=JobOptions())
    pool = Pool(RAY, devices, spec, ((), Path()), make_context(nearest_upscaler()))
    place = Place(host="here", processors=8, free=1 << 30)
    pool._share_out({slot.name: place for slot in slots_of(devices, RAY)})
    assert {shared.model.precision for shared in pool._specs.values()} == {precision}
    assert {shared.model.memory for shared in pool._specs.values()} == {1 << 30}


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        ({"torch": "1.0"}, "has PyTorch 1.0 instead of 2.13"),
        ({"model": "1"}, "has other weights"),
        ({"precision": "fp32"}, "computes in fp32 instead of fp16"),
        ({"golden": golden_image() // 2}, "computes a test tile unlike the others"),
    ],
)
def test_a_worker_that_differs_is_left_out(difference: dict[str, Any], reason: str) -> None:
    """Results must not depend on who computes them. What most workers have is right."""
    devices, warnings = Devices(local=("cuda:0", "cuda:1", "cuda:2")), list[str]()
    context = make_context(nearest_upscaler(), warn=warnings.append)
    spec = WorkerSpec(model=ModelOptions(), size=None, options=JobOptions())
    pool = Pool(RAY, devices, spec, ((), Path()), context)
    usual = Fitness(
        host="here", device="cuda", torch="2.13", model="0", precision="fp16", problem="",
        golden=golden_image(),
    )  # fmt: skip
    found = [replace(usual, **difference), usual, replace(usual, golden=golden_image() ^ 1)]
    pool._settle(found)
    accepted = [pool.accepts(slot, one) for slot, one in zip(pool._slots, found, strict=True)]
    assert accepted == [False, True, True]
    (warning,) = warnings
    assert f"here cuda:0 is left out: it {reason}" in warning


def other_version(place: Path) -> Path:
    """Return a folder that lets Python believe that this package has another version."""
    folder = place / "other"
    folder.mkdir()
    text = 'from rgt_cli import version; version.__version__ = "0.0.1"'
    (folder / "sitecustomize.py").write_text(text)
    return folder


def test_workers_that_are_unfit(cluster: Any, tmp_path: Path) -> None:
    """They are named and left out, before the run or as soon as they die, and the others do the work."""
    source = make_folder(tmp_path, *[SLOW] * 4)
    is_root = os.geteuid() == 0 and shutil.which("unshare")
    with ExitStack() as stack:
        stack.enter_context(node_with(cluster, PYTHONPATH=str(other_version(tmp_path))))
        stack.enter_context(node_with(cluster, STUB_ERROR="0.1"))
        stack.enter_context(node_with(cluster, STUB_DEADLY="1"))
        if is_root:
            stack.enter_context(node_without(cluster, source))
        run = Run(source, cluster, 5 + bool(is_root), "--deaths", 1)
        assert set(run.end().values()) == {1}
    assert len({outcome["worker"] for outcome in run.outcomes}) == 2
    left_out = [warning for warning in run.warnings if "is left out" in warning]
    reasons = sorted(warning.partition("it ")[2] for warning in left_out)
    expected = ["computes a test tile unlike the others"]
    expected += [f"does not see {source}/000.png"] if is_root else []
    expected += ["has rgt 0.0.1 instead of"]
    assert len(reasons) == len(expected)
    assert all(map(str.startswith, reasons, expected)), reasons
    assert sum("is not replaced: 1 died there" in warning for warning in run.warnings) == 1
    check_outputs(run)
