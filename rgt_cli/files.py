"""Files that are complete or absent: atomic writes, scratch files, stamps, append-only logs, locks.

A file that is being written has a hidden name in the folder of its target, and is locked by the process
that writes it. So the files of a process that has died can be removed, but not those of a running one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rgt_cli.errors import OutputError, OutputNameError, UsageError

PARTIAL = ".rgt-{}.part"
"""The name of a file that is being written, with eight hexadecimal digits."""
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
"""What systems report if a name is too long or contains characters that a disk refuses."""


def cannot_write(target: Path, error: BaseException) -> OutputError:
    """Return the error that reports that `target` cannot be written, with the reason."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename and error.errno in _NAME_ERRORS:
        return OutputNameError(f"{target}: cannot be written: the disk refuses its name: {reason}")
    return OutputError(f"{target}: cannot be written: {reason}")


@contextmanager
def atomic_write(target: Path) -> Iterator[BinaryIO]:
    """Yield a binary file, open for writing and reading, that replaces `target` on success.

    The file is flushed to the disk before it takes the place of `target`. If the block raises, `target`
    stays as it was. A symbolic link stays, and the file that it leads to is replaced. A pipe or a device
    cannot be replaced: it receives the bytes of the file.

    Raises:
        OutputError: The file cannot be written or moved.
    """
    if is_stream(target):
        with _write_through(target) as file:
            yield file
        return
    place = Path(os.path.realpath(target)) if target.is_symlink() else target
    partial = partial_path(place.parent)
    try:
        with _create(partial) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # an open file cannot be moved there
            os.replace(partial, place)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _write_through(target: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file, and copy it to a pipe or a device on success."""
    try:
        with tempfile.NamedTemporaryFile(prefix="rgt-") as file:
            yield file  # type: ignore[misc]
            file.flush()
            file.seek(0)
            with target.open("wb", buffering=0) as stream:
                shutil.copyfileobj(file, stream)
    except OSError as error:
        raise cannot_write(target, error) from error


def is_stream(path: Path) -> bool:
    """Return whether a path leads to a pipe or a character device, such as /dev/stdout."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield the path of an empty file that replaces `target` on success, for writers that need a path.

    Raises:
        OutputError: As `atomic_write`.
    """
    with atomic_write(target) as file:
        yield Path(file.name)


def put_in_place(complete: Path, target: Path) -> None:
    """Flush a file to the disk and let it replace `target`, as `atomic_write` does.

    Raises:
        OutputError: As `atomic_write`.
    """
    place = Path(os.path.realpath(target)) if target.is_symlink() else target
    try:
        with complete.open("r+b") as file:
            os.fsync(file.fileno())
        if not is_stream(target):
            os.replace(complete, place)
            return
    except OSError as error:
        if error.errno != errno.EXDEV:  # a symbolic link that leads to another disk
            raise cannot_write(target, error) from error
    with complete.open("rb") as source, atomic_write(target) as file:
        shutil.copyfileobj(source, file)


def write_text(target: Path, text: str) -> None:
    """Replace `target` by a UTF-8 text file.

    Raises:
        OutputError: As `atomic_write`.
    """
    with atomic_write(target) as file:
        file.write(text.encode())


@contextmanager
def scratch_file(folder: Path, size: int) -> Iterator[Path]:
    """Yield the path of a file of `size` bytes with its disk space reserved; remove it afterwards.

    Raises:
        OutputError: The disk has no room for it.
    """
    path = partial_path(folder)
    try:
        try:
            file = _create(path)
        except OSError as error:
            raise cannot_write(folder, error) from error
        with file:
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
            except OSError as error:
                needed = f"{size / 1e9:.1f} GB of decoded pixels"
                raise OutputError(f"{folder}: no room for {needed}: {error.strerror}") from error
            yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def partial_path(folder: Path) -> Path:
    """Return an unused hidden name in `folder`."""
    return folder / PARTIAL.format(secrets.token_hex(4))


def find_partials(folder: Path) -> Iterator[Path]:
    """Yield the unfinished files in `folder` that no running process is writing."""
    for path in folder.glob(PARTIAL.format("?" * 8)):
        with suppress(OSError), path.open("rb") as file:
            if _lock(file, wait=False):
                yield path


def remove_partials(folder: Path) -> None:
    """Remove the unfinished files in `folder` that no running process is writing."""
    for path in find_partials(folder):
        with suppress(OSError):
            path.unlink()


def _create(path: Path) -> BinaryIO:
    """Create a file and lock it for as long as it is open."""
    while True:
        file = path.open("x+b")
        _lock(file, wait=True)
        if path.exists():  # otherwise another process removed it before it was locked
            return file
        file.close()


def _lock(file: BinaryIO, wait: bool) -> bool:
    """Lock an open file; return whether no other process has done so. The lock ends with its process."""
    if sys.platform == "win32":
        return True  # an open file cannot be removed there
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return wait  # a file system without locks: remove nothing
    return True


class FileStamp(NamedTuple):
    """The state of a file; it changes whenever the file is written."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, in nanoseconds since 1970."""

    @classmethod
    def of(cls, path: Path) -> FileStamp | None:
        """Return the state of a file, or None if it does not exist."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns)

    @classmethod
    def from_json(cls, value: list[int] | None) -> FileStamp | None:
        """Return the stamp that JSON stores as a list of two numbers or null."""
        return None if value is None else cls(*value)


class AppendLog:
    """A file of JSON objects, one per line, that survives a crash at any moment.

    Each entry is on the disk when `append` returns. A last line that a power loss truncated is dropped
    when the log is opened, and damaged lines are skipped.

    Args:
        path: The file. It is created if it does not exist.

    Raises:
        OSError: The file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._file: BinaryIO = path.open("a+b")
        self._file.truncate(sum(len(line) for _, line in self.lines(path)))

    @staticmethod
    def lines(path: Path) -> Iterator[tuple[int, bytes]]:
        """Yield the position and the bytes of each complete line of a log; none if there is no file.

        Raises:
            OSError: The file cannot be read.
        """
        if not path.exists():
            return
        position = 0
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield position, line
                position += len(line)

    @classmethod
    def read(cls, path: Path) -> Iterator[dict[str, Any]]:
        """Yield the entries of a log without opening it for writing; none if there is no file.

        Raises:
            OSError: The file cannot be read.
        """
        for _, line in cls.lines(path):
            if (entry := parsed_entry(line)) is not None:
                yield entry

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of the file."""
        return list(self.read(self.path))

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(self, entry: dict[str, Any]) -> int:
        """Add an entry, flush it to the disk, and return its position. Threads may call this at once."""
        line = json.dumps(entry).encode() + b"\n"
        with self._writing:
            position = os.fstat(self._file.fileno()).st_size
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        return position

    def replace(self, entries: Iterable[dict[str, Any]]) -> None:
        """Start over with these entries.

        Raises:
            OutputError: As `atomic_write`.
        """
        self._file.close()
        with atomic_write(self.path) as file:
            file.writelines(json.dumps(entry).encode() + b"\n" for entry in entries)
        self._file = self.path.open("ab")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def parsed_entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line of an `AppendLog`, or None if it is damaged."""
    with suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            return entry
    return None


@contextmanager
def exclusive(resource: Path, wait: bool = False, lock_file: Path | None = None) -> Iterator[None]:
    """Lock a file or folder, which need not exist, against other processes until the block ends.

    The lock is released when its process ends, however it ends.

    Args:
        resource: What is locked.
        wait: Wait for another process that holds the lock, instead of raising.
        lock_file: The file that represents the lock, which stays. By default, it is in the folder for
            temporary files, and is removed with the lock.

    Raises:
        UsageError: Another process holds the lock, and `wait` is false.
        OSError: The lock file cannot be created.
    """
    from filelock import FileLock, Timeout

    is_temporary = lock_file is None
    if lock_file is None:
        key = hashlib.sha256(os.fsencode(os.path.realpath(resource))).hexdigest()[:16]
        lock_file = Path(tempfile.gettempdir(), f"rgt-{key}.lock")
    lock = FileLock(lock_file, mode=0o666)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise UsageError(
            f"{resource}: another rgt process is writing there; wait until it has finished"
        ) from error
    try:
        yield
    finally:
        if is_temporary and os.name == "posix":  # elsewhere `release` removes it
            with suppress(OSError):
                lock_file.unlink()  # a process that waits for it notices that, and makes another one
        lock.release()
