"""Where the time of the device goes, kernel by kernel."""

from __future__ import annotations

import time
from collections import Counter

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.gpu.models import bundled_network, halves, photo_tensor, runner_of, usual_network
from tests.benchmarks.gpu.steps import Run, Section

SECTION = Section("profile", "The first profile", seconds=45)
SHOWN = 16
"""The most kernels in the table."""


@SECTION.step(seconds=30)
def usual(run: Run) -> None:
    """Profile RGT-S on a tile of 192 pixels, in fp16."""
    name, network = usual_network(run)
    profile_tile(run, name, network, run.pick(192, 32))


@SECTION.step(seconds=20)
def bundled(run: Run) -> None:
    """Profile the bundled model on a tile of 256 pixels, in fp16."""
    name, network = bundled_network()
    profile_tile(run, name, network, run.pick(256, 32))


def profile_tile(run: Run, name: str, network: nn.Module, side: int) -> None:
    """Report the kernels of one forward pass by their time, and save a trace."""
    precision = (*halves(run), "fp32")[0]
    runner = runner_of(network, run, precision)
    image = photo_tensor(side, side).to(run.device)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * run.is_cuda
    with torch.inference_mode():
        for _ in range(3):
            runner.infer(image)
        started = time.perf_counter()
        runner.infer(image)  # which waits for the device, to see whether the result is finite
        wall = time.perf_counter() - started
        with profile(activities=activities) as profiler:
            runner.infer(image)
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
    where = f"{name} at {side}, {precision}"
    run.value(f"{where}: one tile", 1000 * wall, "ms", "without the profiler")
    note = f"{total / wall:.0%} of that time; {sum(calls.values())} calls"
    run.value(f"{where}: all kernels", 1000 * total, "ms", note)
    for kernel, spent in seconds.most_common(SHOWN):
        note = f"{spent / total:.0%}, {calls[kernel]} calls"
        run.value(kernel[:100], 1000 * spent, "ms", note)
    if run.is_cuda:
        profiler.export_chrome_trace(str(run.out / f"{name}.trace.json"))
