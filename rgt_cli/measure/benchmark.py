"""Measure the speed, memory use and error of a model, beside the limit of the machine."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from rgt_cli.inference import NetworkUpscaler, use_threads
from rgt_cli.inference.device import is_emulated, synchronize
from rgt_cli.inference.memory import peak_memory
from rgt_cli.network import RGTConfig
from rgt_cli.network.cost import multiply_adds

if TYPE_CHECKING:
    from rgt_cli.inference.device import Precision

MATRIX_SIDE = 2048
"""Side of the square matrices whose product shows the limit of the machine."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and how it is run. The first four fields mean what they mean to `NetworkUpscaler`."""

    model: str = "auto"
    scale: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    tile: int
    """Side of the square input, in pixels."""
    runs: int = 5
    """Number of runs whose median is reported; one more precedes them, to warm up."""
    threads: int | None = None
    """CPU threads; None is the processors that this process may use."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The figures of one case."""

    model: str
    device: str
    threads: int
    precision: str
    tile: int
    """Side of the input, in pixels."""
    seconds: float
    """Median time of one tile."""
    megapixels_per_second: float
    """Megapixels of input per second."""
    peak_memory: int
    """Bytes: see `peak_memory`."""
    operations_per_second: float
    """Floating-point operations per second, two for each multiply-add of the network."""
    matrix_peak: float
    """The same for a product of two large square matrices in this precision, on this machine."""
    max_error: float
    """Largest difference from the same network in fp32, for values of 0..1."""
    psnr: float
    """PSNR in dB against the same network in fp32; infinite in fp32."""

    @property
    def peak_fraction(self) -> float:
        """The part of the machine's rate of matrix products that the network reaches."""
        return self.operations_per_second / self.matrix_peak


def benchmark(cases: Iterable[Case]) -> Iterator[Timing]:
    """Measure each case in a process of its own, one after the other.

    Raises:
        RGTError: As `NetworkUpscaler`.
    """
    spawn = multiprocessing.get_context("spawn")
    for case in cases:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            yield process.submit(time_tile, case).result()


def time_tile(case: Case) -> Timing:
    """Measure one case in this process, which should be new: its peak memory use is reported."""
    threads = use_threads(case.threads)
    upscaler = NetworkUpscaler(case.model, case.scale, device=case.device, precision=case.precision)
    # Smooth shapes: neither noise nor a flat image is like a photo.
    coarse = torch.rand(1, upscaler.config.in_chans, 9, 9, generator=torch.Generator().manual_seed(0))
    tile = case.tile
    image = F.interpolate(coarse, (tile, tile), mode="bicubic").clamp(0, 1).to(upscaler.device)
    with torch.inference_mode():
        seconds = _median(lambda: upscaler.infer(image), case.runs, upscaler.device)
        peak = peak_memory(upscaler.device)
        result = upscaler.infer(image)
        exact = upscaler.network(image).float()
        # A large product takes minutes in a precision that is emulated.
        side = MATRIX_SIDE // 8 if is_emulated(upscaler.dtype, upscaler.device) else MATRIX_SIDE
        matrix = torch.rand(side, side, device=upscaler.device, dtype=upscaler.dtype)
        product = _median(lambda: matrix @ matrix, 9, upscaler.device)
    error = (result - exact).abs()
    mse = error.double().square().mean()
    config = upscaler.config
    operations = 2 * multiply_adds(config, tile, tile) if isinstance(config, RGTConfig) else 0
    return Timing(
        model=upscaler.name,
        device=str(upscaler.device),
        threads=threads,
        precision=str(upscaler.dtype).removeprefix("torch.").replace("float", "fp").replace("bfp", "bf"),
        tile=tile,
        seconds=seconds,
        megapixels_per_second=tile * tile / 1e6 / seconds,
        peak_memory=peak,
        operations_per_second=operations / seconds,
        matrix_peak=2 * side**3 / product,
        max_error=float(error.max()),
        psnr=float("inf") if mse == 0 else float(-10 * mse.log10()),
    )


def _median(run: Callable[[], torch.Tensor], runs: int, device: torch.device) -> float:
    """Return the median seconds of so many runs, after one to warm up."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
