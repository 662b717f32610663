"""Whether the estimates of memory hold, and what happens when memory runs out nevertheless."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from rgt_cli.errors import ExitCode, OutOfMemoryError
from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.device import Precision
from rgt_cli.inference.memory import MemoryModel, peak_memory
from rgt_cli.inference.runner import NetworkRunner
from rgt_cli.size import Dimensions
from tests.benchmarks.gpu.models import (
    QUICK,
    bundled_network,
    decibels,
    forget,
    halves,
    lively_rgt,
    photo,
    photo_tensor,
    runner_of,
    usual_network,
)
from tests.benchmarks.gpu.steps import Goal, NotRun, Run, Section
from tests.helpers.checkpoints import save_network
from tests.helpers.process import command

SECTION = Section("memory", "Memory", seconds=70)
SIZES = [(64, 64), (128, 128), (192, 192), (640, 480), (1000, 750), (1200, 1100)]
"""Widths and heights in pixels."""
REFUSED = int(ExitCode.OUT_OF_MEMORY)
QUICK_SIZES = [(64, 48), (96, 80)]


@SECTION.step(
    Goal(
        key="model", text="peak of memory as a share of the estimate: the largest", most=1.0,
        cuda_only=True, full_only=True,
    ),
    seconds=40,
)  # fmt: skip
def estimates(run: Run) -> None:
    """Compare the peak of a forward pass with its estimate, for two networks."""
    device, shares = torch.device(run.device), []
    precisions: list[Precision] = ["fp32", *halves(run)[:1]]
    for name, network in (usual_network(run), bundled_network()):
        for precision in precisions:
            runner = runner_of(network, run, precision)
            model = MemoryModel.of(runner.config, runner.dtype, device)
            for width, height in run.pick(SIZES, QUICK_SIZES):
                used = peak_of(runner, width, height)
                estimate = model.bytes_for(Dimensions(width, height))
                shares.append(used / estimate)
                note = f"{used / 2**20:.0f} of {estimate / 2**20:.0f} MiB"
                run.value(f"{name}, {precision}, {width} x {height}", 100 * shares[-1], "%", note)
    run.goal("model", max(shares))


def peak_of(runner: NetworkRunner | NetworkUpscaler, width: int, height: int) -> int:
    """Return the bytes that one forward pass needs on top of what is in use before."""
    device = runner.device
    image = photo_tensor(width, height).to(device)
    with torch.inference_mode():
        runner.infer(image[..., :32, :32])  # to cache what does not depend on the size
        forget(device)
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
        else:
            before = psutil.Process().memory_info().rss
            reset_peak_of_process()
        runner.infer(image)
    return peak_memory(device) - before


def reset_peak_of_process() -> None:
    """Let Linux measure the peak of this process again.

    Raises:
        NotRun: This system cannot.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise NotRun(f"the peak of the process cannot be measured again: {error}") from error


@SECTION.step(
    Goal(key="smaller", text="after memory ran out: the side of tiles, below that of the image",
         most=999, least=32, unit="pixels"),
    Goal(key="same", text="after memory ran out: PSNR against enough memory", least=40, unit="dB"),
    seconds=30, cuda_only=True,
)  # fmt: skip
def back_off(run: Run) -> None:
    """Run out of memory for real, below an estimate that does not know the limit."""
    device, side = indexed_device(run), run.pick(1000, 600)
    image = photo(side, side).astype(np.float32) / 255
    # The network alone: the bundled model is the only one whose tiles are near the whole image.
    _, network = bundled_network()
    upscaler = NetworkUpscaler(network, device=run.device, precision="fp16", tile="auto")
    expected = torch.from_numpy(upscaler.upscale(image))
    needed = upscaler_peak(upscaler, side)
    with_limit(device, needed // 2)
    try:
        found = torch.from_numpy(upscaler.upscale(image))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    reduced = upscaler.reduced_tile
    note = f"the image needs {needed / 2**20:.0f} MiB, and half of it was allowed"
    if reduced is None:
        note += "; the limit was noticed before memory ran out"
        reduced = max(upscaler.plan_tiles(Dimensions(side, side)).tile)
    run.goal("smaller", reduced, note)
    run.goal("same", decibels(found, expected))


def upscaler_peak(upscaler: NetworkUpscaler, side: int) -> int:
    """Return the bytes that a square image needs as a whole, and free them."""
    needed = peak_of(upscaler, side, side)
    forget(upscaler.device)
    return needed


def indexed_device(run: Run) -> torch.device:
    """Return the device with its index, without which no limit can be set."""
    return torch.empty(0, device=run.device).device


def with_limit(device: torch.device, more: int) -> None:
    """Limit this process to this many bytes more than it uses on a GPU."""
    total = torch.cuda.get_device_properties(device).total_memory
    forget(device)
    allowed = torch.cuda.memory_reserved(device) + more
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), device)


@SECTION.step(
    Goal(key="refused", text="a tile that does not fit: exit code", least=REFUSED, most=REFUSED),
    seconds=20, cuda_only=True,
)  # fmt: skip
def explicit_tile(run: Run) -> None:
    """Ask for the whole image where memory runs out for real."""
    device, side = indexed_device(run), run.pick(1000, 600)
    upscaler = NetworkUpscaler(lively_rgt(QUICK), device=run.device, precision="fp16", tile="none")
    needed = upscaler_peak(upscaler, side)
    with_limit(device, needed // 2)
    try:
        upscaler.upscale(photo(side, side))
    except OutOfMemoryError as error:
        run.goal("refused", error.exit_code, str(error))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@SECTION.step(
    Goal(key="refused", text="rgt upscale --tile none --memory: exit code", least=REFUSED, most=REFUSED),
    seconds=30,
)  # fmt: skip
def refused_command(run: Run) -> None:
    """Ask the command for the whole image within a limit that is too small."""
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(photo(600, 500)).save(Path(folder) / "photo.png")
        model = save_network(lively_rgt(QUICK), Path(folder) / "model.safetensors")
        arguments = ["-m", model, "--device", run.device, "--tile", "none", "--memory", "1G"]
        finished = subprocess.run(
            command("upscale", "photo.png", *arguments), cwd=folder, capture_output=True, text=True
        )
        lines = finished.stderr.strip().splitlines() or [""]
        run.goal("refused", finished.returncode, lines[-1])
