"""What a run remembers in the output folder, so that the next one does exactly what is missing.

A line is added before a target is put in place and another one after it, each written through to
the disk. A target is replaced in one step, so whatever the moment of death, it is known which
targets are there, from which source, and made how.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from rgt_cli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rgt_cli.jobs.plan import Job

JOURNAL = ".rgt-journal.jsonl"
"""The name of the journal in an output folder."""

Stamp = list[int] | None
"""Size in bytes and time of the last change in nanoseconds of a file; None where there is none."""


def stamp(path: Path) -> Stamp:
    """What tells one state of a file from another."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


class Journal:
    """The journal of one output folder, held by one process at a time.

    Args:
        folder: the output folder; it is made if it is not there.
        settings: what the results depend on, as JSON.
        anew: forget what earlier runs did.

    Raises:
        UsageError: another run holds the folder, or an earlier one made its targets with other
            settings.
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], anew: bool = False) -> None:
        self.folder, self.path = folder, folder / JOURNAL
        self._done: dict[str, dict[str, Any]] = {}
        self._writing = threading.Lock()
        key = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
        # The lock lies elsewhere, so that nothing but the journal is left in people's folders.
        self._lock = FileLock(Path(tempfile.gettempdir(), f"rgt-{key}.lock"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(f"{folder}: another run of rgt is writing there") from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
        try:
            self.resumed = not anew and self._read(settings)
            self._file = self.path.open("ab" if self.resumed else "wb")
            if not self.resumed:
                self._write({"settings": settings})
        except OSError as error:
            self._lock.release()
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        except UsageError:
            self._lock.release()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._lock.release()

    def _read(self, settings: dict[str, Any]) -> bool:
        """Take up the journal of an earlier run; false if there is none."""
        if not self.path.exists():
            return False
        lines = self.path.read_bytes().split(b"\n")
        whole = b"\n".join(lines[:-1])  # a line that was cut short by a power loss is no line
        entries = [json.loads(line) for line in lines[:-1] if line]
        if not entries:
            return False
        if len(lines[-1]):
            self.path.write_bytes(whole + b"\n")
        before = entries[0]["settings"]
        if before != settings:
            changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
            words = ", ".join(f"{k} was {before.get(k)}, now {settings.get(k)}" for k in changed)
            raise UsageError(
                f"{self.folder}: holds results of other settings ({words}); choose another folder, "
                "or --overwrite to make all of them anew"
            )
        for entry in entries[1:]:
            self._done[entry["target"]] = entry
        return True

    def has(self, job: Job) -> bool:
        """Whether an earlier run made the target of a job, whole, of the source as it is now."""
        entry = self._done.get(self._name(job.target))
        now = stamp(job.target)
        if entry is None or now is None or entry["source"] != stamp(job.source):
            return False
        # Between the two lines of a target it was put in place or not: only then does it differ.
        return now == entry["after"] if "after" in entry else now != entry["before"]

    def made(self, job: Job) -> bool:
        """Whether an earlier run made the target of a job, of whatever its source was then."""
        entry = self._done.get(self._name(job.target))
        return entry is not None and entry.get("after") == stamp(job.target)

    def begin(self, job: Job) -> None:
        """Note that the target of a job is about to be put in place.

        Raises:
            OutputError: the folder is no longer there, unmounted perhaps.
        """
        if not self.path.exists():
            raise OutputError(f"{self.folder}: the output folder has vanished")
        name = self._name(job.target)
        self._done[name] = {"target": name, "source": stamp(job.source), "before": stamp(job.target)}
        self._write(self._done[name])

    def done(self, job: Job) -> None:
        """Note that it is in place."""
        name = self._name(job.target)
        self._done[name] = self._done[name] | {"after": stamp(job.target)}
        self._write(self._done[name])

    def _name(self, target: Path) -> str:
        """The target as the journal calls it: by its place in the folder, so that this can be moved."""
        return os.path.relpath(target, self.folder)

    def _write(self, entry: dict[str, Any]) -> None:
        with self._writing:
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
