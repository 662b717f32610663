"""Checkpoints: every wrapping is understood, every defect is named, nothing is run."""

import gzip
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rgt_cli.checkpoints import resolve
from rgt_cli.checkpoints.load import load_network, network_from_state_dict
from rgt_cli.errors import CheckpointError, UsageError
from tests.conftest import DATA, MICRO

OFFICIAL = json.loads(gzip.decompress((DATA / "official_state_dicts.json.gz").read_bytes()))
PUBLISHED_MILLIONS = {"RGT_S_x4": 10.20, "RGT_x4": 13.37}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_state_dicts(name: str) -> None:
    state = {
        k: torch.zeros(shape, dtype=getattr(torch, dtype))
        for k, (shape, dtype) in OFFICIAL[name].items()
    }
    for key in state:
        if key.endswith("attns.0.rpe_biases"):
            state[key] = torch.cartesian_prod(torch.arange(-7.0, 8), torch.arange(-31.0, 32))
    network = network_from_state_dict(state)
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
def test_wrappings(micro_checkpoint: Path, wrapper: str, prefix: str, dtype: torch.dtype) -> None:
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


def test_window_from_position_index(micro_checkpoint: Path) -> None:
    state = load_file(micro_checkpoint)
    del state["layers.0.blocks.0.attn.attns.0.rpe_biases"]
    rows, columns = torch.arange(4).repeat_interleave(8), torch.arange(8).repeat(4)
    index = (rows[:, None] - rows + 3) * 15 + columns[:, None] - columns + 7
    state["layers.0.blocks.0.attn.attns.0.relative_position_index"] = index
    assert network_from_state_dict(state).config.split_size == (4, 8)


def test_defects_are_named(micro_checkpoint: Path) -> None:
    good = load_file(micro_checkpoint)
    key = "layers.1.blocks.0.mlp.fc2.weight"
    defects = {
        "missing": {k: v for k, v in good.items() if k != key},
        "left over": good | {"extra.weight": torch.zeros(1)},
        "instead of": good | {key: torch.zeros(3, 3)},
        "not finite": good | {key: good[key] * float("nan")},
        "conv_first": {k: v for k, v in good.items() if k != "conv_first.weight"},
    }
    for words, state in defects.items():
        path = micro_checkpoint.with_name("bad.safetensors")
        save_file(state, path)
        with pytest.raises(CheckpointError, match=words) as caught:
            load_network(path)
        assert str(path) in str(caught.value)
        assert any(name in str(caught.value) for name in (key, "extra.weight", "conv_first"))


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    if how == "torch":
        torch.save({"params": Evil()}, path)
    else:
        path.write_bytes(pickle.dumps({"params": Evil()}))
    with pytest.raises(CheckpointError, match="refused"):
        load_network(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 2000, -100])
def test_truncated(micro_checkpoint: Path, suffix: str, keep: int) -> None:
    path = micro_checkpoint.with_name("cut" + suffix)
    if suffix == ".pth":
        torch.save(load_file(micro_checkpoint), path)
    else:
        path.write_bytes(micro_checkpoint.read_bytes())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cut"):
        load_network(path)


def test_other_contents(tmp_path: Path) -> None:
    for content in ([1, 2], {"params": {"a": 1}}, {"conv_first.weight": torch.zeros(4, 3, 3, 3)}, {}):
        path = tmp_path / "other.pth"
        torch.save(content, path)
        with pytest.raises(CheckpointError):
            load_network(path)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bundled(scale: int) -> None:
    resolved = resolve("auto", scale)
    assert resolved.name == f"rgt-tiny-x{scale}"
    assert "no CUDA" in resolved.notes[0]
    assert resolve("tiny", scale).path == resolve(resolved.name, scale).path == resolved.path
    network = load_network(resolved.path)
    assert network.config.upscale == scale
    assert network.config.split_size == (8, 16)


def test_unknown_models() -> None:
    with pytest.raises(UsageError, match="8"):
        resolve("auto", 8)
    with pytest.raises(CheckpointError, match="nonesuch"):
        resolve("nonesuch", 4)
