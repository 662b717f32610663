"""The network and its reference equal the published code, number for number, on golden vectors."""

from pathlib import Path

import pytest
import torch

from rgt_cli.checkpoints.load import network_from_state_dict
from rgt_cli.network import rgt
from rgt_cli.network.kernels import STRIP_VALUES
from tests.helpers.golden import golden_files, load_golden
from tests.network.reference_rgt import reference_rgt


@pytest.mark.parametrize("path", golden_files())
@pytest.mark.parametrize("tokens", [1 << 17, 500], ids=["whole", "in-strips"])
def test_output_equals_published(path: Path, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = load_golden(path)
    network = network_from_state_dict(golden.weights)
    monkeypatch.setattr(rgt, "TAIL_TOKENS", tokens)
    monkeypatch.setitem(STRIP_VALUES, "cpu", tokens * network.config.embed_dim)
    for image, expected in golden.pairs:
        with torch.inference_mode():
            torch.testing.assert_close(network(image), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("path", golden_files())
def test_hyper_parameters_are_detected(path: Path) -> None:
    golden = load_golden(path)
    config = network_from_state_dict(golden.weights).config
    for name, expected in golden.config.items():
        found = getattr(config, name)
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected), name


@pytest.mark.parametrize("path", golden_files())
def test_reference_equals_published(path: Path) -> None:
    """So it is an oracle for what no golden vector covers."""
    golden = load_golden(path)
    network = network_from_state_dict(golden.weights)
    for image, expected in golden.pairs:
        output = reference_rgt(network.state_dict(), network.config, image)
        torch.testing.assert_close(output, expected, rtol=0, atol=2e-5)
