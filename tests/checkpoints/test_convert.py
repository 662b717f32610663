"""A slim file has the same weights and hyper-parameters, and is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rgt_cli.checkpoints.convert import convert
from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import CheckpointError, OutputError
from tests.helpers.checkpoints import save_as_published
from tests.helpers.process import names_in


def test_slim_file_equals_the_original(micro_checkpoint: Path) -> None:
    source = save_as_published(micro_checkpoint)
    target = micro_checkpoint.with_name("slim.safetensors")
    convert(source, target)
    expected, network = load_network(source), load_network(target)
    assert network.config == expected.config
    states = network.state_dict(), expected.state_dict()
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())
    derived = [k for k in load_file(target) if "relative_position_index" in k or "rpe_biases" in k]
    assert len(derived) == 1
    assert target.stat().st_size < source.stat().st_size


def test_dtype_is_preserved(micro_checkpoint: Path) -> None:
    state = {k: v.bfloat16() for k, v in load_file(micro_checkpoint).items()}
    source, target = (
        micro_checkpoint.with_name("bf16.pth"),
        micro_checkpoint.with_name("slim.safetensors"),
    )
    torch.save(state, source)
    convert(source, target)
    stored = load_file(target)
    assert stored["conv_first.weight"].dtype == torch.bfloat16
    assert torch.equal(stored["conv_first.weight"], state["conv_first.weight"])


def test_half_precision_takes_half_the_space(micro_checkpoint: Path) -> None:
    target = micro_checkpoint.with_name("half.safetensors")
    convert(micro_checkpoint, target, half=True)
    assert target.stat().st_size < 0.6 * micro_checkpoint.stat().st_size
    assert {value.dtype for value in load_file(target).values()} == {torch.float16}
    assert load_network(target).config == load_network(micro_checkpoint).config


def test_failure_leaves_the_target_as_it_was(micro_checkpoint: Path) -> None:
    target = micro_checkpoint.with_name("out.safetensors")
    target.write_bytes(b"precious")
    before = names_in(target.parent)
    damaged = micro_checkpoint.with_name("net.pth")
    damaged.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"net\.pth"):
        convert(damaged, target)
    assert target.read_bytes() == b"precious"
    assert names_in(target.parent) == before | {"net.pth"}


def test_target_that_cannot_be_written(micro_checkpoint: Path) -> None:
    target = micro_checkpoint.with_name("nowhere") / "out.safetensors"
    with pytest.raises(OutputError, match="nowhere"):
        convert(micro_checkpoint, target)
