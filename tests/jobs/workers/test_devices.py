"""Names of several devices, and the workers that they start."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.jobs.workers.devices import Devices, parse_devices
from rgt_cli.jobs.workers.pool import slots_of
from tests.helpers.gpu import SimulatedGPU

RAY = SimpleNamespace(cluster_resources=lambda: {"GPU": 2.0})
"""What these tests use of Ray: a cluster with two GPUs."""


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
