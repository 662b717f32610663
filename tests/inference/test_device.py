"""Devices and precisions by name."""

import pytest
import torch

from rgt_cli.errors import UsageError
from rgt_cli.inference.device import (
    precision_name,
    resolve_device,
    resolve_precision,
    safer_precisions,
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
