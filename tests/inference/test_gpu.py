"""The path of GPUs, on a simulated one: see `tests/helpers/gpu.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from torch import Tensor

from rgt_cli.errors import CheckpointError, OutOfMemoryError, UsageError
from rgt_cli.inference import NetworkUpscaler, device, selfcheck, transfer
from rgt_cli.inference.device import (
    describe_device,
    resolve_device,
    resolve_precision,
    safer_precisions,
    synchronize,
)
from rgt_cli.inference.memory import free_memory, is_out_of_memory, peak_memory
from rgt_cli.measure import benchmark, psnr
from rgt_cli.size import Dimensions
from tests.helpers.gpu import GIB, SimulatedGPU, Stream
from tests.helpers.networks import Nearest, NeverFinite, random_rgt, repeated


@pytest.fixture(params=["cuda", "xpu"])
def gpu(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SimulatedGPU]:
    """A simulated GPU of either kind, which needs no self-check."""
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(selfcheck, "TRUSTED", frozenset({"cpu", request.param}))
    with SimulatedGPU(request.param, monkeypatch) as simulated:
        yield simulated


def upscaler_on(gpu: SimulatedGPU, network: Any = None, **options: Any) -> NetworkUpscaler:
    """Return an upscaler on the simulated GPU, by default of a random RGT."""
    return NetworkUpscaler(network or random_rgt(spread=0.02), device=gpu.device.type, **options)


def test_results_are_those_of_the_processor(gpu: SimulatedGPU, photo: np.ndarray) -> None:
    image = photo[100:132, 150:190]
    expected = NetworkUpscaler(random_rgt(spread=0.02), device="cpu").upscale(image)
    exact = upscaler_on(gpu, precision="fp32").upscale(image)
    np.testing.assert_allclose(exact.astype(int), expected, atol=1)
    for precision, least in (("fp16", 55), ("bf16", 38)):
        half = upscaler_on(gpu, precision=precision)
        turned = image[::-1].copy()
        for one, result in zip((image, turned), half.upscale_batch([image, turned]), strict=True):
            assert psnr(result, half.upscale(one)) > least
        assert psnr(half.upscale(image), expected) > least


def test_a_gpu_is_checked_once(gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "TRUSTED", frozenset({"cpu"}))
    upscaler = upscaler_on(gpu)
    assert (upscaler.dtype, upscaler.notes) == (torch.float16, ())
    monkeypatch.setattr(selfcheck, "GoldenTile", lambda network: pytest.fail("it is checked again"))
    upscaler_on(gpu)


@pytest.mark.parametrize("gpu", ["cuda"], indirect=True)
def test_policy_of_precision(gpu: SimulatedGPU, photo: np.ndarray) -> None:
    """Products are in half precision, and the residual stream, norms and the output in fp32."""
    upscaler = upscaler_on(gpu, precision="fp16")
    stream: list[torch.dtype] = []
    for name, module in upscaler.network.named_modules():
        if name.endswith((".attn", ".mlp")) or name in ("norm", "layers.0"):
            module.register_forward_hook(lambda module, inputs, output: stream.append(output.dtype))
    upscaler.upscale(photo[:40, :40])  # makes what is cached
    gpu.dtypes.clear()
    upscaler.upscale(photo[:40, :40])
    assert set(stream) == {torch.float32}
    found = {name: {dtype for other, dtype in gpu.dtypes if other == name} for name, _ in gpu.dtypes}
    half = {"linear", "conv2d", "scaled_dot_product_attention"}
    assert all(found[name] == {torch.float16} for name in half)
    assert found["layer_norm"] == found["addcmul_"] == {torch.float32}


class Watched(Nearest):
    """A stub that reports when the network has been asked to compute."""

    def __init__(self, log: list[str]) -> None:
        super().__init__(2)
        self.log = log

    def forward(self, x: Tensor) -> Tensor:
        self.log.append("start")
        return super().forward(x)


@pytest.mark.parametrize("gpu", ["cuda"], indirect=True)
def test_a_tile_is_one_upload_and_one_download(gpu: SimulatedGPU, photo: np.ndarray) -> None:
    """After the first tile of a size, nothing else moves, and the processor waits for nothing else."""
    upscaler = upscaler_on(gpu, tile=32, overlap=8)
    image = photo[:32, :152]
    upscaler.upscale(image)
    gpu.counts.clear()
    gpu.dtypes.clear()
    upscaler.upscale(image)
    assert upscaler.plan_tiles(Dimensions(152, 32)).count == 6
    assert gpu.counts == {"upload": 6, "download": 6, "record_stream": 12}
    indices = {name for name, dtype in gpu.dtypes if dtype in (torch.int32, torch.int64)}
    assert indices <= {"__getitem__", "flatten"}, "indices are made once for a size"
    assert "add" not in {name for name, dtype in gpu.dtypes if dtype == torch.int32}


def test_the_next_tile_is_started_before_a_result_is_read(
    gpu: SimulatedGPU, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    upscaler = upscaler_on(gpu, Watched(log), tile=64, overlap=0)
    image = photo[:128, :128]
    result = upscaler.upscale(image, lambda done, total: log.append(f"{done} of {total}"))
    np.testing.assert_array_equal(result, repeated(image, 2))
    steps = ["0 of 4", "start", "start", "1 of 4", "start", "2 of 4", "start", "3 of 4", "4 of 4"]
    assert log == steps
    monkeypatch.setattr(transfer, "MAX_PINNED", 1000)  # larger results are waited for
    gpu.counts.clear()
    np.testing.assert_array_equal(upscaler.upscale(image), repeated(image, 2))
    assert gpu.counts["download, waited for"] == 4


def test_missing_waits_are_detected(gpu: SimulatedGPU) -> None:
    """The simulation is strict: without these errors, the other tests would prove nothing."""
    module = torch.get_device_module(gpu.device)
    with module.stream(Stream()):
        x = torch.ones(3).pin_memory().to(gpu.device, non_blocking=True)
    with pytest.raises(RuntimeError, match="without waiting"):
        x + x
    with pytest.raises(RuntimeError, match="one device"):
        torch.ones(3, device=gpu.device) + torch.ones(3)
    array = torch.zeros(3, pin_memory=True)
    array.copy_(torch.ones(3, device=gpu.device), non_blocking=True)
    assert array.tolist() == [77, 77, 77]


class Overflows(Nearest):
    """A stub whose output is not finite in some precisions."""

    def __init__(self, *dtypes: torch.dtype) -> None:
        super().__init__(2)
        self.dtypes = dtypes

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        return super().forward(x) * (float("nan") if dtype in self.dtypes else 1)


def test_overflows_are_noticed_without_waiting(
    gpu: SimulatedGPU, photo: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    image = photo[:64, :100]
    for dtypes, used in (((torch.float16,), "bf16"), ((torch.float16, torch.bfloat16), "fp32")):
        upscaler = upscaler_on(gpu, Overflows(*dtypes), precision="fp16", tile=64)
        gpu.counts.clear()
        with caplog.at_level("INFO", logger="rgt_cli.inference"):
            np.testing.assert_array_equal(upscaler.upscale(image), repeated(image, 2))
        assert upscaler.redone_tiles == 2
        assert f"again in {used}" in caplog.text
        assert not gpu.counts["_local_scalar_dense"]
    x = torch.rand(1, 3, 8, 8).to(gpu.device)
    upscaler.infer(x)
    assert upscaler.redone_tiles == 3
    with pytest.raises(CheckpointError, match="finite"):
        upscaler_on(gpu, NeverFinite(2)).upscale(image)


def test_memory_that_runs_out(gpu: SimulatedGPU, photo: np.ndarray) -> None:
    image = photo[:128, :128]
    upscaler = upscaler_on(gpu, Nearest(2))
    gpu.allocations_to_fail = 2  # the whole image: once started ahead, once alone
    np.testing.assert_array_equal(upscaler.upscale(image), repeated(image, 2))
    assert upscaler.reduced_tile == 64
    assert gpu.counts["empty_cache"] == 1
    gpu.allocations_to_fail = 1  # beside another tile; alone, it fits
    np.testing.assert_array_equal(upscaler.upscale(image), repeated(image, 2))
    assert upscaler.reduced_tile == 64
    fixed = upscaler_on(gpu, Nearest(2), tile=64)
    gpu.allocations_to_fail = 3  # two tiles that are started ahead, and the first one alone
    with pytest.raises(OutOfMemoryError, match=f"on {gpu.device.type}"):
        fixed.upscale(image)
    gpu.allocations_to_fail = 1
    images = [image[:64, :64], image[64:, 64:]]
    for one, many in zip(images, fixed.upscale_batch(images), strict=True):
        np.testing.assert_array_equal(many, repeated(one, 2))


def test_memory_of_the_gpu(gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory(gpu.device) == 9 * GIB, "what PyTorch has reserved but not used is free"
    assert free_memory(gpu.device, 3 * GIB) == 2 * GIB
    assert peak_memory(gpu.device) == 3 * GIB
    upscaler = upscaler_on(gpu)
    assert upscaler.batch_size_for(Dimensions(64, 64)) == 8
    assert upscaler.batch_size_for(Dimensions(720, 480)) == 3
    gpu.free = 0
    assert 1 <= upscaler.batch_size_for(Dimensions(720, 480)) < 3
    assert upscaler.plan_tiles(Dimensions(5000, 4000)).count > 1

    def unsupported(device: torch.device) -> Any:
        raise RuntimeError("The device doesn't support querying the available free memory")

    monkeypatch.setattr(torch.get_device_module(gpu.device), "mem_get_info", unsupported)
    assert free_memory(gpu.device) == 15 * GIB
    for text in ("UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", "CUDA out of memory."):
        assert is_out_of_memory(RuntimeError(text))


def test_names_and_precisions(gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = gpu.device.type
    assert resolve_device(f"{kind}:1") == torch.device(kind, 1)
    with pytest.raises(UsageError, match="not available"):
        resolve_device(f"{kind}:2")
    with pytest.raises(UsageError, match="not a device"):
        resolve_device(f"{kind}:")
    assert resolve_device("auto").type == ("cuda" if kind == "cuda" else "cpu")
    assert describe_device(gpu.device) == f"{kind}:0 (Simulated)"
    assert resolve_precision("auto", gpu.device) == torch.float16
    steps = [torch.float16, torch.bfloat16, torch.float32]
    assert safer_precisions(torch.float16, gpu.device) == steps
    module = torch.get_device_module(gpu.device)
    monkeypatch.setattr(module, "is_bf16_supported", lambda *arguments: False)
    assert safer_precisions(torch.float16, gpu.device) == [torch.float16, torch.float32]
    synchronize(gpu.device)
    assert gpu.counts["synchronize"] == 1


def test_the_gpu_measures_its_own_time(gpu: SimulatedGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "MATRIX_SIDE", 16)
    assert benchmark.matrix_rate(torch.float16, gpu.device) == pytest.approx(2 * 32**3 / 0.005)
    assert benchmark.device_name(gpu.device) == "Simulated"


def test_apple_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_has_mps", lambda: True)
    calls: list[str] = []
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.mps, name, lambda name=name: calls.append(name))
    mps = resolve_device("auto")
    assert mps == resolve_device("mps") == torch.device("mps")
    assert describe_device(mps) == "mps"
    assert resolve_precision("auto", mps) == torch.float32
    assert free_memory(mps) > 0
    synchronize(mps)
    with contextlib.suppress(OSError):
        device.release_memory(mps)
    assert calls == ["synchronize", "empty_cache"]
