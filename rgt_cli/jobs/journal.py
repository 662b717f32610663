"""The journal of an output folder: with it, the next run does exactly what is missing.

One line is written before an output is put in place and another one after it, each flushed to the disk.
An output is replaced in one step, so at any moment of death it is known which outputs are complete,
from which state of which input, and with which settings.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.files import AppendLog, FileStamp, cannot_write, exclusive
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.sources import Source

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
        self._entries: dict[str, _Entry] = {}

    @classmethod
    def read(cls, folder: Path, settings: Settings, fresh: bool = False) -> History:
        """Read the journal of a folder, if there is one, and change nothing.

        Args:
            folder: The output folder.
            settings: As for the class.
            fresh: Forget what earlier runs did.

        Raises:
            UsageError: An earlier run used other settings.
            OutputError: The journal cannot be read.
        """
        history = cls(folder, settings)
        try:
            entries = AppendLog.read(history.path)
        except OSError as error:
            raise cannot_write(history.path, error) from error
        if entries and not fresh:
            history._adopt(entries)
        return history

    def _adopt(self, log: list[dict[str, Any]]) -> dict[str, Any]:
        """Take over the entries of a log, and return the settings of the run that began it.

        A setting that only one of the two runs has, as those of videos, does not matter to the other.

        Raises:
            UsageError: The two runs have different settings.
        """
        first, *entries = log
        before: dict[str, Any] = first.get("settings", {})
        now = self.settings
        changed = sorted(name for name in before if name in now and before[name] != now[name])
        if changed:
            words = "; ".join(_difference(name, before[name], now[name]) for name in changed)
            raise UsageError(
                f"{self.folder}: contains outputs of a run with different settings ({words}): repeat "
                "these settings, use another output folder, or --overwrite to replace the outputs"
            )
        for entry in entries:
            if "target" in entry:
                self._entries[entry["target"]] = _Entry.from_json(entry)
        return before

    def is_current(self, job: Job) -> bool:
        """Return whether an earlier run wrote the output of a job, from the input as it is now."""
        entry = self._entries.get(self._name(job.target))
        now = FileStamp.of(job.target)
        if entry is None or now is None or entry.source != FileStamp.of(job.source):
            return False
        # Between the two lines, the output was put in place or not: only in the first case it differs.
        return now == entry.after if entry.after else now != entry.before

    def produced(self, job: Job) -> bool:
        """Return whether an earlier run wrote the output of a job, from any state of the input."""
        return self.wrote(job.target)

    def wrote(self, path: Path) -> bool:
        """Return whether a file is an output of an earlier run, as it wrote it."""
        entry = self._entries.get(self._name(path))
        return entry is not None and entry.after is not None and entry.after == FileStamp.of(path)

    def originals(self, sources: list[Source]) -> list[Source]:
        """Return the inputs without those that are outputs of earlier runs."""
        return [source for source in sources if not self.wrote(source.path)]

    def _name(self, target: Path) -> str:
        """Return the place of an output in the folder, which stays true when the folder is moved."""
        return os.path.relpath(target, self.folder)


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
    """The journal of one output folder, held by one process at a time.

    Args:
        folder: The output folder. It is created if it does not exist.
        settings: Everything that the outputs depend on besides their inputs.
        fresh: Forget what earlier runs did.

    Raises:
        UsageError: Another process holds the folder, or an earlier run used other settings.
        OutputError: The folder cannot be created or written.
    """

    def __init__(self, folder: Path, settings: Settings, fresh: bool = False) -> None:
        super().__init__(folder, settings)
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(folder))
                self._log = stack.enter_context(AppendLog(self.path))
                self.resumed = bool(self._log.entries) and not fresh
                if self.resumed:
                    self._resume()
                else:
                    self._log.replace([{"settings": self.settings}])
            except OSError as error:
                raise cannot_write(self.path, error) from error
            self._stack = stack.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _resume(self) -> None:
        """Continue the log of an earlier run."""
        before = self._adopt(self._log.entries)
        if not before.keys() >= self.settings.keys():
            self._log.replace([{"settings": {**before, **self.settings}}, *self._log.entries[1:]])
        self._log.entries.clear()
        logger.info("resuming %s: %d outputs in the journal", self.folder, len(self._entries))

    def begin(self, job: Job) -> None:
        """Record that the output of a job is about to be put in place.

        Raises:
            OutputError: The folder is gone; it may have been unmounted.
        """
        if not self.path.exists():
            raise OutputError(f"{self.folder}: the output folder has vanished")
        entry = _Entry(source=FileStamp.of(job.source), before=FileStamp.of(job.target), after=None)
        self._entries[self._name(job.target)] = entry
        self._append(job, {"source": entry.source, "before": entry.before})

    def done(self, job: Job) -> None:
        """Record that the output is in place."""
        entry = self._entries[self._name(job.target)]
        after = FileStamp.of(job.target)
        self._entries[self._name(job.target)] = _Entry(
            source=entry.source, before=entry.before, after=after
        )
        self._append(job, {"source": entry.source, "before": entry.before, "after": after})

    def _append(self, job: Job, stamps: dict[str, FileStamp | None]) -> None:
        self._log.append({"target": self._name(job.target), **stamps})
