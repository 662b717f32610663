"""The errors of this package, each with its exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `rgt`. The manual explains each one under `rgt help reference`."""

    DONE = 0
    SOME_FAILED = 1
    BAD_USAGE = 2
    NO_INPUT = 3
    CHECKPOINT = 4
    OUT_OF_MEMORY = 5
    OUTPUT = 6
    DEVICE = 7
    INTERRUPTED = 130
    TERMINATED = 143


class RGTError(Exception):
    """Base class of all errors of this package. The text is one line for the user."""

    exit_code = ExitCode.SOME_FAILED
    ends_run = False
    """Whether the other jobs of a run would fail too, so that none is started."""


class InputError(RGTError):
    """An input cannot be read: it is damaged, of an unsupported kind, or neither image nor video."""


class UsageError(RGTError):
    """The request cannot be fulfilled, whatever the input or the machine."""

    exit_code = ExitCode.BAD_USAGE


class NoInputError(RGTError):
    """The input does not exist."""

    exit_code = ExitCode.NO_INPUT


class CheckpointError(RGTError):
    """A checkpoint is missing, damaged, refused, or not an RGT."""

    exit_code = ExitCode.CHECKPOINT


class OutOfMemoryError(RGTError):
    """A tile does not fit in memory, the requested or the smallest one, or an image with its output."""

    exit_code = ExitCode.OUT_OF_MEMORY


class WorkerError(RGTError):
    """Workers died while they did a job, as often as it is tried, or none is left."""


class OutputError(RGTError):
    """An output cannot be written."""

    exit_code = ExitCode.OUTPUT
    ends_run = True


class OutputNameError(OutputError):
    """An output cannot be written, because its disk does not accept its name."""

    ends_run = False


class DeviceError(RGTError):
    """The device failed while it computed. This process can no longer use it."""

    exit_code = ExitCode.DEVICE
    ends_run = True


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its type if it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
