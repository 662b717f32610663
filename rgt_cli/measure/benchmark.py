"""How fast a model runs here, in how much memory, how near to the machine's limit, how exactly."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rgt_cli.inference import Upscaler, use_threads
from rgt_cli.inference.device import is_emulated
from rgt_cli.inference.memory import peak_memory
from rgt_cli.network import RGTConfig
from rgt_cli.network.cost import multiply_adds

MATRIX_SIDE = 2048
"""Side of the square matrices whose product shows what the machine can do."""


@dataclass(frozen=True)
class Timing:
    """What one model did on tiles of one size in one precision."""

    model: str
    device: str
    threads: int
    precision: str
    tile: int
    """Side of the tile, in pixels of the input."""
    seconds: float
    """For one tile: the median."""
    megapixels_per_second: float
    """Of the input."""
    peak_memory: int
    """Bytes: of the whole process on a CPU, of the tensors on CUDA."""
    operations_per_second: float
    """Floating-point operations, two for each multiply-add of the network."""
    matrix_peak: float
    """The same for a product of two large square matrices in this precision, on this machine."""
    max_error: float
    """Against the same network in fp32, on values of 0..1."""
    psnr: float
    """PSNR against the same network in fp32, on values of 0..1; infinite in fp32."""

    @property
    def peak_fraction(self) -> float:
        """How much of the machine's matrix product rate is reached."""
        return self.operations_per_second / self.matrix_peak


def benchmark(
    model: str,
    scale: int | None,
    device: str,
    precisions: list[str],
    tiles: list[int],
    runs: int,
    threads: int | None,
) -> Iterator[Timing]:
    """Time a model, each case in a process of its own, one after the other.

    Args:
        model, scale, device, precisions: as `Upscaler` takes them.
        tiles: sides of the square inputs, in pixels.
        runs: how many runs the median is of; one more goes before them, to warm up.
        threads: None is what this process may use.

    Raises:
        RGTError: as `Upscaler` does.
    """
    spawn = multiprocessing.get_context("spawn")
    for precision in precisions:
        for tile in tiles:
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                arguments = (model, scale, device, precision, tile, runs, threads)
                yield process.submit(time_tile, *arguments).result()


def time_tile(
    model: str,
    scale: int | None,
    device: str,
    precision: str,
    tile: int,
    runs: int,
    threads: int | None,
) -> Timing:
    """Time one case in this process, which should be a new one: its peak of memory is reported."""
    count = use_threads(threads)
    upscaler = Upscaler(model, scale, device, precision)
    # Soft shapes, since neither noise nor a flat field is what pictures are like.
    coarse = torch.rand(1, upscaler.config.in_chans, 9, 9, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(coarse, (tile, tile), mode="bicubic").clamp(0, 1).to(upscaler.device)
    with torch.inference_mode():
        seconds = _median(lambda: upscaler.infer(image), runs, upscaler.device)
        peak = peak_memory(upscaler.device)
        result = upscaler.infer(image)
        exact = upscaler.network(image).float()
        # Where a precision is emulated, a large product would take minutes.
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
        threads=count,
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
    """The median of the seconds of so many runs after one to warm up."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
