"""Numbered images: patterns such as frames/%06d.png, and the images of frames that a run writes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rgt_cli.errors import UsageError
from rgt_cli.files import cannot_write, write_text
from rgt_cli.jobs.options import Existing

_NUMBER = re.compile(r"%(?:0?\d+)?d(?![A-Za-z])")
"""The place of the number in a name. A letter behind it means that the % is only a %: 50%done.gif."""
_RECORD = ".rgt-{}.frames"
"""The name of the record, with a hash of the pattern."""


def is_numbered(path: Path) -> bool:
    """Return whether a path is a pattern such as frames/%06d.png, which stands for an image a frame."""
    return bool(_NUMBER.search(path.name))


def numbered_path(pattern: Path, number: int) -> Path:
    """Return the path of the image of one frame; `number` counts from 1."""
    return pattern.with_name(_NUMBER.sub(lambda match: match[0] % number, pattern.name, count=1))


def numbered_files(pattern: Path) -> dict[int, Path]:
    """Return the files that a pattern stands for, by their numbers in rising order."""
    found = _NUMBER.search(pattern.name)
    assert found
    before, after = pattern.name[: found.start()], pattern.name[found.end() :]
    matching = re.compile(re.escape(before) + r" *(\d+)" + re.escape(after))
    files = {}
    with suppress(OSError):  # the folder does not exist
        for path in pattern.parent.iterdir():
            match = matching.fullmatch(path.name)
            if match and numbered_path(pattern, int(match[1])).name == path.name:
                files[int(match[1])] = path
    return dict(sorted(files.items()))


class FrameImages:
    """The images of the frames of one video, of which earlier runs may have written some.

    A hidden record beside them contains what they were made from and how, so that images of different
    videos, models or sizes are never mixed.

    Args:
        pattern: Their path, with a place for the number.
        settings: Everything that they depend on.
        existing: What to do with images that were not made with these settings.

    Raises:
        UsageError: There are such images, and `existing` does not replace them.
        OutputError: They cannot be removed.
    """

    def __init__(self, pattern: Path, settings: dict[str, Any], existing: Existing) -> None:
        self.pattern = pattern
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        key = hashlib.sha256(os.fsencode(pattern.name)).hexdigest()[:12]
        self._record = pattern.parent / _RECORD.format(key)
        files = numbered_files(pattern)
        stored = _read(self._record)
        self._is_recorded = stored == self._settings
        if files and (existing is Existing.OVERWRITE or not self._is_recorded):
            if not _replaces(existing, stored, self._settings):
                raise UsageError(
                    f"{pattern}: {len(files)} images exist already, which are not those of this video "
                    "with these settings; use --overwrite or another folder"
                )
            self._remove(files.values())

    def missing(self, number: int) -> Path | None:
        """Return where the image of a frame is to be written, or None if it exists.

        Raises:
            OutputError: The record cannot be written.
        """
        path = numbered_path(self.pattern, number)
        if path.exists():
            return None
        if not self._is_recorded:
            write_text(self._record, json.dumps(self._settings) + "\n")
            self._is_recorded = True
        return path

    def _remove(self, files: Iterable[Path]) -> None:
        try:
            for path in files:
                path.unlink()
        except OSError as error:
            raise cannot_write(self.pattern, error) from error


def _read(record: Path) -> dict[str, Any] | None:
    """Return the settings of the images that exist; None if they are unknown."""
    try:
        settings = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def _replaces(existing: Existing, stored: dict[str, Any] | None, settings: dict[str, Any]) -> bool:
    """Return whether the images that exist are to be replaced."""
    if existing is Existing.UPDATE and stored:
        return {**stored, "source": None} == {**settings, "source": None}
    return existing is Existing.OVERWRITE
