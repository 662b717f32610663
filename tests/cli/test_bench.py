"""The figures of `rgt bench` are consistent. Its speed is not asserted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from rgt_cli.inference import memory
from rgt_cli.inference.device import is_emulated
from rgt_cli.measure.benchmark import Case, time_case
from rgt_cli.network.cost import multiply_adds
from rgt_cli.size import Dimensions
from tests.helpers.networks import MICRO
from tests.helpers.process import RunRGT


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
        assert row["input_size"] == [row["tile"]] * 2
        assert row["output_size"] == [2 * row["tile"]] * 2
        assert row["megapixels_per_second"] == pytest.approx(row["tile"] ** 2 / 1e6 / row["seconds"])
        assert 50 << 20 < row["peak_memory"] < 4 << 30
        rates = row["operations_per_second"], row["matrix_peak"]
        assert row["peak_fraction"] == pytest.approx(rates[0] / rates[1])
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
    is_faster = "--precision bf16 takes" in result.stderr
    assert is_faster != is_emulated(torch.bfloat16, torch.device("cpu"))


@pytest.mark.parametrize(
    ("free", "tiles", "tile", "computed"), [(1 << 40, 1, 100, (40, 100)), (0, 10, 28, (25, 28))]
)
def test_images_are_computed_whole_or_in_tiles(
    monkeypatch: pytest.MonkeyPatch,
    micro_checkpoint: Path,
    free: int,
    tiles: int,
    tile: int,
    computed: tuple[int, int],
) -> None:
    """In this process, with this many bytes that seem to be free."""
    monkeypatch.setattr(memory, "free_memory", lambda device, limit=None: free)
    size = Dimensions(100, 40)
    timing = time_case(Case(model=str(micro_checkpoint), device="cpu", size=size, tiles="auto", runs=1))
    assert (timing.tiles, timing.tile) == (tiles, tile)
    assert (timing.scale, timing.output_size) == (2, (200, 80))
    assert timing.frames_per_second == pytest.approx(1 / timing.seconds)
    operations = timing.operations_per_second * timing.seconds
    assert operations == pytest.approx(2 * tiles * multiply_adds(MICRO, *computed))
    assert timing.device_name


def test_markdown(rgt: RunRGT, micro_checkpoint: Path) -> None:
    micro = micro_checkpoint.rename(micro_checkpoint.with_name("a|b.safetensors"))
    arguments = ("--device", "cpu", "--shape", "32x16", "--runs", "1", "--markdown")
    result = rgt("bench", "-m", micro, *arguments)
    assert result.returncode == 0, result.stderr
    header, rule, row = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in result.stdout.splitlines()
    ]
    assert set(rule) == {"---"}
    assert {"model", "FPS", "s/image", "memory", "precision", "device"} <= set(header)
    assert len(row) == len(header)
    values = dict(zip(header, row, strict=True))
    assert values["model"] == r"a\|b.safetensors"
    assert (values["precision"], values["output"], values["computed"]) == ("fp32", "64 x 32", "whole")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--shape", "640"), 2),
        (("--shape", "640x480", "--tiles", "64"), 2),
        (("--markdown", "--json"), 2),
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
