"""The number of multiply-adds of a forward pass."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rgt_cli.network import RGT, RGTConfig
from rgt_cli.network.cost import multiply_adds


@pytest.mark.parametrize(("groups", "giga"), [(6, 193.08), (8, 251.07)])
def test_equals_the_complexity_table_of_the_paper(groups: int, giga: float) -> None:
    """The table is for an input of 3 x 128 x 128 at x4."""
    config = RGTConfig(depth=(6,) * groups, num_heads=(6,) * groups)
    assert multiply_adds(config, 128, 128) / 1e9 == pytest.approx(giga, rel=0.01)


@pytest.mark.parametrize(
    ("tail", "scale", "connection"),
    [("direct", 2, "3conv"), ("pixelshuffle", 3, "1conv"), ("pixelshuffle", 4, "1conv")],
)
def test_equals_the_products_that_pytorch_computes(tail: str, scale: int, connection: str) -> None:
    # Queries and keys are as wide as values, and windows tile the image: PyTorch computes no padding.
    config = RGTConfig(
        upscale=scale, embed_dim=64, depth=(2, 3), num_heads=(2, 2), split_size=(4, 8), c_ratio=1.0,
        upsampler=tail, resi_connection=connection,
    )  # fmt: skip
    network = RGT(config).eval()
    # Under autograd nothing is fused into operations that the counter does not support.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 3, 64, 32))
    assert multiply_adds(config, 64, 32) == pytest.approx(counter.get_total_flops() / 2, rel=0.002)
