"""The network equals the published one, number for number."""

import ast
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rgt_cli.checkpoints.load import network_from_state_dict
from rgt_cli.network import rgt
from rgt_cli.network.kernels import STRIP_VALUES
from tests.conftest import DATA

FILES = sorted((DATA / "golden").glob("*.safetensors"))
# The larger vectors (deep recursion, full width) lie beside the project where it is developed.
FILES += sorted(
    file
    for file in (DATA.parents[2] / "shared/reference/golden").glob("*.safetensors")
    if file.name not in {f.name for f in FILES}
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("tokens", [1 << 17, 500], ids=["whole", "in-strips"])
def test_output_equals_published(path: Path, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    network = network_from_state_dict(weights)
    for name, stored in metadata.items():
        found = getattr(network.config, name)
        if name in ("depth", "num_heads", "split_size"):
            assert found == tuple(ast.literal_eval(stored)), name
        elif name == "resi_connection":
            assert found == stored
        else:
            assert found == pytest.approx(ast.literal_eval(stored)), name
    monkeypatch.setattr(rgt, "TAIL_TOKENS", tokens)
    monkeypatch.setitem(STRIP_VALUES, "cpu", tokens * network.config.embed_dim)
    inputs = [key for key in tensors if key.startswith("input.")]
    assert inputs
    for key in inputs:
        with torch.inference_mode():
            output = network(tensors[key].float())
        expected = tensors[key.replace("input.", "output.")]
        torch.testing.assert_close(output, expected, rtol=0, atol=2e-5)
