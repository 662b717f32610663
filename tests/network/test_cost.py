"""The arithmetic of what a network costs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rgt_cli.network import RGT, RGTConfig
from rgt_cli.network.cost import multiply_adds


@pytest.mark.parametrize(("groups", "giga"), [(6, 193.08), (8, 251.07)])
def test_published_cost(groups: int, giga: float) -> None:
    """The complexity table of the paper: 3 x 128 x 128 in, x4."""
    config = RGTConfig(depth=(6,) * groups, num_heads=(6,) * groups)
    assert multiply_adds(config, 128, 128) / 1e9 == pytest.approx(giga, rel=0.01)


def test_counts_what_runs() -> None:
    """The same number as a counter of the products that PyTorch really computes."""
    # Queries and keys as wide as values, and windows that tile the picture: no padding is counted.
    for tail, scale, connection in (
        ("direct", 2, "3conv"),
        ("pixelshuffle", 3, "1conv"),
        ("pixelshuffle", 4, "1conv"),
    ):
        config = RGTConfig(
            upscale=scale, embed_dim=64, depth=(2, 3), num_heads=(2, 2), split_size=(4, 8), c_ratio=1.0,
            upsampler=tail, resi_connection=connection,
        )  # fmt: skip
        network = RGT(config).eval()
        image = torch.zeros(1, 3, 64, 32)
        # Under autograd nothing is fused into operations that the counter does not know.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            network(image)
        assert multiply_adds(config, 64, 32) == pytest.approx(counter.get_total_flops() / 2, rel=0.002)
