"""Errors that no other code handles: each of them fails one job instead of the run."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rgt_cli.errors import DeviceError, OutOfMemoryError, RGTError, first_line
from rgt_cli.jobs.job import Job, Stopped

logger = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[1]


@contextmanager
def failures_of(job: Job) -> Iterator[None]:
    """Turn every error of the block into one of this package, so that it fails one job, not the run.

    Raises:
        OutOfMemoryError: Memory ran out.
        DeviceError: The device failed.
        RGTError: The block raised it, or the block raised an error that is a defect of this package.
    """
    try:
        yield
    except (RGTError, Stopped):
        raise
    except Exception as error:
        logger.error("%s failed unexpectedly", job.name, exc_info=error)
        raise _as_reported(error, job) from error


def _as_reported(error: Exception, job: Job) -> RGTError:
    from rgt_cli.inference.device import is_device_failure
    from rgt_cli.inference.memory import is_out_of_memory  # both import torch

    if is_out_of_memory(error):
        return OutOfMemoryError(f"{job.name}: does not fit in memory")
    if is_device_failure(error):
        return DeviceError(f"{job.name}: the device failed: {first_line(error)}")
    kind, text = type(error).__name__, first_line(error)
    return RGTError(f"{job.name}: unexpected {kind} in {_origin(error)}: {text}")


def _origin(error: Exception) -> str:
    """Return the file and line of this package that the error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
