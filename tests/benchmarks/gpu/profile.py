"""Where the time of the device goes, kernel by kernel."""

from __future__ import annotations

import time
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from rgt_cli.inference import NetworkUpscaler
from tests.benchmarks.gpu.models import halves, photo_tensor, upscaler_of, usual_network
from tests.benchmarks.gpu.steps import Run, Section

SECTION = Section("profile", "The first profile", seconds=45)
SHOWN = 16
"""The most kernels in the table."""


@SECTION.step(seconds=30)
def usual(run: Run) -> None:
    """Profile RGT-S on a tile of 192 pixels, in fp16."""
    name, network = usual_network(run)
    upscaler = upscaler_of(network, run, (*halves(run), "fp32")[0])
    profile_tile(run, upscaler, run.pick(192, 32), name)


@SECTION.step(seconds=20)
def bundled(run: Run) -> None:
    """Profile the bundled model on a tile of 256 pixels, in fp16."""
    precision = (*halves(run), "fp32")[0]
    upscaler = NetworkUpscaler("tiny", device=run.device, precision=precision)
    profile_tile(run, upscaler, run.pick(256, 32), upscaler.name)


def profile_tile(run: Run, upscaler: NetworkUpscaler, side: int, name: str) -> None:
    """Report the kernels of one forward pass by their time, and save a trace."""
    image = photo_tensor(side, side).to(run.device)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * run.is_cuda
    with torch.inference_mode():
        for _ in range(3):
            upscaler.infer(image)
        started = time.perf_counter()
        upscaler.infer(image)  # which waits for the device, to see whether the result is finite
        wall = time.perf_counter() - started
        with profile(activities=activities) as profiler:
            upscaler.infer(image)
    seconds, calls = Counter[str](), Counter[str]()
    for event in profiler.key_averages():
        if run.is_cuda and event.device_type.name == "CUDA":
            spent = event.self_device_time_total
        elif not run.is_cuda:
            spent = event.self_cpu_time_total
        else:
            continue
        seconds[event.key] += spent / 1e6
        calls[event.key] += event.count
    total = sum(seconds.values())
    where = f"{name} at {side}, {str(upscaler.dtype).removeprefix('torch.')}"
    run.value(f"{where}: one tile", 1000 * wall, "ms", "without the profiler")
    note = f"{total / wall:.0%} of that time; {sum(calls.values())} calls"
    run.value(f"{where}: all kernels", 1000 * total, "ms", note)
    for kernel, spent in seconds.most_common(SHOWN):
        note = f"{spent / total:.0%}, {calls[kernel]} calls"
        run.value(kernel[:100], 1000 * spent, "ms", note)
    if run.is_cuda:
        profiler.export_chrome_trace(str(run.out / f"{name}.trace.json"))
