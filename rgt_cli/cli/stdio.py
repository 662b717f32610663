"""`-`: one picture from stdin, or to stdout. Both pass through a folder of their own."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rgt_cli.errors import InputError, OutputError, UsageError
from rgt_cli.media import format_inside

STDIO = Path("-")


@contextmanager
def stdio_files(
    source: Path, target: Path | None, format_name: str | None
) -> Iterator[tuple[Path, Path | None]]:
    """Files that stand for stdin and stdout, wherever those are meant.

    Stdin without a target goes to stdout, in the format that it came in. Stdout is written once all
    went well.

    Raises:
        UsageError: stdout is a terminal.
        InputError: stdin is empty.
        OutputError: stdout is closed.
    """
    to_stdout = target == STDIO or (source == STDIO and target is None)
    if source != STDIO and not to_stdout:
        yield source, target
        return
    if to_stdout and sys.stdout.isatty():
        raise UsageError("stdout is a terminal; name a target with -o, or pipe the picture somewhere")
    with tempfile.TemporaryDirectory(prefix="rgt-") as folder:
        if source == STDIO:
            source = Path(folder, "stdin")
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            if not source.stat().st_size:
                raise InputError("stdin: is empty")
        if not to_stdout:
            yield source, target
            return
        name = format_name or format_inside(source)
        result = Path(folder, f"stdout.{name}")
        yield source, result
        try:
            with result.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise OutputError(f"stdout: cannot be written: {error.strerror}") from error


def display_name(path: Path) -> str:
    """A path as a person knows it: what stands for stdin or stdout, by that name."""
    if path.parent.name.startswith("rgt-") and path.stem in ("stdin", "stdout"):
        return path.stem
    return str(path)
