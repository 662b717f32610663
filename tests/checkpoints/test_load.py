"""Every way to wrap a checkpoint is understood, every defect is named, and no code is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rgt_cli.checkpoints.load import load_network, network_from_state_dict
from rgt_cli.errors import CheckpointError
from tests.helpers.checkpoints import OFFICIAL, official_state, save_evil
from tests.helpers.networks import MICRO

PUBLISHED_MILLIONS = {"RGT_S_x4": 10.20, "RGT_x4": 13.37}
"""Millions of parameters, from the paper."""
KEY = "layers.1.blocks.0.mlp.fc2.weight"


@pytest.mark.parametrize("name", OFFICIAL)
def test_published_state_dicts(name: str) -> None:
    network = network_from_state_dict(official_state(name))
    groups = 6 if "_S_" in name else 8
    config = network.config
    assert config.depth == config.num_heads == (6,) * groups
    assert (config.embed_dim, config.mlp_ratio, config.c_ratio) == (180, 2, 0.5)
    assert (config.upscale, config.split_size) == (int(name[-1]), (8, 32))
    if name in PUBLISHED_MILLIONS:
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        assert round(millions, 2) == PUBLISHED_MILLIONS[name]


@pytest.mark.parametrize("wrapper", [None, "params_ema", "params", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "net_g.", "net_g.module."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_wrappers_and_prefixes_are_removed(
    micro_checkpoint: Path, wrapper: str | None, prefix: str, dtype: torch.dtype
) -> None:
    state = {k: v.to(dtype) for k, v in load_file(micro_checkpoint).items()}
    content = {prefix + k: v for k, v in state.items()}
    path = micro_checkpoint.with_suffix(".pth")
    torch.save({wrapper: content, "iter": 5} if wrapper else content, path)
    network = load_network(path)
    assert network.config == MICRO
    assert not network.training
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("missing", f"missing {KEY}"),
        ("unexpected", r"unexpected extra\.weight"),
        ("misshapen", rf"{KEY} is \(3, 3\) instead of"),
        ("not finite", f"{KEY} is not finite"),
        ("no first layer", r"conv_first\.weight is missing"),
    ],
)
def test_defects_are_named(micro_checkpoint: Path, defect: str, words: str) -> None:
    good = load_file(micro_checkpoint)
    states: dict[str, dict[str, Tensor]] = {
        "missing": {k: v for k, v in good.items() if k != KEY},
        "unexpected": good | {"extra.weight": torch.zeros(1)},
        "misshapen": good | {KEY: torch.zeros(3, 3)},
        "not finite": good | {KEY: good[KEY] * float("nan")},
        "no first layer": {k: v for k, v in good.items() if k != "conv_first.weight"},
    }
    path = micro_checkpoint.with_name("bad.safetensors")
    save_file(states[defect], path)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_many_defects_are_summarized(micro_checkpoint: Path) -> None:
    good = load_file(micro_checkpoint)
    with pytest.raises(CheckpointError, match="and 3 more"):
        network_from_state_dict(good | {f"extra{i}": torch.zeros(1) for i in range(8)})


@pytest.mark.parametrize("by_torch", [True, False])
def test_pickle_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_torch: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_evil(tmp_path / "evil.pth", by_torch)
    with pytest.raises(CheckpointError, match="refused"):
        load_network(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("length", [0, 10, 2000, -100])
def test_truncated_files_are_refused(micro_checkpoint: Path, suffix: str, length: int) -> None:
    path = micro_checkpoint.with_name(f"cut{suffix}")
    if suffix == ".pth":
        torch.save(load_file(micro_checkpoint), path)
    else:
        path.write_bytes(micro_checkpoint.read_bytes())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="cut"):
        load_network(path)


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"params": {"a": 1}}, {"conv_first.weight": torch.zeros(4, 3, 3, 3)}, {}],
    ids=["list", "number", "one tensor", "nothing"],
)
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"other\.pth: not an? (RGT )?checkpoint"):
        load_network(path)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    for name in ("net.pth", "net.safetensors"):
        with pytest.raises(CheckpointError, match="no such file"):
            load_network(tmp_path / name)
