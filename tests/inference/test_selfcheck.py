"""The self-check of devices, with the processor in place of a faulty graphics card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants

from rgt_cli.errors import UsageError
from rgt_cli.inference import NetworkUpscaler, selfcheck
from rgt_cli.inference.selfcheck import Comparison, GoldenTile, trusted_precision
from rgt_cli.jobs import JobOptions
from rgt_cli.jobs.options import ModelOptions
from rgt_cli.jobs.workers.worker import Worker, WorkerSpec
from rgt_cli.measure import psnr
from rgt_cli.network import RGT, RGTConfig
from rgt_cli.network.kernels import computing
from tests.helpers.gpu import SimulatedGPU
from tests.helpers.networks import Overflowing, random_rgt

CPU = torch.device("cpu")
SMALL = RGTConfig(
    upscale=2, embed_dim=32, depth=(2,), num_heads=(2,), split_size=(4, 8), upsampler="direct"
)

Fault = Callable[[torch.Tensor], torch.Tensor]
"""What a device makes of a correct output."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute small networks on one thread, which is faster where other processes are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Check the processor as if it were a graphics card; return the file of what passed."""
    monkeypatch.setattr(selfcheck, "TRUSTED", frozenset())
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "rgt" / "selfcheck.json"


@pytest.fixture
def ignored_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attention in half precision ignore its mask, as some libraries did."""
    right = F.scaled_dot_product_attention

    def wrong(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        attn_mask: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        return right(q, k, v, attn_mask=None if q.dtype == torch.float16 else attn_mask, scale=scale)

    monkeypatch.setattr(F, "scaled_dot_product_attention", wrong)


class Faulty(RGT):
    """A small RGT that its device computes incorrectly. A copy, for the processor, is correct."""

    fault: Fault

    def __init__(self, fault: Fault) -> None:
        super().__init__(SMALL)
        self.load_state_dict(random_rgt(SMALL).state_dict())
        self.eval()
        self.fault, self.calls = fault, 0

    def __deepcopy__(self, memo: object) -> RGT:
        return random_rgt(SMALL)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.fault(super().forward(x))


def shifted(y: torch.Tensor) -> torch.Tensor:
    """Return an output that is shifted by a pixel."""
    return y.roll(1, dims=-1)


def overflowed(y: torch.Tensor) -> torch.Tensor:
    """Return an output that is infinite in half precision."""
    return y + float("inf") if torch.is_autocast_enabled("cpu") else y


def failing(error: str) -> Fault:
    """Return what raises an error instead of returning an output."""

    def fail(y: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(error)

    return fail


def passes(dtype: torch.dtype, seed: int = 0) -> bool:
    """Return whether a small RGT may be computed in a precision."""
    network = random_rgt(SMALL, seed=seed)
    used, notes = trusted_precision(network, name="net", device=CPU, dtype=dtype)
    return used == dtype and not notes


def test_a_check_that_was_passed_is_not_repeated(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert passes(torch.bfloat16)
    (entry,) = json.loads(memory.read_text())["passed"]
    assert entry["pytorch"] == torch.__version__
    monkeypatch.setattr(selfcheck, "GoldenTile", lambda network: pytest.fail("it is checked again"))
    assert passes(torch.bfloat16)
    for seed, dtype in ((1, torch.bfloat16), (0, torch.float32)):  # other weights, another precision
        with pytest.raises(pytest.fail.Exception):
            passes(dtype, seed)
    for key in ("device", "driver", "pytorch", "rgt"):
        memory.write_text(json.dumps({"passed": [entry | {key: "another"}]}))
        with pytest.raises(pytest.fail.Exception):
            passes(torch.bfloat16)


def test_a_damaged_memory_is_replaced(memory: Path) -> None:
    memory.parent.mkdir(parents=True)
    for content in (b"\xff{", b"[1]", b'{"passed": 1}', b'{"passed": [[], {"device": 1}]}'):
        memory.write_bytes(content)
        assert passes(torch.float32)
        assert json.loads(memory.read_text())["passed"][-1]["precision"] == "fp32"


def test_without_a_cache_that_can_be_written_nothing_is_remembered(memory: Path) -> None:
    memory.parent.parent.mkdir()
    memory.parent.write_text("a file in place of the folder")
    assert passes(torch.float32)
    assert passes(torch.float32)


def test_checks_at_the_same_time_are_all_remembered(memory: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda seed: passes(torch.float32, seed), range(4)))
    assert len(json.loads(memory.read_text())["passed"]) == 4


def test_a_precision_that_is_not_finite_is_not_used(memory: Path, photo: np.ndarray) -> None:
    image = photo[:16, :16]
    upscaler = NetworkUpscaler(Faulty(overflowed), device="cpu", precision="bf16")
    assert upscaler.dtype == torch.float32
    (note,) = (note for note in upscaler.notes if "incorrectly" in note)
    assert "bf16 (values that are not finite)" in note
    assert "using fp32" in note
    exact = NetworkUpscaler(random_rgt(SMALL), device="cpu").upscale(image)
    np.testing.assert_array_equal(upscaler.upscale(image), exact)
    assert upscaler.redone_tiles == 0
    assert [entry["precision"] for entry in json.loads(memory.read_text())["passed"]] == ["fp32"]


def test_attention_that_ignores_its_mask_is_noticed(memory: Path, ignored_masks: None) -> None:
    used, (note,) = trusted_precision(random_rgt(SMALL), name="net", device=CPU, dtype=torch.float16)
    assert used == torch.float32
    assert "fp16 (attention with an error of" in note
    assert passes(torch.bfloat16), "which is not affected"


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_a_gpu_whose_attention_ignores_masks(
    monkeypatch: pytest.MonkeyPatch, memory: Path, ignored_masks: None, kind: str, photo: np.ndarray
) -> None:
    network, image = random_rgt(SMALL), photo[:16, :16]
    with SimulatedGPU(kind, monkeypatch):
        monkeypatch.setattr(selfcheck, "TRUSTED", {"cpu"})
        upscaler = NetworkUpscaler(network, device=kind)
        assert upscaler.dtype == torch.bfloat16
        (note,) = upscaler.notes
        assert f"{kind} (Simulated) computes network incorrectly in fp16 (attention" in note
        again = NetworkUpscaler(random_rgt(SMALL), device=f"{kind}:1", precision="bf16")
        assert not again.notes
        result = upscaler.upscale(image)
        assert not any(weights.is_inference() for weights in network.parameters())
    (entry,) = json.loads(memory.read_text())["passed"]
    assert (entry["device"], entry["precision"]) == (f"{kind} (Simulated)", "bf16")
    exact = NetworkUpscaler(random_rgt(SMALL), device="cpu").upscale(image)
    assert psnr(result, exact) > 40


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (shifted, "dB against fp32"),
        (lambda y: y * float("nan"), "not finite"),
        (failing("CUDA error: no kernel image"), "no kernel image"),
    ],
    ids=["wrong", "not finite", "unsupported"],
)
def test_a_device_that_is_wrong_in_fp32_is_refused(memory: Path, fault: Fault, reason: str) -> None:
    with pytest.raises(UsageError, match=f"bf16 .*{reason}.* and fp32 .*{reason}.*--device cpu"):
        NetworkUpscaler(Faulty(fault), device="cpu", precision="bf16")
    assert not memory.exists()


def test_a_check_without_memory_refuses_nothing(memory: Path) -> None:
    network = Faulty(failing("CUDA out of memory"))
    used = trusted_precision(network, name="net", device=CPU, dtype=torch.bfloat16)
    assert used == (torch.bfloat16, ())
    assert not memory.exists()


def test_the_processor_and_other_networks_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Faulty(shifted)
    assert NetworkUpscaler(network, device="cpu", precision="bf16").dtype == torch.bfloat16
    assert network.calls == 0
    monkeypatch.setattr(selfcheck, "TRUSTED", frozenset())
    other = Overflowing(2)
    assert NetworkUpscaler(other, device="cpu", precision="bf16").dtype == torch.bfloat16


def test_the_worst_of_half_precision_passes() -> None:
    golden = GoldenTile(random_rgt(SMALL))
    exact, half = (golden.compare(CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert exact.psnr == float("inf")
    assert exact.attention_error == 0
    assert not half.problem
    assert half.attention_error < selfcheck.MOST_ATTENTION_ERROR / 3


def test_a_worker_whose_device_computes_wrong_takes_no_part(
    memory: Path, monkeypatch: pytest.MonkeyPatch, micro_checkpoint: Path, tmp_path: Path
) -> None:
    def compare(golden: GoldenTile, device: torch.device, dtype: torch.dtype) -> Comparison:
        return Comparison(precision="fp32", psnr=float("nan"), attention_error=0, seconds=0)

    spec = WorkerSpec(
        model=ModelOptions(model=str(micro_checkpoint), device="cpu", precision="fp32"),
        size=None,
        options=JobOptions(),
    )
    healthy = Worker().prepare(spec, (), tmp_path)
    assert not healthy.problem
    assert healthy.model
    memory.unlink()
    monkeypatch.setattr(GoldenTile, "compare", compare)
    assert "--device cpu" in Worker().prepare(spec, (), tmp_path).problem


def test_kernels_on_cuda() -> None:
    """Attention prefers the memory-efficient one, and convolutions in fp32 do not round to TF32.

    These settings are global, so they can be seen without a GPU.
    """

    def state() -> tuple[list[int], bool, bool]:
        enabled = "cudnn_sdp_enabled"  # has no annotations
        has_cudnn = getattr(torch.backends.cuda, enabled)()
        return torch._C._get_sdp_priority_order(), has_cudnn, torch.backends.cudnn.allow_tf32

    before = state()
    with computing(torch.device("cuda"), torch.float32):
        order, has_cudnn, rounds = state()
    assert order[0] == torch._C._SDPBackend.EFFICIENT_ATTENTION.value
    assert not has_cudnn
    assert not rounds
    assert state() == before
