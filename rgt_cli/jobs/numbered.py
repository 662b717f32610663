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

from rgt_cli.errors import NoInputError, UsageError
from rgt_cli.files import cannot_write, write_text
from rgt_cli.jobs.options import Existing
from rgt_cli.media import READABLE, VIDEO_READABLE

_NUMBER = re.compile(r"%(?:0?\d+)?d(?![A-Za-z])")
"""The place of the number in a name. A letter after it means that the % is only a %: 50%done.gif."""
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)")
"""A name with what comes before its last number, the number, and what comes after it."""
_RECORD = ".rgt-{}.frames"
"""The name of the record, with a hash of the pattern."""


def is_numbered(path: Path) -> bool:
    """Return whether a path is a pattern such as frames/%06d.png, with an image for each frame."""
    return bool(_NUMBER.search(path.name))


def numbered_path(pattern: Path, number: int) -> Path:
    """Return the path of the image of one frame; `number` counts from 1."""
    return pattern.with_name(_NUMBER.sub(lambda match: match[0] % number, pattern.name, count=1))


def numbered_files(pattern: Path) -> dict[int, Path]:
    """Return the files that a pattern matches, by their numbers in ascending order."""
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


def find_numbered(argument: Path) -> tuple[Path, ...]:
    """Return the numbered images that a folder or a pattern contains, in the order of their numbers.

    Raises:
        NoInputError: There are none.
        UsageError: They are not the frames of one video: an image of the folder has no number, there are
            several series, or numbers are missing.
    """
    if argument.is_dir():
        files, example = _numbered_in(argument)
    else:
        files, example = numbered_files(argument), argument.name
    if not files:
        raise NoInputError(f"{argument}: contains no images" if argument.is_dir() else
                           f"{argument}: no file matches this pattern")  # fmt: skip
    numbers = list(files)
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        also = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        name = numbered_path(argument / example if argument.is_dir() else argument, missing[0]).name
        raise UsageError(
            f"{argument}: {name}{also} missing: the frames of a video must be numbered without gaps"
        )
    return tuple(files.values())


def _numbered_in(folder: Path) -> tuple[dict[int, Path], str]:
    """Return the images of a folder by ascending numbers, and the pattern of their names."""
    series: dict[tuple[str, str], dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or suffix not in READABLE | VIDEO_READABLE or path.is_dir():
            continue
        found = _LAST_NUMBER.fullmatch(path.stem)
        if suffix in VIDEO_READABLE or not found:
            what = "is a video" if suffix in VIDEO_READABLE else "has no number"
            raise UsageError(f"{folder}: cannot become one video: {path.name} {what}")
        files = series.setdefault((found[1], found[3] + path.suffix), {})
        if twin := files.get(int(found[2])):
            raise UsageError(f"{folder}: {twin.name} and {path.name} have the same number")
        files[int(found[2])] = path
    if len(series) > 1:
        first, second = (next(iter(files.values())).name for files in list(series.values())[:2])
        raise UsageError(f"{folder}: contains several series of images, such as {first} and {second}")
    for (before, after), files in series.items():
        digits = min(len(path.name) for path in files.values()) - len(before) - len(after)
        return dict(sorted(files.items())), f"{before}%0{digits}d{after}"
    return {}, ""


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
                    f"{pattern}: images of another video or with other settings exist ({len(files)}); "
                    "use --overwrite or another folder"
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
