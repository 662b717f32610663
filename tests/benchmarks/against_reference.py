"""Time RGT here against the published implementation, as the package `spandrel` carries it.

    pip install --no-deps spandrel einops
    python tests/benchmarks/against_reference.py --tiles 64,128,192 --precisions fp32,bf16

Same random weights, same input, same threads; every measurement is a process of its own, one after the
other. Printed are the median of the seconds for one tile, how many times faster that is than the
published code in fp32, and the error against the published code in fp32: a speed without its error
does not count.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import click
import torch
from torch import nn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GROUPS = {"RGT-S": 6, "RGT": 8}


class _Anything(types.ModuleType):
    """Stands for torchvision, which spandrel imports and RGT does not use."""

    def __getattr__(self, name: str) -> object:
        return type(name, (), {})


def published(groups: int) -> nn.Module:
    """The network as it was published."""
    for name in ("", ".ops", ".transforms", ".transforms.functional"):
        sys.modules.setdefault(f"torchvision{name}", _Anything(f"torchvision{name}"))
    from spandrel.architectures.RGT.__arch.rgt import RGT

    return RGT(
        upscale=4, in_chans=3, img_size=64, embed_dim=180, depth=[6] * groups, num_heads=[6] * groups,
        mlp_ratio=2, qkv_bias=True, split_size=[8, 32], c_ratio=0.5,
    )  # fmt: skip


def lively(groups: int) -> dict[str, torch.Tensor]:
    """Random weights under which every part of the network matters."""
    torch.manual_seed(0)
    network = published(groups)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2 and ".pos." not in name:
                parameter.mul_(2.5)
            if name.endswith("gamma"):
                parameter.uniform_(0.1, 0.4)
    return network.state_dict()


def measure(who: str, precision: str, tile: int, runs: int, device: str, weights: str, out: str) -> None:
    """In a process of its own: time one network, and keep what it computed."""
    state = torch.load(weights, weights_only=True)
    groups = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("layers."))
    image = torch.rand(1, 3, tile, tile, generator=torch.Generator().manual_seed(1)).to(device)
    dtype = DTYPES[precision]
    if who == "published":
        network = published(groups)
        network.load_state_dict(state)
        network = network.eval().to(device)

        def run() -> torch.Tensor:
            with torch.autocast(device.split(":")[0], dtype, enabled=precision != "fp32"):
                return network(image).float()
    else:
        from rgt_cli.checkpoints.load import network_from_state_dict
        from rgt_cli.inference import Upscaler

        upscaler = Upscaler(network_from_state_dict(state), device=device, precision=precision)

        def run() -> torch.Tensor:
            return upscaler.infer(image)

    seconds = []
    with torch.inference_mode():
        for _ in range(runs + 1):
            started = time.perf_counter()
            result = run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    torch.save(result.cpu(), out)
    print(json.dumps(statistics.median(seconds[1:])))


@click.command(help=__doc__)
@click.option("--tiles", default="64,128,192", show_default=True)
@click.option("--precisions", default="fp32,bf16", show_default=True)
@click.option("--variant", type=click.Choice(list(GROUPS)), default="RGT-S", show_default=True)
@click.option("--runs", default=5, show_default=True, help="Besides one to warm up.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--one", hidden=True)
def main(tiles: str, precisions: str, variant: str, runs: int, device: str, one: str | None) -> None:
    if one:
        measure(**json.loads(one))
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.pt")
        torch.save(lively(GROUPS[variant]), weights)
        for tile in map(int, tiles.split(",")):
            reference: tuple[float, torch.Tensor] | None = None
            for precision in precisions.split(","):
                for who in ("published", "ours"):
                    out = str(Path(folder) / "out.pt")
                    facts = {"who": who, "precision": precision, "tile": tile, "runs": runs}
                    facts |= {"device": device, "weights": weights, "out": out}
                    command = [sys.executable, __file__, "--one", json.dumps(facts)]
                    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    seconds, result = json.loads(shown.splitlines()[-1]), torch.load(out)
                    reference = reference or (seconds, result)
                    error = (result - reference[1]).abs().max().item()
                    mse = (result - reference[1]).square().mean().item()
                    psnr = f"{-10 * torch.tensor(mse).log10().item():.1f} dB" if mse else "exact"
                    click.echo(
                        f"{variant} {tile:4} {precision} {who:9} {seconds:8.3f} s  "
                        f"x{reference[0] / seconds:.2f}  largest error {error:.1e}, {psnr}"
                    )


if __name__ == "__main__":
    main()
