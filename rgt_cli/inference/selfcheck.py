"""The self-check: a device must compute a golden tile as the processor does in fp32.

Drivers and libraries of graphics cards have had silent errors, above all in masked attention. Each model
is therefore checked once on each device. A passed check is remembered in the cache folder until
the device, its driver, PyTorch, this package or the model changes.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import logging
import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rgt_cli.checkpoints.cache import cache_root
from rgt_cli.errors import OutputError, UsageError, first_line
from rgt_cli.files import exclusive, write_text
from rgt_cli.inference.device import describe_device, precision_name, safer_precisions
from rgt_cli.inference.hardware import nvidia_driver
from rgt_cli.inference.memory import is_out_of_memory
from rgt_cli.network import RGT
from rgt_cli.network.kernels import attend, computing
from rgt_cli.version import __version__

logger = logging.getLogger(__name__)

TRUSTED = frozenset({"cpu"})
"""The types of devices that need no check: the processor is what the others are compared with."""
TILE = (56, 72)
"""Height and width of the golden tile in pixels. The windows of no RGT divide it without padding."""
LEAST_PSNR = 40.0
"""dB. In half precision, the golden tile has about 55 dB or more against fp32."""
MOST_ATTENTION_ERROR = 0.1
"""The largest error of attention between values of about 1. That of bf16 is about 0.02."""
_LENGTHS = (64, 192, 256)
"""Numbers of tokens whose attention is checked: libraries choose their kernels by them."""
_MOST_REMEMBERED = 256
"""Checks that are remembered; the oldest are forgotten."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a device computed the golden tile in one precision, against fp32 on the processor."""

    precision: str
    """"fp32", "fp16" or "bf16"."""
    psnr: float
    """dB; infinite if there is no difference, NaN or -inf if a value is not finite."""
    attention_error: float
    """The largest error of masked attention between values of about 1."""
    seconds: float
    """Time to compute the tile, after a warm-up."""
    failure: str = ""
    """The error that the device reported instead of a result; empty if it reported none."""

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        if self.failure:
            return self.failure
        if not self.psnr > -math.inf or not self.attention_error < math.inf:
            return "values that are not finite"
        if self.attention_error > MOST_ATTENTION_ERROR:
            return f"attention with an error of {self.attention_error:.2g}"
        return f"{self.psnr:.1f} dB against fp32 on the processor" if self.psnr < LEAST_PSNR else ""


class GoldenTile:
    """A tile of noise, and the output of a network for it, computed on the processor in fp32.

    Args:
        network: The network, as for `NetworkUpscaler`, on any device.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        channels = getattr(network.config, "in_chans", 3)
        noise = np.random.default_rng(0)
        self._tile = torch.from_numpy(noise.random((1, channels, *TILE), np.float32))
        self._probes = list(_probes(noise))
        # A copy computes what is expected, since a network caches weights wherever it computes.
        self._expected, self._attended = self._compute(
            copy.deepcopy(network), torch.device("cpu"), torch.float32
        )

    def compare(self, device: torch.device, dtype: torch.dtype, *, warm_up: bool = False) -> Comparison:
        """Compute the tile on a device, to which the network is moved, and compare the results.

        Args:
            device: Where to compute.
            dtype: The precision of matrix products.
            warm_up: Compute it twice, and measure the time of the second.

        Raises:
            RuntimeError: Memory ran out.
        """
        name, started = precision_name(dtype), time.perf_counter()
        try:
            if warm_up:
                self._compute(self._network, device, dtype)
                started = time.perf_counter()
            result, attended = self._compute(self._network, device, dtype)
        except (RuntimeError, NotImplementedError) as error:
            if is_out_of_memory(error):
                raise
            return Comparison(
                precision=name,
                psnr=math.nan,
                attention_error=math.nan,
                seconds=0,
                failure=first_line(error),
            )
        return Comparison(
            precision=name,
            psnr=_psnr(result, self._expected),
            attention_error=float((attended - self._attended).abs().max()),
            seconds=time.perf_counter() - started,
        )

    def _compute(
        self, network: nn.Module, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return the output of a network, and that of attention, in fp32 on the processor."""
        network.to(device)  # not in inference mode, in which its weights would lose their gradients
        with torch.inference_mode(), computing(device, dtype):
            output = network(self._tile.to(device)).float().cpu()
            attended = [_attend_on(device, dtype, *probe) for probe in self._probes]
        return output, torch.cat([part.float().cpu().flatten() for part in attended])


