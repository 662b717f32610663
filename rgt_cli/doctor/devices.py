"""Check PyTorch against the hardware, and compute a golden tile on every device in every precision."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rgt_cli.doctor.check import Check, State
from rgt_cli.errors import first_line
from rgt_cli.values import GPUS_WITH_NUMBERS

if TYPE_CHECKING:  # that PyTorch can be imported is one of the checks
    import torch

    from rgt_cli.inference.hardware import NvidiaGPUs
    from rgt_cli.inference.selfcheck import Comparison

MODEL, SCALE = "tiny", 4
"""The bundled model that computes the golden tile."""
_INSTALL = "pip install --force-reinstall torch"
_INSTALL_CUDA = f"{_INSTALL} --index-url https://download.pytorch.org/whl/cu126"


def check_pytorch() -> Iterator[Check]:
    """Check that PyTorch can be imported and uses the GPUs of this machine."""
    if failure := failure_of_pytorch():
        text = f"cannot be imported: {failure}"
        yield Check(name="pytorch", text=text, state=State.FAIL, command=_INSTALL)
        return
    import torch

    from rgt_cli.inference.hardware import nvidia_gpus

    cuda, hip, cudnn = torch.version.cuda, torch.version.hip, _cudnn()
    build = f"CUDA {cuda}" if cuda else f"ROCm {hip}" if hip else "no CUDA"
    text = f"{torch.__version__}, {build}" + (f", cuDNN {cudnn}" if cudnn else "")
    facts = {"version": str(torch.__version__), "cuda": cuda, "rocm": hip, "cudnn": cudnn}
    yield Check(name="pytorch", text=text, facts=facts)
    yield _nvidia(nvidia_gpus())
    for device in _devices():
        yield _device(device)


def failure_of_pytorch() -> str:
    """Return why PyTorch cannot be imported; empty if it can."""
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        return first_line(error)
    return ""


def _cudnn() -> int | None:
    """Return the version of cuDNN; None if PyTorch has none."""
    import torch

    version: Callable[[], int | None] = torch.backends.cudnn.version  # has no annotations
    return version()


def _nvidia(gpus: NvidiaGPUs) -> Check:
    """Check that PyTorch can use the NVIDIA GPUs that are found without it."""
    import torch

    facts = {"gpus": list(gpus.names), "driver": gpus.driver}
    counts = Counter(gpus.names)
    names = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())
    text, state, command = f"{names}, driver {gpus.driver or 'unknown'}", State.OK, ""
    if not gpus.names:
        text, state = "no GPU found", State.NOTE
    elif torch.cuda.is_available():
        pass
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        text, state = f"{text}, hidden by CUDA_VISIBLE_DEVICES", State.NOTE
    elif torch.version.cuda is None:
        text += f": not used, because PyTorch {torch.__version__} is built without CUDA"
        state, command = State.FAIL, _INSTALL_CUDA
    else:
        text += f": not usable with CUDA {torch.version.cuda}: {_cuda_failure()}"
        state, command = State.FAIL, _INSTALL_CUDA
    return Check(name="nvidia", text=text, state=state, command=command, facts=facts)


def _cuda_failure() -> str:
    """Return why PyTorch cannot use CUDA."""
    import torch

    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "PyTorch finds no device"


def _devices() -> Iterator[torch.device]:
    """Yield every device that PyTorch finds, the processor last."""
    import torch

    from rgt_cli.inference.device import count_devices

    for kind in GPUS_WITH_NUMBERS:
        yield from (torch.device(kind, number) for number in range(count_devices(kind)))
    if count_devices("mps"):
        yield torch.device("mps")
    yield torch.device("cpu")


def _device(device: torch.device) -> Check:
    """Describe a device: its name, its free memory and its arithmetic."""
    import torch

    from rgt_cli.inference.device import describe_device, is_emulated, precision_name
    from rgt_cli.inference.memory import free_memory

    free = free_memory(device)
    named = describe_device(device).removeprefix(str(device)).strip(" ()")
    text = f"{named}, " * bool(named) + f"{free / 1e9:.1f} GB free"
    halves = {precision_name(dtype): dtype for dtype in (torch.bfloat16, torch.float16)}
    emulated = [name for name, dtype in halves.items() if is_emulated(dtype, device)]
    if device.type == "cpu":
        ways = [f"{name} {'emulated' if name in emulated else 'native'}" for name in halves]
        text += f", {torch.backends.cpu.get_cpu_capability()}, {', '.join(ways)}"
    return Check(name=str(device), text=text, facts={"free": free, "emulated": emulated})


def check_golden_tiles() -> Iterator[Check]:
    """Compare a golden tile on every device and in every precision with fp32 on the processor."""
    if failure_of_pytorch():
        return
    import torch

    from rgt_cli.checkpoints import resolve
    from rgt_cli.checkpoints.load import load_network
    from rgt_cli.inference import use_threads
    from rgt_cli.inference.device import is_emulated, precision_name
    from rgt_cli.inference.selfcheck import GoldenTile

    use_threads()
    golden = GoldenTile(load_network(resolve(MODEL, SCALE).path))
    for device in _devices():
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            name = f"{device} {precision_name(dtype)}"
            if is_emulated(dtype, device):
                text = "not computed, because this processor emulates it"
                yield Check(name=name, text=text, state=State.NOTE)
            else:
                is_warm = (device.type, dtype) == ("cpu", torch.float32)
                compared = golden.compare(device, dtype, warm_up=not is_warm)
                yield _golden_tile(name, compared, device)


def _golden_tile(name: str, compared: Comparison, device: torch.device) -> Check:
    facts = {
        "psnr": compared.psnr if math.isfinite(compared.psnr) else None,
        "attention_error": _finite(compared.attention_error),
        "seconds": compared.seconds,
    }
    if compared.problem:
        text = f"computes incorrectly: {compared.problem}"
        if compared.precision == "fp32" and device.type != "cpu":
            text += ", use --device cpu"
        return Check(name=name, text=text, state=State.FAIL, facts=facts)
    quality = "exact" if compared.psnr == math.inf else f"{compared.psnr:.1f} dB"
    return Check(name=name, text=f"{quality}, {compared.seconds:.3f} s", facts=facts)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
