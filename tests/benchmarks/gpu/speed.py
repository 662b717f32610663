"""How fast the network is: against the published code, the device's limit, and captured graphs."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from rgt_cli.inference.device import Precision
from rgt_cli.inference.memory import peak_memory
from rgt_cli.inference.runner import NetworkRunner
from rgt_cli.measure.benchmark import Case, matrix_rate, median_seconds, smooth_image, time_case
from rgt_cli.network.cost import multiply_adds
from rgt_cli.network.kernels import computing
from rgt_cli.size import Dimensions
from tests.benchmarks.against_reference import (
    Implementation,
    Measurement,
    errors_of,
    forward_pass,
    lively_weights,
)
from tests.benchmarks.against_reference import Precision as Published
from tests.benchmarks.gpu.models import (
    DTYPES,
    QUICK,
    RGT_FULL,
    RGT_S,
    bundled_network,
    forget,
    halves,
    lively_rgt,
    photo_tensor,
    relative_error,
    runner_of,
    usual_network,
)
from tests.benchmarks.gpu.steps import Goal, NotRun, Run, Section
from tests.helpers.checkpoints import save_network

SECTION = Section("speed", "Speed", seconds=150)
_cuda_stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream  # has no annotations
SIDES = (64, 128, 192)
"""Sides of tiles in pixels."""


def runs(run: Run) -> int:
    """Return how many runs a median is of."""
    return run.pick(20, 1)


def precisions(run: Run) -> list[Precision]:
    """Return the precisions that are worth a measurement."""
    return ["fp32", *halves(run)]


@SECTION.step(seconds=50)
def tiles(run: Run) -> None:
    """Time RGT-S on tiles, beside a product of large matrices."""
    device = torch.device(run.device)
    name, network = usual_network(run)
    for precision in precisions(run):
        runner = runner_of(network, run, precision)
        peak = matrix_rate(DTYPES[precision], device)
        run.value(f"matrix product, {precision}", peak / 1e12, "TFLOP/s")
        for side in run.pick(SIDES, (48,)):
            image = photo_tensor(side, side).to(device)
            seconds = timed(partial(runner.infer, image), run)
            rate = 2 * multiply_adds(network.config, side, side) / seconds
            note = f"{rate / peak:.0%} of the matrix product"
            run.value(f"{name} at {side}, {precision}", 1000 * seconds, "ms", note)


def timed(work: Callable[[], object], run: Run) -> float:
    """Return the median seconds of some work."""
    with torch.inference_mode():
        return median_seconds(work, runs(run), torch.device(run.device))


@SECTION.step(
    Goal(
        key="bf16", text="speed relative to the published code at 192, bf16", least=3, unit="times",
        cuda_only=True, full_only=True,
    ),
    seconds=80,
)  # fmt: skip
def against_published(run: Run) -> None:
    """Time RGT-S beside the published code, as spandrel carries it, with the same weights."""
    if not all(importlib.util.find_spec(name) for name in ("spandrel", "einops")):
        raise NotRun("needs the published code: pip install --no-deps spandrel einops")
    wanted: tuple[Published, ...] = run.pick(get_args(Published), ("fp32",))
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.pt")
        torch.save(lively_weights(run.pick(6, 1)), weights)
        for side in run.pick(SIDES, (32,)):
            image = photo_tensor(side, side).to(run.device)
            expected: Tensor | None = None
            for precision in wanted:
                seconds: list[float] = []
                for implementation in get_args(Implementation):
                    case = Measurement(
                        implementation=implementation, precision=precision, tile=side,
                        runs=runs(run), device=run.device, weights=weights, output="",
                    )  # fmt: skip
                    forward = forward_pass(case, image)
                    seconds.append(timed(forward, run))
                    with torch.inference_mode():
                        result = forward().cpu()
                    expected = result if expected is None else expected  # published, in fp32
                    name = f"{implementation} at {side}, {precision}"
                    note = f"{seconds[0] / seconds[-1]:.2f} times the published speed; "
                    note += f"{errors_of(result, expected)} against the published code in fp32"
                    run.value(name, 1000 * seconds[-1], "ms", note)
                if (side, precision) == (192, "bf16"):
                    run.goal("bf16", seconds[0] / seconds[1])


@SECTION.step(seconds=60)
def public_comparison(run: Run) -> None:
    """Measure the row that public comparisons have: 1 x 3 x 480 x 640."""
    device = torch.device(run.device)
    size = run.pick(Dimensions(640, 480), Dimensions(64, 48))
    for name, config in run.pick({"RGT-S": RGT_S, "RGT": RGT_FULL}, {"few blocks": QUICK}).items():
        with tempfile.TemporaryDirectory() as folder:
            path = save_network(lively_rgt(config), Path(folder) / f"{name}.safetensors")
            for precision in precisions(run):
                forget(device)
                case = Case(
                    model=str(path), device=run.device, precision=precision, size=size, tiles="auto",
                    runs=runs(run),
                )  # fmt: skip
                timing = time_case(case)
                computed = "whole" if timing.tiles == 1 else f"in {timing.tiles} tiles"
                note = f"{timing.seconds:.4f} s/image, {timing.peak_memory / 2**30:.2f} GiB, {computed}"
                note += f", PSNR {timing.psnr:.1f} dB" if timing.max_error else ""
                where = f"{name} x4 on {size}, {precision}"
                run.value(where, timing.frames_per_second, "frames/s", note)


@SECTION.step(seconds=20)
def batches(run: Run) -> None:
    """Time RGT-S on several images at once."""
    precision = precisions(run)[-1] if run.is_quick else "fp16"
    network_name, network = usual_network(run)
    runner = runner_of(network, run, precision)
    side = run.pick(128, 32)
    for count in run.pick((1, 2, 4, 8), (1, 2)):
        images = smooth_image(3, Dimensions(side, side)).expand(count, -1, -1, -1).to(run.device)
        seconds = timed(partial(runner.infer, images), run)
        name = f"{network_name}, {count} of {side} x {side} at once, {precision}"
        run.value(name, count / seconds, "images/s", f"{1000 * seconds:.2f} ms together")


@SECTION.step(
    Goal(
        key="peak", text="750 x 1000 as a whole, fp16: peak of memory", most=8, unit="GiB",
        cuda_only=True, full_only=True,
    ),
    seconds=20,
)  # fmt: skip
def whole_image(run: Run) -> None:
    """Compute an image of 750 x 1000 pixels as a whole."""
    device = torch.device(run.device)
    forget(device)
    width, height = run.pick((1000, 750), (60, 45))
    precision = precisions(run)[-1] if run.is_quick else "fp16"
    name, network = usual_network(run)
    runner = runner_of(network, run, precision)
    image = photo_tensor(width, height).to(device)
    seconds = timed(partial(runner.infer, image), run)
    run.value(f"{name} on {width} x {height}, {precision}", seconds, "s")
    run.goal("peak", peak_memory(device) / 2**30, "the tensors, with weights, input and output")


@SECTION.step(seconds=50, cuda_only=True)
@torch.inference_mode()
def graphs(run: Run) -> None:
    """Time a captured CUDA graph against eager execution, for tiles of fixed sizes."""
    for (name, network), sides in ((usual_network(run), SIDES), (bundled_network(), (64, 128, 256))):
        runner = runner_of(network, run, "fp16")
        for side in sides:
            image = photo_tensor(side, side).to(run.device)
            forward = forward_to_capture(runner)
            expected, eager = runner.infer(image), timed(partial(runner.infer, image), run)
            started = time.perf_counter()
            with torch.cuda.device(image.device):
                graph, result = captured(forward, image)
                torch.cuda.synchronize()
                preparation = time.perf_counter() - started
                replay = timed(graph.replay, run)
            gain = eager - replay
            note = f"eager {1000 * eager:.2f} ms, {eager / replay:.2f} times as fast"
            note += f"; warm-up and capture take {preparation:.2f} s"
            note += f", worth it from {preparation / gain:.0f} tiles on" if gain > 0 else ""
            note += f"; error {relative_error(result, expected):.1e}"
            run.value(f"{name} at {side}, replayed", 1000 * replay, "ms", note)
            del graph, result


def forward_to_capture(runner: NetworkRunner) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a network, without the cache of autocast, which graphs forbid."""

    def forward(image: Tensor) -> Tensor:
        without_cache = torch.autocast(image.device.type, runner.dtype, cache_enabled=False)
        with computing(image.device, runner.dtype), without_cache:
            upscaled: Tensor = runner.network(image)
        return upscaled

    return forward


@torch.inference_mode()
def captured(forward: Callable[[Tensor], Tensor], image: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """Capture a forward pass, and return the graph and its output, which each replay overwrites."""
    stream = _cuda_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # to cache what depends on the size alone, and to choose kernels
            forward(image)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = forward(image)
    graph.replay()
    return graph, result
