"""The figures of `rgt bench` are consistent. Its speed is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rgt_cli.inference.device import is_emulated
from tests.helpers.process import RunRGT

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def test_json(rgt: RunRGT, micro_checkpoint: Path) -> None:
    result = rgt(
        "bench", "-m", micro_checkpoint, "--device", "cpu", "--precision", "fp32,bf16",
        "--tiles", "16,48", "--runs", "1", "--threads", "1", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["timings"]
    assert [(row["precision"], row["tile"]) for row in rows] == [
        ("fp32", 16), ("fp32", 48), ("bf16", 16), ("bf16", 48),
    ]  # fmt: skip
    for row in rows:
        assert row["threads"] == 1
        assert row["megapixels_per_second"] == pytest.approx(row["tile"] ** 2 / 1e6 / row["seconds"])
        assert 50 << 20 < row["peak_memory"] < 4 << 30
        assert row["peak_fraction"] > 0
        emulated = is_emulated(PRECISIONS[row["precision"]], torch.device("cpu"))
        assert row["peak_fraction"] < 1 or emulated, "a precision that is emulated has no peak"
        if row["precision"] == "fp32":
            assert row["max_error"] == 0
            assert row["psnr"] is None
        else:
            assert 0 < row["max_error"] < 0.1
            assert row["psnr"] > 40


def test_table(rgt: RunRGT, micro_checkpoint: Path) -> None:
    result = rgt("bench", "-m", micro_checkpoint, "--device", "cpu", "--tiles", "32", "--runs", "1")
    assert result.returncode == 0, result.stderr
    assert "micro.safetensors on cpu" in result.stderr
    for word in ("fp32", "exact", "GFLOP/s", "MiB"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--tiles", "5"), 2),
        (("--tiles", "a"), 2),
        (("--precision", "fp8"), 2),
        (("-m", "nonsense"), 4),
        (("--device", "tpu"), 2),
    ],
)
def test_bad_usage(rgt: RunRGT, arguments: tuple[str, ...], code: int) -> None:
    result = rgt("bench", *arguments)
    assert result.returncode == code
    assert "Traceback" not in result.stderr
