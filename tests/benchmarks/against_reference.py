"""Time RGT here against the published implementation, as the package `spandrel` carries it.

\b
    pip install --no-deps spandrel einops
    python tests/benchmarks/against_reference.py --tiles 64,128,192 --precisions fp32,bf16

Both networks have the same random weights, input and threads. Every measurement runs in a process of its
own, one after the other. A line reports the median of the seconds for one tile, the speed relative to
the published code in fp32, and the error against that code: a speed without its error does not count.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import click
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # this file is run as a program

from tests.helpers.networks import enliven

Precision = Literal["fp32", "bf16", "fp16"]
Implementation = Literal["published", "ours"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GROUPS = {"RGT-S": 6, "RGT": 8}
"""Residual groups of each variant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """The facts of one measurement, which runs in its own process."""

    implementation: Implementation
    """The network to time."""
    precision: Precision
    """The dtype of matrix products."""
    tile: int
    """Side of the square input in pixels."""
    runs: int
    """Runs to time, after one to warm up."""
    device: str
    """The device, as PyTorch names it."""
    weights: str
    """Path of the state dict of the published network."""
    output: str
    """Path for the output of the network."""


class _Anything(types.ModuleType):
    """A stub of torchvision, which spandrel imports although RGT does not need it."""

    def __getattr__(self, name: str) -> object:
        return type(name, (), {})


def published(groups: int) -> nn.Module:
    """Return the published network with random weights."""
    for name in ("", ".ops", ".transforms", ".transforms.functional"):
        sys.modules.setdefault(f"torchvision{name}", _Anything(f"torchvision{name}"))
    from spandrel.architectures.RGT.__arch.rgt import RGT

    network: nn.Module = RGT(
        upscale=4, in_chans=3, img_size=64, embed_dim=180, depth=[6] * groups, num_heads=[6] * groups,
        mlp_ratio=2, qkv_bias=True, split_size=[8, 32], c_ratio=0.5,
    )  # fmt: skip
    return network


def lively_weights(groups: int) -> dict[str, Tensor]:
    """Return random weights with which every part of the network changes the output."""
    torch.manual_seed(0)
    network = published(groups)
    enliven(network)
    return network.state_dict()


def forward_pass(case: Measurement, image: Tensor) -> Callable[[], Tensor]:
    """Return a function that runs the network of `case` on `image`."""
    state = torch.load(case.weights, weights_only=True)
    if case.implementation == "ours":
        from rgt_cli.checkpoints.load import network_from_state_dict
        from rgt_cli.inference import NetworkUpscaler

        network = network_from_state_dict(state)
        upscaler = NetworkUpscaler(network, device=case.device, precision=case.precision)
        return lambda: upscaler.infer(image)
    reference = published(1 + max(int(key.split(".")[1]) for key in state if key.startswith("layers.")))
    reference.load_state_dict(state)
    reference = reference.eval().to(case.device)

    def run() -> Tensor:
        kind, dtype = case.device.split(":")[0], DTYPES[case.precision]
        with torch.autocast(kind, dtype, enabled=case.precision != "fp32"):
            upscaled: Tensor = reference(image).float()
        return upscaled

    return run


def measure(case: Measurement) -> None:
    """Time one network, save its output, and print the median of the seconds."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, case.tile, case.tile, generator=generator).to(case.device)
    run = forward_pass(case, image)
    seconds = []
    with torch.inference_mode():
        for _ in range(case.runs + 1):
            started = time.perf_counter()
            result = run()
            if case.device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    torch.save(result.cpu(), case.output)
    print(json.dumps(statistics.median(seconds[1:])))


def measure_apart(case: Measurement) -> tuple[float, Tensor]:
    """Run `measure` in its own process, and return the seconds and the output."""
    command = [sys.executable, __file__, "--one", json.dumps(dataclasses.asdict(case))]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    output: Tensor = torch.load(case.output, weights_only=True)
    return float(json.loads(printed.splitlines()[-1])), output


def errors_of(result: Tensor, expected: Tensor) -> str:
    """Describe the largest error and the PSNR of a result."""
    difference = (result - expected).double()
    mse = difference.square().mean()
    psnr = f"{-10 * mse.log10().item():.1f} dB" if mse else "exact"
    return f"largest error {difference.abs().max().item():.1e}, {psnr}"


def precisions_of(context: click.Context, parameter: click.Parameter, value: str) -> list[Precision]:
    """Parse the comma-separated names of precisions."""
    unknown = sorted(set(value.split(",")) - set(DTYPES))
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not a precision: use fp32, bf16 or fp16")
    return [name for name in get_args(Precision) if name in value.split(",")]


@click.command(help=__doc__)
@click.option("--tiles", default="64,128,192", show_default=True, help="Sides of inputs in pixels.")
@click.option(
    "--precisions", default="fp32,bf16", show_default=True, callback=precisions_of,
    help="Precisions to compare.",
)  # fmt: skip
@click.option("--variant", type=click.Choice(list(GROUPS)), default="RGT-S", show_default=True)
@click.option("--runs", default=5, show_default=True, help="Runs to time, after one to warm up.")
@click.option("--device", default="cpu", show_default=True, help="Device, as PyTorch names it.")
@click.option("--one", hidden=True)
def main(
    tiles: str, precisions: list[Precision], variant: str, runs: int, device: str, one: str | None
) -> None:
    if one:
        measure(Measurement(**json.loads(one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        weights, output = str(Path(folder) / "weights.pt"), str(Path(folder) / "output.pt")
        torch.save(lively_weights(GROUPS[variant]), weights)
        for tile in map(int, tiles.split(",")):
            baseline = Measurement(
                implementation="published", precision="fp32", tile=tile, runs=runs, device=device,
                weights=weights, output=output,
            )  # fmt: skip
            expected_seconds, expected = measure_apart(baseline)
            for precision in precisions:
                for implementation in get_args(Implementation):
                    case = dataclasses.replace(
                        baseline, implementation=implementation, precision=precision
                    )
                    same = case == baseline
                    seconds, result = (expected_seconds, expected) if same else measure_apart(case)
                    click.echo(
                        f"{variant} {tile:4} {precision} {implementation:9} {seconds:8.3f} s  "
                        f"x{expected_seconds / seconds:.2f}  {errors_of(result, expected)}"
                    )


if __name__ == "__main__":
    main()
