"""Which devices compute a run, where there are several."""

from __future__ import annotations

from dataclasses import dataclass

from rgt_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Where workers should run."""

    local: tuple[str, ...] = ()
    """Devices of this machine, a worker each, such as "cuda:0" or "cpu"."""
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
        if device != "auto":
            raise UsageError("--device and --cluster exclude each other: a cluster uses its GPUs")
        return Devices(address=address, workers=workers)
    if workers is not None:
        raise UsageError("--workers needs --cluster: on this machine, use --device cpu,cpu")
    if device == "all":
        import torch

        count = torch.cuda.device_count()
        return Devices(local=tuple(f"cuda:{index}" for index in range(count))) if count > 1 else None
    if "," not in device:
        return None
    names = tuple(name.strip() for name in device.split(","))
    for name in names:
        kind, _, index = name.partition(":")
        if kind not in ("cuda", "cpu") or (index and not (kind == "cuda" and index.isdecimal())):
            raise UsageError(f"{name!r} is not a device for a worker: use cuda:N or cpu")
    if any(name.startswith("cuda") and names.count(name) > 1 for name in names):
        raise UsageError(f"{device}: names a GPU twice")
    return Devices(local=names)
