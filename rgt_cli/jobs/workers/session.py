"""Ray, started on this machine or connected to a cluster, and what its errors mean."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rgt_cli.errors import RGTError, UsageError, first_line
from rgt_cli.jobs.workers.devices import Devices

_OBJECT_STORE = 80 << 20
"""Bytes of shared memory for Ray. Only descriptions of jobs pass through it."""
_COLOR = re.compile("\x1b\\[[0-9;]*m")
_CONNECT_SECONDS = 10.0
"""How long the head of a cluster may take to accept a connection."""


def import_ray(devices: Devices) -> Any:
    """Import Ray, without its messages and statistics.

    Args:
        devices: Where workers should run.

    Raises:
        UsageError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not devices.address:  # this variable lets Ray use the loopback address, on every system
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        from ray._private import worker
    except ImportError as error:
        raise UsageError(
            'several devices need Ray, which is not installed: pip install "rgt-cli[cluster]"'
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray prints on stdout why a worker died. We report that ourselves, and stdout may receive events.
    worker.print_to_stdstream = lambda *arguments, **options: None
    return ray


@contextlib.contextmanager
def session(devices: Devices) -> Iterator[Any]:
    """Start Ray on this machine, or connect to a cluster, until the block ends.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """
    ray = import_ray(devices)
    arguments: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    with contextlib.ExitStack() as stack:
        if devices.address:
            _check_address(devices.address)
            arguments |= {"address": devices.address}
        else:
            arguments |= {
                "address": "local",
                "num_cpus": len(devices.local),
                "num_gpus": 0,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_temp_dir": stack.enter_context(_temporary_folder()),
            }
        _connect(ray, arguments, devices)
        stack.callback(ray.shutdown)
        yield ray


def _check_address(address: str) -> None:
    """Refuse an address at which nothing listens; Ray would try it for minutes.

    Raises:
        UsageError: It is not "auto" and not HOST:PORT, or nothing listens there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise UsageError(f"{address!r} is not the address of a Ray cluster: use auto or HOST:PORT")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"there is no Ray cluster at {address}: {error}; `ray start --head` starts one"
        ) from error


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for the logs and sockets of Ray, which leaves its own ones behind.

    Paths of sockets are about a hundred characters at most, so it is not below a long TMPDIR.
    """
    place = "/tmp" if Path("/tmp").is_dir() else None
    return tempfile.TemporaryDirectory(prefix="rgt-ray-", dir=place, ignore_cleanup_errors=True)


def _connect(ray: Any, arguments: dict[str, Any], devices: Devices) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**arguments)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        where = f"the cluster {devices.address}" if devices.address else "this machine"
        token = "; if it requires a token, set RAY_AUTH_MODE=token, and copy it to ~/.ray/auth_token"
        hint = token if devices.address else ""
        raise UsageError(f"Ray cannot be used on {where}: {_plain_line(error)}{hint}") from error
    finally:  # Ray replaces them
        for number, handler in handlers.items():
            signal.signal(number, handler)


def reason_of(error: Exception) -> str:
    """Return why a call of a worker failed, in one line."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, RGTError):
        return str(cause)
    if isinstance(cause, Exception):
        return f"unexpected {type(cause).__name__}: {cause}"
    lines = _COLOR.sub("", str(error)).strip().splitlines()
    if lines and "creation task" in lines[0]:  # what follows is a traceback
        return f"it could not be started: {lines[-1].strip()}"
    return _plain_line(error)


def _plain_line(error: Exception) -> str:
    """Return the first line of an error without colors."""
    return _COLOR.sub("", first_line(error))
