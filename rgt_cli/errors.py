"""Every error that a person may see: what failed, where, what to do next, and the exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says when it ends; the table in README explains each."""

    DONE = 0
    SOME_FAILED = 1
    BAD_USAGE = 2
    NO_INPUT = 3
    CHECKPOINT = 4
    OUT_OF_MEMORY = 5
    OUTPUT = 6
    INTERRUPTED = 130


class RGTError(Exception):
    """Base of all errors of this package; its text is one line for a person to read."""

    exit_code = ExitCode.SOME_FAILED


class InputError(RGTError):
    """A source cannot be read as a picture."""


class UsageError(RGTError):
    """What was asked for cannot be done, whatever the machine does."""

    exit_code = ExitCode.BAD_USAGE


class NoInputError(RGTError):
    """The source does not exist."""

    exit_code = ExitCode.NO_INPUT


class CheckpointError(RGTError):
    """A checkpoint is missing, damaged, refused, or no RGT."""

    exit_code = ExitCode.CHECKPOINT


class OutOfMemoryError(RGTError):
    """The smallest allowed tile does not fit in memory."""

    exit_code = ExitCode.OUT_OF_MEMORY


class OutputError(RGTError):
    """A result cannot be written."""

    exit_code = ExitCode.OUTPUT
