"""Devices, precisions and threads by name."""

import os
import subprocess
import sys

import pytest
import torch

from rgt_cli.errors import UsageError
from rgt_cli.inference.device import (
    precision_name,
    resolve_device,
    resolve_precision,
    safer_precisions,
    use_threads,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_automatic_precision_is_fp16_on_cuda_only() -> None:
    assert resolve_precision("auto", CUDA) == torch.float16
    assert resolve_precision("auto", CPU) == torch.float32
    for name in ("fp32", "fp16", "bf16"):
        assert precision_name(resolve_precision(name, CPU)) == name


def test_safer_precisions_end_in_fp32() -> None:
    assert safer_precisions(torch.float32, CPU) == [torch.float32]
    assert safer_precisions(torch.float16, CPU) == [torch.float16, torch.float32]
    assert safer_precisions(torch.bfloat16, CUDA) == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "mps:1", "cuda:x", "cuda:1000", ""])
def test_unknown_and_missing_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=repr(name)):
        resolve_device(name)
    assert resolve_device("cpu") == CPU


def test_threads_are_no_more_than_openmp_allows() -> None:
    """In a new process, because the number of threads is a setting of the whole process."""
    program = "from rgt_cli.inference import use_threads; print(use_threads(), use_threads(3))"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    )
    assert result.stdout.split() == ["1", "3"]


def test_threads_can_be_set() -> None:
    before = torch.get_num_threads()
    try:
        assert use_threads(3) == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
