"""The argument `-`: an image from stdin, or an output to stdout, each by way of a temporary file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rgt_cli.errors import InputError, UsageError
from rgt_cli.files import cannot_write
from rgt_cli.jobs.job import is_video_name
from rgt_cli.media import CONTAINERS, format_inside

STDIO = Path("-")


@dataclass(frozen=True)
class Files:
    """The files of a run with one input, where stdin or stdout may be meant."""

    source: Path
    target: Path | None
    source_name: str
    """The input as messages call it."""
    target_name: str = ""
    """The output as messages call it; empty for its path."""


@contextmanager
def stdio_files(source: Path, target: Path | None, format_name: str | None) -> Iterator[Files]:
    """Yield files that stand for stdin and stdout where `-` names them.

    The output of stdin is stdout unless another one is named. Stdout is written at the end of the block
    if the output exists.

    Raises:
        UsageError: Stdout is a terminal.
        InputError: Stdin is empty.
        OutputError: Stdout is closed.
    """
    to_stdout = target == STDIO or (source == STDIO and target is None)
    if to_stdout and sys.stdout.isatty():
        raise UsageError("stdout is a terminal: name an output with -o, or redirect stdout")
    with ExitStack() as stack:
        name = str(source)
        if source == STDIO or to_stdout:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rgt-")))
        if source == STDIO:
            source, name = folder / "stdin", "stdin"
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            if not source.stat().st_size:
                raise InputError("stdin: is empty")
        if not to_stdout:
            yield Files(source, target, name)
            return
        result = folder / f"stdout.{format_name or _format_of_output(source)}"
        yield Files(source, result, name, "stdout")
        if result.exists():
            _copy_to_stdout(result)


def _format_of_output(source: Path) -> str:
    """Return the name of the format of an input, or of the usual one if that cannot be written."""
    if not is_video_name(source):
        return format_inside(source)
    suffix = source.suffix.lower()
    return next((one.name for one in CONTAINERS if suffix in one.suffixes), "mkv")


def _copy_to_stdout(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise cannot_write(Path("stdout"), error) from error
