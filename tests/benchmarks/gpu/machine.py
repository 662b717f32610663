"""What the machine is: everything that explains the other figures."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.gpu.steps import NotRun, Run, Section

SECTION = Section("machine", "The machine", seconds=30)
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")


@SECTION.step(seconds=30)
def processor(run: Run) -> None:
    import torch

    from rgt_cli.measure.benchmark import device_name

    run.value("processor", device_name(torch.device("cpu")))
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    run.value("instructions", " ".join(flag for flag in FLAGS if flag in words) or "not known")
    run.value("threads", torch.get_num_threads())
    run.value("Python", platform.python_version())
    run.value("PyTorch", str(torch.__version__))
    for name in ("spandrel", "einops"):
        run.value(name, "installed" if importlib.util.find_spec(name) else "missing")


@SECTION.step(seconds=30, cuda_only=True)
def graphics_card(run: Run) -> None:
    import torch

    from rgt_cli.inference.hardware import nvidia_driver

    if not torch.cuda.is_available():
        raise NotRun("PyTorch finds no CUDA device")
    device = torch.device(run.device)
    major, minor = torch.cuda.get_device_capability(device)
    free, total = torch.cuda.mem_get_info(device)
    run.value("name", str(torch.cuda.get_device_name(device)))
    run.value("compute capability", f"{major}.{minor}")
    run.value("memory", total / 2**30, "GiB", f"{free / 2**30:.1f} GiB are free")
    run.value("CUDA of PyTorch", str(torch.version.cuda))
    cudnn_version: Callable[[], int | None] = torch.backends.cudnn.version  # has no annotations
    run.value("cuDNN", str(cudnn_version()))
    run.value("bf16", str(torch.cuda.is_bf16_supported()))
    run.value("driver", nvidia_driver() or "not known")