def _probes(noise: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield queries, keys, values and a bias that masks half of the pairs, as shifted windows do."""
    for length in _LENGTHS:
        shape = (2, 3, length, 32)
        q, k, v = (torch.from_numpy(noise.standard_normal(shape, np.float32)) for _ in range(3))
        bias = torch.from_numpy(noise.standard_normal((3, length, length), np.float32))
        half = torch.arange(length) < length // 2
        yield q, k, v, bias - 100.0 * (half[:, None] != half)


def _attend_on(
    device: torch.device, dtype: torch.dtype, q: Tensor, k: Tensor, v: Tensor, bias: Tensor
) -> Tensor:
    """Return the output of attention on a device."""
    q, k, v = (x.to(device, dtype) for x in (q, k, v))
    return attend(q, k, v, bias.to(device), q.shape[-1] ** -0.5)


def golden_image() -> np.ndarray:
    """Return noise, (H, W, 3) uint8, which every machine should upscale to the same result."""
    return np.random.default_rng(0).integers(0, 256, (*TILE, 3), np.uint8)


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the PSNR in dB between two uint8 images of one shape; it should be `LEAST_PSNR` or more."""
    equal = np.array_equal(a, b)
    return math.inf if equal else _psnr(torch.tensor(a) / 255, torch.tensor(b) / 255)


def _psnr(result: Tensor, expected: Tensor) -> float:
    """Return the PSNR in dB for values of 0..1."""
    error = float(((result - expected).double() ** 2).mean())
    return math.inf if error == 0 else -10 * math.log10(error)  # NaN stays NaN


def trusted_precision(
    network: nn.Module, *, name: str, device: torch.device, dtype: torch.dtype
) -> tuple[torch.dtype, tuple[str, ...]]:
    """Return the first precision, from `dtype` to fp32, in which a device computes a network correctly.

    Args:
        network: The network, which is moved to the device. If it is not an RGT, it is not checked: how
            much its results may differ is not known.
        name: Its name in messages.
        device: Where to compute.
        dtype: The requested precision.

    Returns:
        The precision, and messages for the user about those in which the device computes incorrectly.

    Raises:
        UsageError: The device computes incorrectly even in fp32.
    """
    if device.type in TRUSTED or not isinstance(network, RGT):
        return dtype, ()
    golden = functools.cache(lambda: GoldenTile(network))  # made only if a check is not remembered
    identity, problems = _Identity.of(network, device), list[str]()
    for step in safer_precisions(dtype, device):
        problem = _problem(golden, identity, device, step)
        if not problem:
            break
        problems.append(f"{precision_name(step)} ({problem})")
    finding = f"{describe_device(device)} computes {name} incorrectly in {' and '.join(problems)}"
    if problem:
        raise UsageError(f"{finding}: use --device cpu")
    return step, (f"{finding}: using {precision_name(step)} instead",) if problems else ()


def _problem(
    golden: Callable[[], GoldenTile],
    identity: _Identity,
    device: torch.device,
    precision: torch.dtype,
) -> str:
    """Return what is wrong with a device in a precision, in words; empty if nothing is."""
    if identity in _remembered(precision):
        return ""
    try:
        compared = golden().compare(device, precision)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        logger.info("self-check: no memory is left for it on %s", device)
        return ""
    logger.info(
        "self-check: %s on %s: %s",
        compared.precision, device, compared.problem or f"passed with {compared.psnr:.1f} dB",
    )  # fmt: skip
    if not compared.problem:
        _remember(identity, precision)
    return compared.problem


@dataclass(frozen=True, kw_only=True)
class _Identity:
    """All that a check depends on besides the precision."""

    device: str
    driver: str
    pytorch: str
    rgt: str
    model: str

    @classmethod
    def of(cls, network: RGT, device: torch.device) -> _Identity:
        """Return the identity of a check of a network on a device."""
        return cls(
            # All cards of one kind in a machine count as one.
            device=describe_device(device).replace(str(device), device.type, 1),
            driver=_driver(device),
            pytorch=str(torch.__version__),
            rgt=__version__,
            model=hash_of(network),
        )


def _driver(device: torch.device) -> str:
    """Return the version of the driver of a device."""
    if device.type == "cuda":
        return nvidia_driver() or ""
    if device.type == "xpu":
        return str(getattr(torch.xpu.get_device_properties(device), "driver_version", ""))
    return platform.platform()  # the driver of Apple GPUs is part of the system


def hash_of(network: nn.Module) -> str:
    """Return a hash of the hyper-parameters and the weights of a network, in hexadecimal."""
    digest = hashlib.sha256(repr(getattr(network, "config", None)).encode())
    for key, tensor in network.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _memory() -> Path:
    """Return the path of the file with the checks that were passed."""
    return cache_root() / "selfcheck.json"


def _entries() -> list[dict[str, str]]:
    """Return the checks that were passed, the oldest first; none if they cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        passed = json.loads(_memory().read_text(encoding="utf-8"))["passed"]
        return [entry for entry in passed if isinstance(entry, dict)]
    return []


def _remembered(precision: torch.dtype) -> list[_Identity]:
    """Return what passed the check in a precision."""
    found = []
    for entry in _entries():
        with suppress(TypeError):
            if entry.pop("precision", None) == precision_name(precision):
                found.append(_Identity(**entry))
    return found


def _remember(identity: _Identity, precision: torch.dtype) -> None:
    """Remember a check that was passed. Without a cache that can be written, it is run each time."""
    entry = asdict(identity) | {"precision": precision_name(precision)}
    path = _memory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path, wait=True, lock_file=path.with_suffix(".lock")):
            passed = [each for each in _entries() if each != entry][1 - _MOST_REMEMBERED :]
            write_text(path, json.dumps({"schema": 1, "passed": [*passed, entry]}, indent=2))
    except (OSError, OutputError) as error:
        logger.info("self-check: not remembered: %s", error)
