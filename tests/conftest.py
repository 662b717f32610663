"""Shared by all rooms: the data, a stub network, and the real `rgt` in a subprocess."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from rgt_cli.inference import MultiPassUpscaler, Upscaler
from rgt_cli.network import RGT, RGTConfig
from rgt_cli.size import Size

if "PYTEST_XDIST_WORKER" in os.environ:  # the others compute as well, and so do the processes it starts
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

DATA = Path(__file__).parent / "data"
WEIGHTS = Path(__file__).parents[1] / "weights"
MICRO = RGTConfig(
    upscale=2, embed_dim=64, depth=(2, 3), num_heads=(2, 2), split_size=(4, 8), upsampler="direct"
)

_DROP = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
UNPRIVILEGED = _DROP if os.geteuid() == 0 else ()
"""Put before a command, so that even root may not read and write what nobody may."""

RunRGT = Callable[..., subprocess.CompletedProcess[str]]


class Nearest(nn.Module):
    """A stub network that repeats every pixel, so that whole pipelines are checked bit for bit."""

    def __init__(self, upscale: int = 2, in_chans: int = 3) -> None:
        super().__init__()
        self.config = RGTConfig(upscale=upscale, in_chans=in_chans)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.config.upscale
        return x.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)


class Counting(Nearest):
    """The same, noting how many pictures it was given at once."""

    def __init__(self) -> None:
        super().__init__(2)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        return super().forward(x)


@pytest.fixture
def photo() -> np.ndarray:
    """The cat, (300, 451, 3) uint8."""
    with Image.open(DATA / "cat.png") as opened:
        return np.asarray(opened)


@pytest.fixture
def small_png(tmp_path: Path, photo: np.ndarray) -> Path:
    """A 40 x 30 piece of the cat, `in.png` in a folder of its own."""
    path = tmp_path / "in.png"
    Image.fromarray(photo[100:130, 150:190]).save(path)
    return path


@pytest.fixture
def micro_checkpoint(tmp_path: Path) -> Path:
    """A random x2 RGT that computes in no time."""
    torch.manual_seed(0)
    path = tmp_path / "micro.safetensors"
    tensors = RGT(MICRO).state_dict()
    offsets = torch.cartesian_prod(torch.arange(-3, 4), torch.arange(-7, 8)).float()
    save_file(tensors | {"layers.0.blocks.0.attn.attns.0.rpe_biases": offsets}, path)
    return path


@pytest.fixture(scope="session")
def rgt() -> RunRGT:
    """Run `rgt` as a person would; keywords go to `subprocess.run`, `before` in front of the command."""

    def run(
        *arguments: str | Path, before: tuple[str, ...] = (), **options: object
    ) -> subprocess.CompletedProcess[str]:
        command = [*before, sys.executable, "-m", "rgt_cli", *map(str, arguments)]
        merged = {"capture_output": True, "text": True, "timeout": 300} | options
        return subprocess.run(command, **merged)

    return run


def leftovers(folder: Path) -> set[str]:
    """The names in a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}


def nearest_upscaler(size: Size | None = None, alpha_by_network: bool = True) -> MultiPassUpscaler:
    """An upscaler of stub networks, whose results are known to the last bit."""
    return MultiPassUpscaler(
        size or Size(scale=2),
        lambda scale: Upscaler(Nearest(scale or 2), device="cpu"),
        [2, 3, 4],
        alpha_by_network,
    )
