"""The journal of an output folder: with it, the next run does exactly what is missing.

One line is written before an output is put in place and another one after it, each flushed to the disk.
An output is replaced in one step. So whenever a run dies, the journal shows which outputs are complete,
from which state of which input, and with which settings.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.files import AppendLog, FileStamp, cannot_write, exclusive
from rgt_cli.jobs.entries import EntryIndex
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.source_list import SourceList, prefix_of

logger = logging.getLogger(__name__)

JOURNAL = ".rgt-journal.jsonl"
"""The name of the journal in an output folder."""

Settings = Mapping[str, Any]
"""Everything that outputs depend on besides their inputs: JSON values by name."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """The state of one output."""

    source: FileStamp | None
    """The input when the output was written."""
    before: FileStamp | None
    """The file in the place of the output before it was written."""
    after: FileStamp | None
    """The output; None if it is not known to be in place."""

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> _Entry:
        stamps = {name: FileStamp.from_json(entry.get(name)) for name in ("source", "before", "after")}
        return cls(**stamps)


class History:
    """What earlier runs wrote to an output folder.

    Args:
        folder: The output folder.
        settings: Everything that the outputs depend on besides their inputs.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.path = folder, folder / JOURNAL
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))  # as they come back from a file
        self._prefix = prefix_of(folder)
        self._index = EntryIndex(self.path)

    @classmethod
    @contextmanager
    def read(cls, folder: Path, settings: Settings, fresh: bool = False) -> Iterator[History]:
        """Read the journal of a folder, if there is one, until the block ends, and change nothing.

        Args:
            folder: The output folder.
            settings: As for the class.
            fresh: Forget what earlier runs did.

        Raises:
            UsageError: An earlier run used other settings.
            OutputError: The journal cannot be read.
        """
        history = cls(folder, settings)
        with closing(history._index):
            try:
                if not fresh and (first := next(AppendLog.read(history.path), None)):
                    history._check(first)
                    history._index.load()
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise OutputError(f"{history.path}: cannot be read: {reason}") from error
            yield history

    def _check(self, first: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of the run that began a log.

        A setting that only one of the two runs has, as those of videos, does not matter to the other.

        Args:
            first: The first entry of the log.

        Raises:
            UsageError: The two runs have different settings.
        """
        before: dict[str, Any] = first.get("settings", {})
        now = self.settings
        changed = sorted(name for name in before if name in now and before[name] != now[name])
        if changed:
            words = "; ".join(_difference(name, before[name], now[name]) for name in changed)
            raise UsageError(
                f"{self.folder}: contains outputs of a run with different settings ({words}): repeat "
                "these settings, use another output folder, or replace the outputs with --overwrite"
            )
        return before

    def _entry(self, path: Path) -> _Entry | None:
        """Return the entry of an output; None if there is none."""
        entry = self._index.find(self._name(path))
        return None if entry is None else _Entry.from_json(entry)

    def is_current(self, job: Job) -> bool:
        """Return whether an earlier run wrote the output of a job, from the input as it is now."""
        entry = self._entry(job.target)
        now = FileStamp.of(job.target)
        if entry is None or now is None or entry.source != FileStamp.of(job.source):
            return False
        # Without a second line, the run died before or after it put the output in place. After it, the
        # file differs from the one before.
        return now == entry.after if entry.after else now != entry.before

    def wrote(self, path: Path) -> bool:
        """Return whether a file is an output of an earlier run, as it wrote it."""
        entry = self._entry(path)
        return entry is not None and entry.after is not None and entry.after == FileStamp.of(path)

    def originals(self, sources: SourceList) -> SourceList:
        """Return the inputs without those that are outputs of earlier runs."""
        inside = {place for place in sources.places if self._contains(place.folder)}
        if not inside:
            return sources
        return sources.where(lambda source: source.place not in inside or not self.wrote(source.path))

    def _contains(self, folder: str) -> bool:
        """Return whether a folder is the output folder, or inside of it."""
        return Path(self._name(folder)).parts[:1] != ("..",)

    def _name(self, target: str | Path) -> str:
        """Return the path of an output inside the folder, which stays valid when the folder is moved."""
        path = os.fspath(target)
        name = path.removeprefix(self._prefix)
        return os.path.relpath(path, self.folder) if name == path or ".." in name else name


def _difference(name: str, before: object, now: object) -> str:
    """Return how a setting differs between two runs, by the name of its option."""
    option = name.rpartition(".")[2].replace("_", "-")
    option = {"size": "the size", "maps": "--map"}.get(option, f"--{option}")
    if isinstance(before, bool) or isinstance(now, bool):
        return f"{option} {'was' if before else 'was not'} given before"
    return f"{option} was {_shown(before)}, now {_shown(now)}"


def _shown(value: object) -> str:
    """Return a setting as it is given on the command line."""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return "not given" if value in (None, "") else str(value)


class Journal(History):
    """The journal of one output folder, locked by one process at a time.

    Args:
        folder: The output folder. It is created if it does not exist.
        settings: Everything that the outputs depend on besides their inputs.
        fresh: Forget what earlier runs did.

    Raises:
        UsageError: Another process is writing to the folder, or an earlier run used other settings.
        OutputError: The folder cannot be created or written.
    """

    def __init__(self, folder: Path, settings: Settings, fresh: bool = False) -> None:
        super().__init__(folder, settings)
        self._begun: dict[str, dict[str, FileStamp | None]] = {}
        """The outputs that are about to be put in place -> the stamps in their entries."""
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(folder))
                self._log = stack.enter_context(AppendLog(self.path))
                stack.enter_context(closing(self._index))
                first = next(AppendLog.read(self.path), None)
                self.resumed = first is not None and not fresh
                if first is not None and not fresh:
                    self._resume(first)
                else:
                    self._log.replace([{"settings": self.settings}])
            except OSError as error:
                raise cannot_write(self.path, error) from error
            self._stack = stack.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _resume(self, first: dict[str, Any]) -> None:
        """Continue the log of an earlier run, whose first entry is given."""
        before = self._check(first)
        if not before.keys() >= self.settings.keys():
            entries = itertools.islice(AppendLog.read(self.path), 1, None)
            self._log.replace(itertools.chain([{"settings": {**before, **self.settings}}], entries))
        self._index.load()
        logger.info("resuming %s: %d outputs in the journal", self.folder, len(self._index))

    def begin(self, job: Job, source: FileStamp | None = None) -> None:
        """Record that the output of a job is about to be put in place.

        Args:
            job: The job.
            source: The state of its input before it was read; None if it is read from now on.

        Raises:
            OutputError: The folder is gone; it may have been unmounted.
        """
        if not self.path.exists():
            raise OutputError(f"{self.folder}: the output folder has disappeared")
        stamps = {"source": source or FileStamp.of(job.source), "before": FileStamp.of(job.target)}
        name = self._name(job.target)
        self._begun[name] = stamps
        self._append(name, stamps)

    def done(self, job: Job) -> None:
        """Record that the output is in place."""
        name = self._name(job.target)
        self._append(name, {**self._begun.pop(name), "after": FileStamp.of(job.target)})

    def _append(self, name: str, stamps: dict[str, FileStamp | None]) -> None:
        self._index.add(name, self._log.append({"target": name, **stamps}))
