"""Check Python, the operating system, the processors and the memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata

import psutil

from rgt_cli.doctor.check import Check, State
from rgt_cli.doctor.devices import failure_of_pytorch
from rgt_cli.version import __version__

_LIBRARIES = ("numpy", "pillow", "av", "imagecodecs", "huggingface-hub")
"""The libraries whose versions explain differences between machines."""
_LEAST_MEMORY = 2 << 30
"""Bytes. With less, even small images are computed in many tiles."""


def check_system() -> Iterator[Check]:
    """Check the versions of software, the system, the processors and the memory."""
    python = platform.python_version()
    yield Check(name="rgt", text=__version__, facts={"version": __version__})
    yield Check(
        name="python",
        text=f"{platform.python_implementation()} {python}",
        facts={"version": python},
    )
    yield Check(name="system", text=_system(), facts={"system": _system()})
    libraries = dict(_versions())
    text = ", ".join(f"{name} {version}" for name, version in libraries.items())
    yield Check(name="libraries", text=text, facts=libraries)
    if not failure_of_pytorch():
        yield _processors()
        yield _memory()


def _system() -> str:
    """Return the name and version of the operating system, and the kind of processor."""
    name = f"{platform.system()} {platform.release()}"
    if platform.system() == "Darwin":
        name = f"macOS {platform.mac_ver()[0]}"
    with suppress(OSError):
        name = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {name}"
    return f"{name}, {platform.machine()}"


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def _processors() -> Check:
    from rgt_cli.inference.hardware import processor_name
    from rgt_cli.inference.limits import processors

    usable, total, model = processors(), os.cpu_count() or 1, processor_name()
    text = f"{usable} of {total} usable" if usable < total else str(total)
    return Check(
        name="processors",
        text=f"{text}, {model}",
        facts={"usable": usable, "total": total, "model": model},
    )


def _memory() -> Check:
    from rgt_cli.inference.limits import memory_left

    memory = psutil.virtual_memory()
    free = int(min(memory.available, memory_left()))
    text = f"{free / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if free < memory.available:
        text += ", limited by the control group"
    is_little = free < _LEAST_MEMORY
    return Check(
        name="memory",
        text=f"{text}: close other programs for larger tiles" if is_little else text,
        state=State.NOTE if is_little else State.OK,
        facts={"free": free, "total": memory.total, "is_limited": free < memory.available},
    )
