"""Measure the speed, memory use and error of a model, and the speed limit of the machine."""

from __future__ import annotations

import dataclasses
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rgt_cli.inference import NetworkUpscaler, use_threads
from rgt_cli.inference.device import has_own_memory, is_emulated, precision_name, synchronize
from rgt_cli.inference.hardware import processor_name
from rgt_cli.inference.memory import peak_memory
from rgt_cli.network import RGTConfig
from rgt_cli.network.cost import multiply_adds
from rgt_cli.size import Dimensions

if TYPE_CHECKING:
    from rgt_cli.inference.device import Precision

MATRIX_SIDE = 2048
"""Side of square matrices whose product shows the limit of a machine. It is doubled on CUDA and XPU."""
ERROR_SIDE = 192
"""The longest side, in pixels, of the part of an image in which its error is measured."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and how it is run. The first four fields mean what they mean to `NetworkUpscaler`."""

    model: str = "auto"
    scale: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    size: Dimensions
    """Size of the input in pixels."""
    tiles: Literal["none", "auto"] = "none"
    """ "none" runs the network once on the input; "auto" uses tiles where `rgt upscale` would."""
    runs: int = 5
    """Number of runs whose median is reported; one more precedes them, to warm up."""
    threads: int | None = None
    """CPU threads; None is one per CPU core that this process may use."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The figures of one case."""

    model: str
    scale: int
    """The factor of the model."""
    device: str
    device_name: str
    """Name of the processor or of the graphics card."""
    threads: int
    precision: str
    input_size: Dimensions
    """Size of the input in pixels."""
    output_size: Dimensions
    """Size of the output in pixels."""
    tile: int
    """Longer side of a tile in pixels of the input, or of the input if it is computed as a whole."""
    tiles: int
    """Number of tiles; 1 if the input is computed as a whole."""
    seconds: float
    """Median time of one input."""
    frames_per_second: float
    """Inputs per second."""
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
    """Measure each case in its own process, one after the other.

    Raises:
        RGTError: As `NetworkUpscaler`.
    """
    spawn = multiprocessing.get_context("spawn")
    for case in cases:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            yield process.submit(time_case, case).result()


def time_case(case: Case) -> Timing:
    """Measure one case in this process, which should be new: its peak memory use is reported."""
    threads = use_threads(case.threads)
    upscaler = NetworkUpscaler(
        case.model, case.scale, device=case.device, precision=case.precision, tile=case.tiles
    )
    device, config, size = upscaler.device, upscaler.config, case.size
    image = smooth_image(config.in_chans, size).to(device)
    tiles, tile = 1, size
    if case.tiles == "auto":
        grid = upscaler.plan_tiles(size, streaming=True)
        if grid.count > 1:
            tiles, tile = grid.count, grid.tile
    with torch.inference_mode():
        run = (lambda: upscaler.infer(image)) if tiles == 1 else _run_in_tiles(upscaler, image)
        seconds = median_seconds(run, case.runs, device)
        peak = peak_memory(device)
        part = image if case.tiles == "none" else image[..., :ERROR_SIDE, :ERROR_SIDE]
        max_error, psnr = _error(upscaler, part)
        matrix_peak = matrix_rate(upscaler.dtype, device)
    operations = 0
    if isinstance(config, RGTConfig):
        operations = 2 * tiles * multiply_adds(config, tile.height, tile.width)
    scale = upscaler.native_scale
    return Timing(
        model=upscaler.name,
        scale=scale,
        device=str(device),
        device_name=device_name(device),
        threads=threads,
        precision=precision_name(upscaler.dtype),
        input_size=size,
        output_size=Dimensions(size.width * scale, size.height * scale),
        tile=max(tile),
        tiles=tiles,
        seconds=seconds,
        frames_per_second=1 / seconds,
        megapixels_per_second=size.width * size.height / 1e6 / seconds,
        peak_memory=peak,
        operations_per_second=operations / seconds,
        matrix_peak=matrix_peak,
        max_error=max_error,
        psnr=psnr,
    )


def bf16_instead(case: Case, timing: Timing) -> Timing | None:
    """Measure the same case in bf16, if the precision was chosen automatically and bf16 may be faster.

    Args:
        case: The case.
        timing: Its figures.

    Returns:
        The figures; None if the device is not a CPU, or emulates bf16.
    """
    cpu = torch.device("cpu")
    if case.precision != "auto" or timing.device != "cpu" or is_emulated(torch.bfloat16, cpu):
        return None
    (instead,) = benchmark([dataclasses.replace(case, precision="bf16")])
    return instead


def smooth_image(channels: int, size: Dimensions) -> Tensor:
    """Return a (1, channels, H, W) image of smooth shapes: neither noise nor flat, like a photo."""
    coarse = torch.rand(1, channels, 9, 9, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (size.height, size.width), mode="bicubic").clamp(0, 1)


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the floating-point operations per second of a product of two large matrices."""
    side = MATRIX_SIDE * (2 if has_own_memory(device) else 1)
    if is_emulated(dtype, device):  # a large product would take minutes
        side //= 8
    matrix = torch.rand(side, side, device=device, dtype=dtype)
    return 2 * side**3 / median_seconds(lambda: matrix @ matrix, 9, device)


def median_seconds(run: Callable[[], object], runs: int, device: torch.device) -> float:
    """Return the median seconds of `runs` runs, after one to warm up.

    On CUDA and XPU the device itself measures the time, by events.
    """
    seconds: list[float] = []
    for _ in range(runs + 1):
        if has_own_memory(device):
            gpu = torch.get_device_module(device)
            stream = gpu.current_stream(device)
            first, last = gpu.Event(enable_timing=True), gpu.Event(enable_timing=True)
            first.record(stream)
            run()
            last.record(stream)
            last.synchronize()
            seconds.append(first.elapsed_time(last) / 1000)
            continue
        started = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def device_name(device: torch.device) -> str:
    """Return the name of a graphics card or of the processor, as its maker calls it."""
    if has_own_memory(device):
        return str(torch.get_device_module(device).get_device_name(device))
    return processor_name()


def _run_in_tiles(upscaler: NetworkUpscaler, image: Tensor) -> Callable[[], None]:
    """Return a function that upscales (1, C, H, W) in tiles, from and to the memory of the processor."""
    pixels = image[0].permute(1, 2, 0).cpu().numpy()

    def run() -> None:
        for _ in upscaler.upscale_rows(pixels):
            pass

    return run


def _error(upscaler: NetworkUpscaler, image: Tensor) -> tuple[float, float]:
    """Return the largest error and the PSNR against the same network in fp32."""
    if upscaler.dtype == torch.float32:
        return 0.0, float("inf")
    error = (upscaler.infer(image) - upscaler.network(image).float()).abs()
    mse = error.double().square().mean()
    return float(error.max()), float("inf") if mse == 0 else float(-10 * mse.log10())
