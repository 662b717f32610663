"""`Upscaler`: kinds in and out, tiling against the whole, precision, memory."""

import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import rgt_cli
from rgt_cli.errors import CheckpointError, OutOfMemoryError, UsageError
from rgt_cli.inference import Upscaler
from rgt_cli.inference.device import is_emulated
from rgt_cli.inference.resize import shrink
from rgt_cli.measure import psnr
from rgt_cli.network import RGT
from tests.conftest import MICRO, Nearest


def enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, 0).repeat(scale, 1)


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
    upscaler = Upscaler(Nearest(scale), tile=tile, overlap=overlap, device="cpu")
    np.testing.assert_array_equal(upscaler.upscale(image), enlarged(image, scale))


def test_kinds_in_and_out(photo: np.ndarray) -> None:
    upscaler = rgt_cli.Upscaler(Nearest(2), device="cpu")
    gray = photo[..., 0]
    for image in (photo, gray, photo[:1, :1]):
        result = upscaler.upscale(image)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, enlarged(image, 2))
    floats = upscaler.upscale(photo / 255.0)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, enlarged(photo, 2) / 255, atol=1e-6)
    for mode in ("RGB", "L"):
        picture = upscaler.upscale(Image.fromarray(photo).convert(mode))
        assert picture.mode == mode
        assert picture.size == (902, 600)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4, np.uint8),
     np.zeros((4, 4), np.int32), Image.new("CMYK", (4, 4)), Image.new("P", (4, 4))],
)  # fmt: skip
def test_what_is_no_picture(bad: object) -> None:
    with pytest.raises(UsageError):
        Upscaler(Nearest(), device="cpu").upscale(bad)


def test_gray_network_takes_planes_one_by_one(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(2, in_chans=1), device="cpu")
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))


@pytest.mark.parametrize(
    "arguments",
    [{"device": "tpu"}, {"device": "cpu:1"}, {"device": "cuda:99"}, {"precision": "int8"},
     {"tile": "big"}, {"tile": 32, "overlap": 32}, {"overlap": -1}, {"scale": 3}],
)  # fmt: skip
def test_arguments_that_make_no_sense(arguments: dict) -> None:
    with pytest.raises(UsageError):
        Upscaler(Nearest(2), **arguments)


