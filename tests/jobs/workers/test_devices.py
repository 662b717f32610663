"""Names of several devices, and the workers that they start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.inference.selfcheck import golden_image
from rgt_cli.jobs.options import JobOptions, ModelOptions
from rgt_cli.jobs.workers.devices import Devices, parse_devices
from rgt_cli.jobs.workers.pool import Pool, slots_of
from rgt_cli.jobs.workers.worker import Fitness, Place, WorkerSpec
from tests.helpers.gpu import SimulatedGPU
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler

RAY = SimpleNamespace(cluster_resources=lambda: {"GPU": 2.0}, remote=lambda **options: lambda name: name)
"""What these tests use of Ray. Others use Ray itself, but on processors only."""


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_all_is_every_gpu_if_there_are_several(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_devices("all", None, None) is None
    gpu = SimulatedGPU(kind, monkeypatch)
    assert parse_devices("all", None, None) == Devices(local=(f"{kind}:0", f"{kind}:1"))
    monkeypatch.setattr(gpu.module, "device_count", lambda: 1)
    assert parse_devices("all", None, None) is None


def test_several_devices() -> None:
    found = parse_devices("cuda:0, cuda:1,xpu:0,cpu,cpu", None, None)
    assert found == Devices(local=("cuda:0", "cuda:1", "xpu:0", "cpu", "cpu"))
    assert parse_devices("auto", "auto", 3) == Devices(address="auto", workers=3)
    assert parse_devices("cuda:1", None, None) is None
    for wrong in ("cuda,cuda", "xpu:0,cpu,xpu:0"):
        with pytest.raises(UsageError, match="twice"):
            parse_devices(wrong, None, None)
    for wrong in ("cuda,mps", "auto,cpu", "cuda:0,", "cuda:,cpu", "cpu,cpu:1"):
        with pytest.raises(UsageError, match="not a device for a worker"):
            parse_devices(wrong, None, None)


@pytest.mark.parametrize(("visible", "first", "second"), [("", "0", "1"), ("3,5", "3", "5")])
def test_a_worker_sees_its_own_gpu_only(
    visible: str, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = slots_of(Devices(local=("cuda:0", "cuda:1", "xpu:1", "cpu")), RAY)
    assert [slot.device for slot in slots] == ["cuda", "cuda", "xpu:1", "cpu"]
    variables = [slot.options.get("runtime_env", {}).get("env_vars") for slot in slots]
    assert variables == [
        {"CUDA_VISIBLE_DEVICES": first}, {"CUDA_VISIBLE_DEVICES": second}, None, None
    ]  # fmt: skip
    cluster = slots_of(Devices(address="auto"), RAY)
    assert [(slot.device, slot.options["num_gpus"]) for slot in cluster] == [("cuda", 1)] * 2


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
