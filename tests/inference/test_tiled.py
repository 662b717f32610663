"""Tiles: exact blending, the sizes that are chosen, streaming, and what happens when memory runs out."""

import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rgt_cli.errors import OutOfMemoryError, UsageError
from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.memory import MemoryModel
from rgt_cli.inference.runner import NetworkRunner
from rgt_cli.inference.tiled import TiledRunner
from rgt_cli.inference.tiling import TileSize
from rgt_cli.measure import psnr
from tests.helpers.networks import Hungry, Nearest, repeated
from tests.helpers.scripts import run_script


def tiled(network: Nearest, *, tile: TileSize = "auto", fastest_tile: int | None = None) -> TiledRunner:
    runner = NetworkRunner(network, name="stub", device=torch.device("cpu"), dtype=torch.float32)
    model = MemoryModel.of(network.config, torch.float32, runner.device)
    return TiledRunner(runner, model, tile=tile, overlap=None, memory=None, fastest_tile=fastest_tile)


class Collected:
    """The output that is collected from strips, and the progress that was reported."""

    def __init__(self, runner: TiledRunner, image: np.ndarray) -> None:
        self.reports: list[tuple[int, int]] = []
        self.tops: list[int] = []
        height, width, channels = image.shape
        self.pixels = np.zeros((2 * height, 2 * width, channels), np.uint8)
        on_progress = lambda done, total: self.reports.append((done, total))  # noqa: E731
        for top, strip in runner.strips(image, on_progress, collected=True):
            self.tops.append(top)
            self.pixels[top : top + len(strip)] = np.rint(strip * 255)


def used_memory() -> int:
    return psutil.Process().memory_info().rss


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.sampled_from([2, 3, 4]),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_tiling_is_bit_exact(
    height: int, width: int, scale: int, channels: int, data: st.DataObject
) -> None:
    tile = data.draw(st.integers(1, 40))
    overlap = data.draw(st.integers(0, tile - 1))
    shape = (height, width) if channels == 1 else (height, width, 3)
    image = np.random.default_rng(height * width).integers(0, 256, shape, np.uint8)
    upscaler = NetworkUpscaler(Nearest(scale), tile=tile, overlap=overlap, device="cpu")
    np.testing.assert_array_equal(upscaler.upscale(image), repeated(image, scale))
    np.testing.assert_array_equal(
        np.concatenate(list(upscaler.upscale_rows(image))), repeated(image, scale)
    )


