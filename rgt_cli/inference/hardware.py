"""The processor and the graphics cards of this machine, found without PyTorch."""

from __future__ import annotations

import functools
import platform
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia")
"""What the driver reports about itself on Linux."""
_DEVICES = Path("/dev")
_PATIENCE = 5.0
"""Seconds to wait for the program of the driver, which hangs if a card does."""


@dataclass(frozen=True, kw_only=True)
class NvidiaGPUs:
    """The NVIDIA GPUs of this machine."""

    names: tuple[str, ...]
    """The name of each; "NVIDIA GPU" where it is unknown."""
    driver: str | None
    """The version of the driver; None if it is unknown, or no driver is installed."""


def processor_name() -> str:
    """Return the name of the processor, as its maker calls it, or that of its architecture."""
    found = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


@functools.cache
def nvidia_gpus(proc: Path = _DRIVER, devices: Path = _DEVICES) -> NvidiaGPUs:
    """Return the NVIDIA GPUs, as the driver's program reports them, or else its files.

    Args:
        proc: The folder of the driver under /proc.
        devices: The folder of device files.
    """
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        shown = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_PATIENCE, errors="replace"
        )
        rows = [line.rpartition(",") for line in shown.stdout.splitlines() if "," in line]
        if rows:
            names = tuple(name.strip() for name, _, _ in rows)
            return NvidiaGPUs(names=names, driver=rows[0][2].strip())
    names = tuple(
        found[1] if (found := re.search(r"Model:\s*(.+)", _text(file))) else "NVIDIA GPU"
        for file in sorted(proc.glob("gpus/*/information"))
    )
    files = [path for path in devices.glob("nvidia*") if path.name[6:].isdecimal()]
    return NvidiaGPUs(names=names or ("NVIDIA GPU",) * len(files), driver=_driver_of(proc))


def nvidia_driver(proc: Path = _DRIVER) -> str | None:
    """Return the version of the NVIDIA driver; None if it is unknown."""
    return _driver_of(proc) or nvidia_gpus().driver


def _driver_of(proc: Path) -> str | None:
    found = re.search(r"NVRM version:.*?\s(\d+(?:\.\d+)+)\s", _text(proc / "version"))
    return found[1] if found else None


def _text(path: Path) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
