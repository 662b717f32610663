"""Find the pictures that arguments name: files, folders, patterns and lists."""

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rgt_cli.errors import NoInputError
from rgt_cli.media import READABLE, VIDEO_READABLE


@dataclass(frozen=True)
class Source:
    """One file to enlarge."""

    path: Path
    relative: Path
    """Where its target stands under the output folder, before it is renamed."""


@dataclass
class SourceScan:
    """What arguments name."""

    sources: list[Source] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    """The folders that were looked into."""
    ignored: dict[str, int] = field(default_factory=dict)
    """How many files of folders were left out, and why."""

    def ignore(self, why: str) -> None:
        """Count one more file that is left out."""
        self.ignored[why] = self.ignored.get(why, 0) + 1


def find_sources(
    arguments: Iterable[Path],
    recursive: bool = False,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> SourceScan:
    """Find every source once, in the order of the arguments and by name within a folder.

    Args:
        arguments: files, folders, or patterns with `*`, `?` or `[...]` that no file is called like.
        recursive: look into the folders of a folder as well.
        include, exclude: shell patterns for names or paths inside of a folder; what matches one of
            `include` (where there are any) and none of `exclude` is taken.

    Returns:
        Files that are named themselves are taken whatever they are called. From folders, hidden
        files and those without the suffix of a picture are left out, and counted.

    Raises:
        NoInputError: an argument names nothing.
    """
    found, seen = SourceScan(), set()

    def take(source: Source) -> None:
        place = os.path.realpath(source.path)
        if place not in seen:
            seen.add(place)
            found.sources.append(source)

    for argument in arguments:
        for path in _expanded(argument):
            if not path.is_dir():
                take(Source(path, Path(path.name)))
                continue
            found.folders.append(path)
            for inside in _walk(path, recursive):
                relative = inside.relative_to(path)
                if why := _reason_to_ignore(inside, relative, include, exclude):
                    found.ignore(why)
                else:
                    take(Source(inside, relative))
    return found


def _expanded(argument: Path) -> list[Path]:
    if os.path.lexists(argument):
        return [argument]
    if glob.has_magic(os.fspath(argument)):
        if matches := sorted(glob.glob(os.fspath(argument), recursive=True)):  # noqa: PTH207
            return [Path(match) for match in matches]
        raise NoInputError(f"{argument}: nothing matches")
    raise NoInputError(f"{argument}: no such file")


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    """The files of a folder, by name; each folder once, whatever symbolic links lead back to it."""
    visited = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        place = os.path.realpath(top)
        folders.sort()
        if place in visited or not recursive:
            folders.clear()
        if place not in visited:
            yield from (Path(top, name) for name in sorted(files))
        visited.add(place)


def _reason_to_ignore(
    path: Path, relative: Path, include: tuple[str, ...], exclude: tuple[str, ...]
) -> str | None:
    def matches(patterns: tuple[str, ...]) -> bool:
        names = (path.name, relative.as_posix())
        return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)

    if any(part.startswith(".") for part in relative.parts):
        return "hidden"
    if path.suffix.lower() not in READABLE | VIDEO_READABLE:
        return "no picture by their names"
    if (include and not matches(include)) or matches(exclude):
        return "excluded"
    return None


def read_list(text: bytes, separator: bytes) -> list[Path]:
    """The paths of a list, one a line or between NUL bytes; empty ones are left out."""
    parts = (part.rstrip(b"\r") if separator == b"\n" else part for part in text.split(separator))
    return [Path(os.fsdecode(part)) for part in parts if part]