def test_tiled_is_near_whole_on_a_photo(photo: np.ndarray) -> None:
    """With the bundled model at the default overlap: 55 dB or better, and no seam."""
    image = photo[40:240, 100:330].astype(np.float32) / 255
    whole = NetworkUpscaler("tiny", 2, device="cpu", tile="none").upscale(image)
    tiled = NetworkUpscaler("tiny", 2, device="cpu", tile=96).upscale(image)
    assert psnr(whole, tiled, peak=1.0) >= 55
    error = np.abs(whole - tiled)
    for axis in (0, 1):
        steps = np.abs(np.diff(tiled - whole, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps.max() < 8 * (steps.mean() + 1e-4), "there is a visible line between tiles"
    assert error.max() < 0.06


@pytest.mark.parametrize("tile", ["none", "auto", 96])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_streaming_equals_upscaling_in_memory(photo: np.ndarray, tile: TileSize, dtype: type) -> None:
    """One mechanism: the strips, put together, are the output, bit for bit."""
    largest = 1 if dtype is np.float32 else np.iinfo(dtype).max
    image: np.ndarray = (photo[40:160, 100:250] / 255 * largest).astype(dtype)
    upscaler = NetworkUpscaler("tiny", 2, device="cpu", tile=tile)
    strips = list(upscaler.upscale_rows(image))
    whole = upscaler.upscale(image)
    assert strips[0].dtype == whole.dtype == dtype
    np.testing.assert_array_equal(np.concatenate(strips), whole)
    assert (len(strips) > 1) == (tile == 96)


def test_streaming_without_tiles_computes_the_whole_image(photo: np.ndarray) -> None:
    """The network sees the image as a whole, once, although its rows are passed on."""
    network = Hungry(limit=451)
    (strip,) = NetworkUpscaler(network, device="cpu", tile="none").upscale_rows(photo)
    np.testing.assert_array_equal(strip, repeated(photo, 2))
    assert network.seen == [(300, 451)]


@pytest.mark.parametrize("tile", ["none", 300])
@pytest.mark.parametrize("streamed", [False, True])
def test_tiles_that_cannot_fit_are_refused_beforehand(
    photo: np.ndarray, tile: TileSize, streamed: bool
) -> None:
    """Nothing can be caught afterwards: Linux kills a process that uses too much memory."""
    memory = used_memory() + (150 << 20)
    upscaler = NetworkUpscaler("tiny", 2, device="cpu", tile=tile, memory=memory)
    with pytest.raises(OutOfMemoryError, match="--tile") as caught:
        list(upscaler.upscale_rows(photo)) if streamed else upscaler.upscale(photo)
    assert caught.value.exit_code == 5
    named = int(str(caught.value).rsplit(" ", 1)[1])
    assert 32 <= named < 300
    fitting = NetworkUpscaler("tiny", 2, device="cpu", tile=named, memory=used_memory() + (160 << 20))
    next(fitting.upscale_rows(photo))  # the size that is named works


@pytest.mark.parametrize(("tile", "limit"), [("none", 100), (200, 100), ("auto", 8)])
@pytest.mark.parametrize("streamed", [False, True])
def test_out_of_memory_is_an_error(
    photo: np.ndarray, tile: TileSize, limit: int, streamed: bool
) -> None:
    network = Hungry(limit=limit)
    upscaler = NetworkUpscaler(network, device="cpu", tile=tile)
    with pytest.raises(OutOfMemoryError, match="memory") as caught:
        list(upscaler.upscale_rows(photo)) if streamed else upscaler.upscale(photo)
    if tile != "auto":
        named = int(str(caught.value).rsplit(" ", 1)[1])
        assert 32 <= named < (451 if tile == "none" else tile)
        assert network.seen == [], "a requested tile is not replaced by smaller ones"


@pytest.mark.parametrize("streamed", [False, True])
def test_tiles_shrink_when_memory_runs_out(photo: np.ndarray, streamed: bool) -> None:
    reports: list[tuple[int, int]] = []
    network = Hungry(limit=100)
    upscaler = NetworkUpscaler(network, device="cpu")

    def run() -> np.ndarray:
        if streamed:
            rows: Iterator[np.ndarray] = upscaler.upscale_rows(
                photo, lambda done, total: reports.append((done, total))
            )
            return np.concatenate(list(rows))
        return upscaler.upscale(photo, lambda done, total: reports.append((done, total)))

    np.testing.assert_array_equal(run(), repeated(photo, 2))
    assert reports[0] == (0, 1)
    assert reports[-1][0] == reports[-1][1] > 9
    assert upscaler.reduced_tile
    assert 50 <= upscaler.reduced_tile <= 100
    # The next image starts with tiles of that size.
    network.seen.clear()
    np.testing.assert_array_equal(run(), repeated(photo, 2))
    assert max(map(max, network.seen)) <= upscaler.reduced_tile


def test_tiles_are_no_larger_than_the_fastest_and_all_of_one_size(photo: np.ndarray) -> None:
    network = Hungry(limit=1000)
    result = Collected(tiled(network, fastest_tile=256), photo)
    np.testing.assert_array_equal(result.pixels, repeated(photo, 2))
    assert len(network.seen) == 4
    assert set(network.seen) == {(166, 242)}, "they are larger than four tiles need to be"


def test_the_bundled_model_has_a_fastest_tile() -> None:
    assert NetworkUpscaler("tiny", 2, device="cpu").fastest_tile == 256
    assert NetworkUpscaler(Nearest(), device="cpu").fastest_tile is None


def test_finished_tiles_stay_when_memory_runs_out(photo: np.ndarray) -> None:
    """Memory runs out at the fourth tile: the three before it are not computed again."""
    network = Hungry(limit=100, spared=3)
    result = Collected(tiled(network, fastest_tile=150), photo)
    np.testing.assert_array_equal(result.pixels, repeated(photo, 2))
    assert result.reports == [(done, 12) for done in range(13)]
    assert network.seen[:3] == [(122, 137)] * 3, "they are larger than twelve tiles need to be"
    assert all(max(shape) <= 75 for shape in network.seen[3:])


def test_tiles_on_both_sides_of_the_step_are_not_mixed() -> None:
    """Tiles of 1024 pixels and more recurse once more, so all are computed again in smaller ones."""
    image = np.random.default_rng(0).integers(0, 256, (64, 3400, 3), np.uint8)
    network = Hungry(limit=600, spared=2)
    result = Collected(tiled(network, fastest_tile=1200), image)
    np.testing.assert_array_equal(result.pixels, repeated(image, 2))
    starts = [index for index, (done, _) in enumerate(result.reports) if done == 0]
    assert len(starts) == 2, "the image is started again, once"
    assert len(network.seen[2:]) == result.reports[starts[-1]][1]
    assert all(max(shape) >= 1024 for shape in network.seen[:2])
    assert all(shape == (64, 453) for shape in network.seen[2:])


def test_streamed_tiles_stay_below_the_step() -> None:
    """Rows that were passed on cannot be computed again, so tiles need not become another function."""
    image = np.zeros((64, 3400, 3), np.uint8)
    network = Hungry(limit=1 << 20)
    runner = tiled(network, fastest_tile=1200)
    list(runner.strips(image, None, collected=False))
    assert set(network.seen) == {(64, 874)}


@pytest.mark.parametrize(("tile", "overlap"), [("big", None), (32, 32), (32, 40), ("auto", -1)])
def test_invalid_tiles_are_refused(tile: TileSize, overlap: int | None) -> None:
    with pytest.raises(UsageError, match=r"tile|overlap"):
        NetworkUpscaler(Nearest(), device="cpu", tile=tile, overlap=overlap)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has limits of this kind")
def test_a_process_that_the_kernel_limits() -> None:
    """A real limit: PyTorch and oneDNN fail with their own errors."""
    height, width, channels, reduced_tile = map(int, run_script("starve.py", 200 << 20).split())
    assert (height, width, channels) == (900, 1200, 3)
    assert 32 <= reduced_tile <= 300
