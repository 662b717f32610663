"""Which devices compute a run, where there are several."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from rgt_cli.errors import UsageError
from rgt_cli.values import GPUS_WITH_NUMBERS, parse_device, reject_several


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Where workers should run."""

    local: tuple[str, ...] = ()
    """Devices of this machine, a worker each, such as "cuda:0", "xpu:0" or "cpu"."""
    address: str | None = None
    """An existing Ray cluster: "auto", or HOST:PORT."""
    workers: int | None = None
    """The number of CPU workers in a cluster; None is a worker for each of its GPUs."""


def parse_devices(device: str, address: str | None, workers: int | None) -> Devices | None:
    """Return where workers should run; None if one device of this process is meant.

    Args:
        device: "all", several devices separated by commas, or a single one.
        address: A Ray cluster.
        workers: The number of CPU workers in the cluster.

    Raises:
        UsageError: The options contradict each other.
    """
    if address:
        reject_several(["--cluster"] + ["--device"] * (device != "auto"))
        return Devices(address=address, workers=workers)
    if workers is not None:
        raise UsageError("--workers needs --cluster: on this machine, use --device cpu,cpu")
    if device == "all":
        from rgt_cli.inference.device import count_devices  # imports torch

        gpus = [f"{kind}:{n}" for kind in GPUS_WITH_NUMBERS for n in range(count_devices(kind))]
        return Devices(local=tuple(gpus)) if len(gpus) > 1 else None
    if "," not in device:
        return None
    names = tuple(name.strip() for name in device.split(","))
    kinds = [_kind_of(name) for name in names]
    if any(kind != "cpu" and names.count(name) > 1 for name, kind in zip(names, kinds, strict=True)):
        raise UsageError(f"{device}: names a GPU twice")
    return Devices(local=names)


def _kind_of(name: str) -> str:
    """Return the kind of a device that a worker can use.

    Raises:
        UsageError: It is none.
    """
    with contextlib.suppress(UsageError):
        kind, _ = parse_device(name)
        if kind in (*GPUS_WITH_NUMBERS, "cpu"):
            return kind
    raise UsageError(f"{name!r} is not a device for a worker: use cuda:N, xpu:N or cpu")
