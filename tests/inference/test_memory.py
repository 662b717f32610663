"""The memory model against the memory that a real process takes, and the tiles that follow from it."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.inference.device import is_emulated
from rgt_cli.inference.memory import MemoryModel, free_memory, next_smaller_tile
from rgt_cli.network import RGTConfig

CPU = torch.device("cpu")

MEASURE = """
import sys, torch
from rgt_cli.inference.device import keep_freed_memory
from rgt_cli.inference.memory import peak_memory
from rgt_cli.network import RGT, RGTConfig
keep_freed_memory()
side, half = int(sys.argv[1]), sys.argv[2] == "bf16"
config = RGTConfig(depth=(3,), num_heads=(6,))
network = RGT(config).eval()
def peak():
    return peak_memory(torch.device("cpu"))
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
    network(torch.rand(1, 3, 32, 32))
    before = peak()
    network(torch.rand(1, 3, side, side))
print(peak() - before)
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_forward_pass_takes_what_the_model_says(precision: str) -> None:
    """Never more, and not so little that memory would lie idle."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if is_emulated(dtype, CPU):
        pytest.skip(f"this processor emulates {precision}, in memory of its own")
    model = MemoryModel.of(RGTConfig(), dtype, CPU)
    took = {}
    for side in (192, 320):
        shown = subprocess.run(
            [sys.executable, "-c", MEASURE, str(side), precision],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        took[side] = int(shown.stdout)
        assert took[side] <= model.bytes_for(side, side)
    per_pixel = (took[320] - took[192]) / (320**2 - 192**2)
    assert 0.6 * model.per_pixel < per_pixel < 1.1 * model.per_pixel


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 1 << 34))
def test_largest_tile_fits_and_the_next_does_not(height: int, width: int, free: int) -> None:
    model = MemoryModel.of(RGTConfig(), torch.float32, CPU)
    tile = model.largest_tile(height, width, free)
    if tile == 0:
        assert model.bytes_for(1, 1) > free
        return
    assert tile <= max(height, width)
    assert model.bytes_for(min(tile, height), min(tile, width)) <= free
    if tile < max(height, width):
        longer = min(tile + 1, height), min(tile + 1, width)
        unwidened = max(longer[0], 16) * max(longer[1], 16)
        assert model.bytes_for(*longer) > min(free, model.fixed + model.per_pixel * unwidened)


def test_shrinking_stops_where_the_function_changes() -> None:
    sizes, tile = [], 5000
    while tile >= 32:
        sizes.append(tile)
        tile = next_smaller_tile(tile)
    assert sizes == [5000, 2500, 1250, 1024, 512, 256, 128, 64, 32]
    assert (next_smaller_tile(1025), next_smaller_tile(56), next_smaller_tile(33)) == (1024, 32, 32)


def test_free_memory_and_limit() -> None:
    assert 0 < free_memory(CPU) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert free_memory(CPU, 1) == 0
    limit = 8 << 30
    assert free_memory(CPU, limit) < limit


@given(st.integers(1, 70_000), st.integers(1, 70_000), st.integers(10**8, 10**11))
def test_the_largest_tile_fits_however_narrow_the_picture(height: int, width: int, free: int) -> None:
    """A strip of 1 x 65536 is widened by the network: its tiles are shorter than its pixels suggest."""
    model = MemoryModel(10_000, 10**7)
    tile = model.largest_tile(height, width, free)
    assert 0 < tile <= max(height, width)
    assert tile <= 32 or model.bytes_for(min(tile, height), min(tile, width)) <= free


MANY_SIZES = """
import sys
import numpy as np, torch
from rgt_cli.inference import Upscaler
from rgt_cli.inference.memory import peak_memory
upscaler = Upscaler("tiny", 2, device="cpu")
for number in range(260):
    height, width = divmod(number, 16)
    upscaler.upscale(np.zeros((32 + height, 32 + width, 3), np.uint8))
    if number in (140, 259):
        print(peak_memory(torch.device("cpu")))
"""


def test_memory_stays_flat_over_pictures_of_many_sizes() -> None:
    command = [sys.executable, "-c", MANY_SIZES]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, after = map(int, shown.split())
    assert after - before < 16 << 20