def test_tiled_equals_whole_on_a_photo(photo: np.ndarray) -> None:
    """With the bundled model at the default overlap: 55 dB or better, and no seam."""
    image = photo[40:240, 100:330]
    whole = Upscaler("tiny", 2, device="cpu", tile="none").upscale(image.astype(np.float32) / 255)
    tiled = Upscaler("tiny", 2, device="cpu", tile=96).upscale(image.astype(np.float32) / 255)
    assert psnr(whole, tiled, peak=1.0) >= 55
    error = np.abs(whole - tiled)
    for axis in (0, 1):
        steps = np.abs(np.diff(tiled - whole, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps.max() < 8 * (steps.mean() + 1e-4), "a line along which the tiles part"
    assert error.max() < 0.06


def test_flip_of_the_upscale_is_the_upscale_of_the_flip(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(3), device="cpu", tile=40, overlap=9)
    np.testing.assert_array_equal(upscaler.upscale(photo[:, ::-1]), upscaler.upscale(photo)[:, ::-1])


def test_lanczos_down(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(4), 3, device="cpu")
    result = upscaler.upscale(photo)
    assert result.shape == (900, 1353, 3)
    np.testing.assert_array_equal(result, shrink(enlarged(photo, 4), 900, 1353))
    floats = upscaler.upscale(photo / 255.0)
    assert floats.min() >= 0
    assert floats.max() <= 1
    assert psnr(floats * 255, result.astype(float)) > 50


def test_bf16_is_close_to_fp32(photo: np.ndarray) -> None:
    image = photo[100:164, 150:214]
    full, half = (Upscaler("tiny", 2, "cpu", p).upscale(image) for p in ("fp32", "bf16"))
    assert psnr(full, half) > 45


class Overflowing(Nearest):
    """Not finite in half precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y * float("nan") if torch.is_autocast_enabled("cpu") else y


def test_overflow_is_redone_in_fp32(photo: np.ndarray) -> None:
    upscaler = Upscaler(Overflowing(2), device="cpu", precision="bf16", tile=300)
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))
    assert upscaler.redone_tiles == 2


def test_fp16_goes_to_fp32_without_a_gpu(photo: np.ndarray) -> None:
    upscaler = Upscaler(Overflowing(2), device="cpu", precision="fp16")
    emulated = is_emulated(torch.float16, torch.device("cpu"))
    assert emulated == any("emulated" in note for note in upscaler.notes)
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))
    assert upscaler.redone_tiles == 1


class NeverFinite(Nearest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / 0 - super().forward(x) / 0


def test_never_finite_is_an_error(photo: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="finite"):
        Upscaler(NeverFinite(2), device="cpu").upscale(photo)


class Hungry(Nearest):
    """Allocates for real more than any machine has, for inputs above `limit` pixels a side.

    Args:
        spared: how many inputs it takes before.
    """

    def __init__(self, upscale: int = 2, limit: int = 100, spared: int = 0) -> None:
        super().__init__(upscale)
        self.limit, self.spared = limit, spared
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if max(x.shape[-2:]) > self.limit and len(self.seen) >= self.spared:
            torch.empty(1 << 50)
        self.seen.append(tuple(x.shape[-2:]))
        return super().forward(x)


def test_memory_runs_out_and_tiles_shrink(photo: np.ndarray) -> None:
    reports: list[tuple[int, int]] = []
    network = Hungry(limit=100)
    upscaler = Upscaler(network, device="cpu")
    result = upscaler.upscale(photo, lambda done, total: reports.append((done, total)))
    np.testing.assert_array_equal(result, enlarged(photo, 2))
    assert reports[0] == (0, 1)
    assert reports[-1][0] == reports[-1][1] > 9
    assert 50 <= (upscaler.shrunk_to or 0) <= 100
    # The size is remembered: the next picture begins with it.
    network.seen.clear()
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))
    assert max(map(max, network.seen)) <= upscaler.shrunk_to


def test_a_small_model_takes_tiles_worth_their_time(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler("tiny", 2, device="cpu")
    assert upscaler.fastest_tile
    network = Hungry(limit=1000)
    monkeypatch.setattr(upscaler, "network", network)
    np.testing.assert_array_equal(upscaler.upscale(photo), enlarged(photo, 2))
    assert len(network.seen) == 4
    assert set(network.seen) == {(166, 242)}, "all of one size, and no larger than four need to be"


def test_finished_tiles_are_kept(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory runs out at the fourth tile: the three before it are not computed again."""
    network = Hungry(limit=100, spared=3)
    upscaler = Upscaler(network, device="cpu")
    monkeypatch.setattr(upscaler, "_tile_for", lambda *shape: min(150, upscaler.shrunk_to or 150))
    reports: list[tuple[int, int]] = []
    result = upscaler.upscale(photo, lambda done, total: reports.append((done, total)))
    np.testing.assert_array_equal(result, enlarged(photo, 2))
    assert reports == [(done, 12) for done in range(13)]
    assert network.seen[:3] == [(122, 137)] * 3, "no larger than twelve tiles need to be"
    assert all(max(shape) <= 75 for shape in network.seen[3:])


def test_no_picture_is_made_of_tiles_on_both_sides_of_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tiles of 1024 and more recurse once more: they do not stand beside smaller ones."""
    image = np.random.default_rng(0).integers(0, 256, (40, 3400, 3), np.uint8)
    network = Hungry(limit=600, spared=2)
    upscaler = Upscaler(network, device="cpu")
    monkeypatch.setattr(upscaler, "_tile_for", lambda *shape: min(1200, upscaler.shrunk_to or 1200))
    reports: list[tuple[int, int]] = []
    result = upscaler.upscale(image, lambda done, total: reports.append((done, total)))
    np.testing.assert_array_equal(result, enlarged(image, 2))
    assert [done for done, _ in reports].count(0) == 2, "the picture is begun again, once"
    last_start = len(reports) - 1 - [done for done, _ in reports][::-1].index(0)
    assert len(network.seen[2:]) == reports[last_start][1]
    assert all(max(shape) >= 1024 for shape in network.seen[:2])
    assert all(shape == (40, 453) for shape in network.seen[2:])


@pytest.mark.parametrize(("tile", "limit"), [("none", 100), (200, 100), ("auto", 8)])
def test_out_of_memory_is_said(photo: np.ndarray, tile: int | str, limit: int) -> None:
    network = Hungry(limit=limit)
    with pytest.raises(OutOfMemoryError, match="not enough memory") as caught:
        Upscaler(network, device="cpu", tile=tile).upscale(photo)
    if tile != "auto":  # the size that is named is smaller than the one that failed
        named = int(str(caught.value).rsplit(" ", 1)[1])
        assert 32 <= named < (451 if tile == "none" else tile)
        assert network.seen == [], "a tile that was asked for is not replaced"


@pytest.mark.parametrize("tile", ["none", 300])
def test_a_tile_that_cannot_fit_is_refused_beforehand(photo: np.ndarray, tile: int | str) -> None:
    """Linux kills a process that takes too much, so that nothing can be caught."""
    held = psutil.Process().memory_info().rss
    upscaler = Upscaler("tiny", 2, device="cpu", tile=tile, memory=held + (150 << 20))
    with pytest.raises(OutOfMemoryError, match="largest that fits") as caught:
        upscaler.upscale(photo)
    named = int(str(caught.value).rsplit(" ", 1)[1])
    assert 32 <= named < 300


STARVED = """
import re, resource, sys
import numpy as np, torch
from rgt_cli.inference import Upscaler
image = np.random.default_rng(0).integers(0, 256, (450, 600, 3), np.uint8)
upscaler = Upscaler("tiny", 2, device="cpu")
upscaler.fastest_tile = None
upscaler.upscale(image[:64, :64])
held = int(re.search(r"VmData:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + int(sys.argv[1]), -1))
result = upscaler.upscale(image)
print(result.shape, upscaler.shrunk_to)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of this kind are Linux's")
def test_a_process_that_really_runs_out() -> None:
    """A real limit of the kernel: PyTorch's and oneDNN's own errors, not ours."""
    command = [sys.executable, "-c", STARVED, str(200 << 20)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    shape, shrunk_to = result.stdout.rsplit(" ", 1)
    assert shape == "(900, 1200, 3)"
    assert 32 <= int(shrunk_to) <= 300


def test_self_ensemble_knows_no_direction(photo: np.ndarray) -> None:
    """The mean over all flips and rotations: a picture that is turned comes out turned."""
    torch.manual_seed(0)
    network = RGT(MICRO).eval()
    piece = np.ascontiguousarray(photo[100:148, 150:198]) / np.float32(255)
    plain, upscaler = (
        Upscaler(network, device="cpu"),
        Upscaler(network, device="cpu", self_ensemble=True),
    )
    whole = upscaler.upscale(piece)
    np.testing.assert_allclose(upscaler.upscale(np.rot90(piece)), np.rot90(whole), atol=2e-5)
    np.testing.assert_allclose(upscaler.upscale(piece[:, ::-1].copy()), whole[:, ::-1], atol=2e-5)
    x = torch.from_numpy(piece).permute(2, 0, 1)[None]
    with torch.inference_mode():
        turned = [plain.infer(x.rot90(k, (2, 3))).rot90(-k, (2, 3)) for k in range(4)]
        flipped = [plain.infer(x.rot90(k, (2, 3)).flip(3)).flip(3).rot90(-k, (2, 3)) for k in range(4)]
    mean = torch.stack(turned + flipped).mean(0)[0].permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(mean, whole, atol=2e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_batch_is_its_pictures(photo: np.ndarray, channels: int, dtype: type) -> None:
    torch.manual_seed(0)
    upscaler = Upscaler(RGT(MICRO).eval(), device="cpu", batch=3)
    pieces = [photo[y : y + 40, 60:110] for y in (0, 80, 160)]
    if channels == 1:
        pieces = [piece[..., 1] for piece in pieces]
    largest = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    pieces = [(piece / 255 * largest).astype(dtype) for piece in pieces]
    for one, many in zip(map(upscaler.upscale, pieces), upscaler.upscale_batch(pieces), strict=True):
        assert many.shape == one.shape
        assert many.dtype == one.dtype
        np.testing.assert_allclose(many / largest, one / largest, atol=1.01 / 255)
    other = [pieces[0], pieces[1][:20]]
    assert [p.shape[0] for p in upscaler.upscale_batch(other)] == [80, 40]
