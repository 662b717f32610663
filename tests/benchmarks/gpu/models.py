"""The networks, images and rulers that sections share."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.device import Precision, is_emulated
from rgt_cli.inference.runner import NetworkRunner
from rgt_cli.network import RGT, RGTConfig
from tests.benchmarks.gpu.steps import Run
from tests.helpers import DATA
from tests.helpers.networks import enliven

RGT_S = RGTConfig()
RGT_FULL = replace(RGT_S, depth=(6,) * 8, num_heads=(6,) * 8)
QUICK = replace(RGT_S, depth=(2, 1), num_heads=(6, 6))
"""A network with the widths of RGT-S and few blocks, for --quick."""
HALVES: tuple[Precision, ...] = ("fp16", "bf16")
PRECISIONS: tuple[Precision, ...] = ("fp32", *HALVES)
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def halves(run: Run) -> list[Precision]:
    """Return the half precisions that the device does not emulate, which would take minutes."""
    device = torch.device(run.device)
    return [precision for precision in HALVES if not is_emulated(DTYPES[precision], device)]


def lively_rgt(config: RGTConfig) -> RGT:
    """Return an RGT with random weights, all of which matter."""
    torch.manual_seed(0)
    network = RGT(config).eval()
    enliven(network)
    return network


def usual_network(run: Run) -> tuple[str, RGT]:
    """Return the network that most steps measure, and its name: RGT-S, or with --quick a smaller one."""
    name, config = run.pick(("RGT-S", RGT_S), ("few blocks", QUICK))
    return name, lively_rgt(config)


def bundled_network() -> tuple[str, nn.Module]:
    """Return the bundled model for x4, and its name."""
    upscaler = NetworkUpscaler("tiny", device="cpu")
    return upscaler.name, upscaler.network


def runner_of(network: nn.Module, run: Run, precision: Precision) -> NetworkRunner:
    """Return what runs a network on the device of the run.

    Unlike an upscaler, it uses the requested precision, whatever a self-check finds.
    """
    device = torch.device(run.device)
    with torch.inference_mode(False):  # or weights that are moved become inference tensors
        return NetworkRunner(network, name="network", device=device, dtype=DTYPES[precision])


def photo(width: int, height: int) -> np.ndarray:
    """Return a photo of a cat as (height, width, 3) uint8."""
    with Image.open(DATA / "cat.png") as opened:
        return np.asarray(opened.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


def photo_tensor(width: int, height: int) -> Tensor:
    """Return the same as (1, 3, height, width) in 0..1."""
    return torch.from_numpy(photo(width, height).copy()).permute(2, 0, 1)[None].float() / 255


def decibels(found: Tensor, expected: Tensor) -> float:
    """Return the PSNR for values of 0..1; 999 if both are equal, and NaN if a value is not finite."""
    error = (found.double().cpu() - expected.double().cpu()).square().mean()
    return 999.0 if error == 0 else float(-10 * error.log10())


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest error as a share of the largest value."""
    expected = expected.double().cpu()
    return float((found.double().cpu() - expected).abs().max() / expected.abs().max())


def forget(device: torch.device) -> None:
    """Free what is not in use, and start to measure the peak of memory again."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
