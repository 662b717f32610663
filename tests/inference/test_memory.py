"""Compare the memory model with what real processes use, and check the tiles that follow from it."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.inference.device import is_emulated
from rgt_cli.inference.memory import (
    MemoryModel,
    TileBudget,
    bytes_in_memory,
    free_memory,
    next_smaller_tile,
)
from rgt_cli.network import RGTConfig
from rgt_cli.network.attention import recursions
from rgt_cli.size import Dimensions
from tests.helpers.scripts import run_script

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_forward_pass_uses_what_the_model_predicts(precision: str) -> None:
    """The prediction is never exceeded, and not so high that memory would be wasted."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if is_emulated(dtype, CPU):
        pytest.skip(f"this processor emulates {precision}, in additional memory")
    model = MemoryModel.of(RGTConfig(), dtype, CPU)
    used = {}
    for side in (192, 320):
        used[side] = int(run_script("measure_forward_pass.py", side, precision))
        assert used[side] <= model.bytes_for(Dimensions(side, side))
    per_pixel = (used[320] - used[192]) / (320**2 - 192**2)
    assert 0.6 * model.per_pixel < per_pixel < 1.1 * model.per_pixel


def test_memory_stays_flat_over_images_of_many_sizes() -> None:
    """The caches of oneDNN are limited: without that, 16 MiB are exceeded eightfold."""
    halfway, end = map(int, run_script("upscale_many_sizes.py", 220).split())
    assert end - halfway < 16 << 20


def budget_for(width: int, height: int, free: int, *, host: int | None = None) -> TileBudget:
    model = MemoryModel.of(RGTConfig(), torch.float32, CPU)
    return TileBudget(
        model=model,
        image=Dimensions(width, height),
        blending=2 * 4 * 3 * 16 * width,
        free=free,
        free_for_blending=host,
    )


@given(
    st.integers(1, 70_000),
    st.integers(1, 70_000),
    st.integers(0, 1 << 34),
    st.one_of(st.none(), st.integers(0, 1 << 34)),
    st.sampled_from([0.8, 1.0]),
)
def test_largest_tile_fits_and_the_next_does_not(
    width: int, height: int, free: int, host: int | None, share: float
) -> None:
    budget = budget_for(width, height, free, host=host)
    tile = budget.largest_tile(share)
    assert 0 <= tile <= max(width, height)
    assert tile == 0 or budget.fits(tile, share)
    if tile < max(width, height):
        # Longer tiles of a narrow image may fit, but the network would have to widen them.
        widened = 4 ** recursions(tile + 1, tile + 1) > max(min(width, height), 16)
        assert widened or not budget.fits(tile + 1, share)


def test_a_narrow_image_gets_longer_tiles_but_not_widened_ones() -> None:
    assert (
        budget_for(100, 60_000, 1 << 30).largest_tile()
        > budget_for(60_000, 60_000, 1 << 30).largest_tile()
    )
    for width, longest in ((16, 1023), (63, 1023), (64, 4095), (65, 4095)):
        assert budget_for(width, 60_000, 1 << 40).largest_tile() == longest


def test_a_whole_image_needs_no_memory_for_blending() -> None:
    budget = budget_for(500, 400, 0)
    assert budget.bytes_for(500) == budget.model.bytes_for(Dimensions(500, 400))
    assert budget.bytes_for(499) > budget.bytes_for(500)
    assert budget_for(500, 400, 1 << 40, host=500 * 400 * 383).largest_tile() < 500


def test_collected_output_reduces_the_budget() -> None:
    model = MemoryModel.of(RGTConfig(), torch.float32, CPU)
    streamed, collected = (
        TileBudget.of(
            model,
            Dimensions(1000, 1000),
            scale=4,
            channels=3,
            collected=collected,
            device=CPU,
            limit=None,
        )
        for collected in (False, True)
    )
    assert streamed.free - collected.free == pytest.approx(2 * 3 * 16 * 10**6, abs=2**26)


def test_smaller_tiles_stop_at_the_step_of_the_function() -> None:
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


def test_batches_fill_the_memory_but_for_the_fixed_part() -> None:
    model = MemoryModel(per_pixel=100, fixed=1000)
    assert model.batch_size_for(Dimensions(10, 20), 1000 + 3 * 100 * 200) == 3
    assert model.batch_size_for(Dimensions(10, 20), 1000 + 3 * 100 * 200 - 1) == 2
    assert model.batch_size_for(Dimensions(10, 20), 500) == 0


def test_an_image_in_memory_counts_input_and_output_twice() -> None:
    assert bytes_in_memory(100, 3) == 2 * 100 + 2 * 900
