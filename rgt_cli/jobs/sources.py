"""Find the inputs that arguments name: files, folders, glob patterns and lists."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rgt_cli.errors import NoInputError
from rgt_cli.media import READABLE, VIDEO_READABLE
from rgt_cli.pages.page import is_image_of_page

RESULT = "written by earlier runs"
"""Why an output is not an input."""
_OUTPUT_STEM = re.compile(r"(?P<stem>.+)_(x\d+(\.\d+)?|[wh]\d+|\d+x\d+)")
"""The stem that an output has by default: that of its input, and the size."""


@dataclass(frozen=True)
class Source:
    """One input file."""

    path: Path
    relative: Path
    """Its path inside the folder that was named; the output has the same place in the output folder."""


@dataclass
class SourceScan:
    """The inputs that arguments name."""

    sources: list[Source] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    """The folders among the arguments."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Reason -> number of files in folders that are not inputs."""
    results: int = 0
    """Number of files that have the name of an output of a file beside them, or belong to a page."""
    subfolders: int = 0
    """Number of subfolders of the named folders that were not searched; hidden ones do not count."""
    in_subfolders: int = 0
    """Number of images and videos in them; only counted if there is no other input."""

    def why_nothing_found(self) -> str:
        """Return what a person may want to know if there is no input."""
        if self.in_subfolders:
            return f"; {self.in_subfolders} in subfolders: add -r"
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.ignored.items())
        return f" (ignored: {reasons})" if reasons else ""

    def ignore(self, reason: str) -> None:
        """Count a file that is not an input."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1


@dataclass(frozen=True, kw_only=True)
class SourceFilter:
    """Which files of a folder are inputs."""

    recursive: bool = False
    """Descend into subfolders."""
    include: tuple[str, ...] = ()
    """Shell patterns for names, or for paths inside the folder. If there are any, one must match."""
    exclude: tuple[str, ...] = ()
    """Shell patterns, none of which may match."""
    output: Path | None = None
    """The output folder, whose files are not inputs if it is inside a folder of inputs."""

    def reason_to_ignore(self, relative: Path) -> str | None:
        """Return why a file, given by its path inside the folder, is not an input; None if it is one."""
        if any(part.startswith(".") for part in relative.parts):
            return "hidden"
        if relative.suffix.lower() not in READABLE | VIDEO_READABLE:
            return "not an image or video"
        if (self.include and not _matches(relative, self.include)) or _matches(relative, self.exclude):
            return "excluded"
        return None


def _matches(relative: Path, patterns: tuple[str, ...]) -> bool:
    names = (relative.name, relative.as_posix())
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


def find_sources(arguments: Iterable[Path], selection: SourceFilter | None = None) -> SourceScan:
    """Find every input once, in the order of the arguments and by name within a folder.

    Args:
        arguments: Files, folders, or glob patterns with `*`, `?` or `[...]`.
        selection: Which files of folders are inputs. Files that are named are inputs in any case. Those
            of folders and patterns are not, if they have the name of an output of a file beside them, or
            belong to a page.

    An argument that names nothing is an input that will fail, unless all of them do.

    Raises:
        NoInputError: No argument names anything.
    """
    arguments = list(arguments)
    expanded = [_expanded(argument) for argument in arguments]
    if not any(expanded):
        raise NoInputError(_names_nothing(arguments))
    selection = selection or SourceFilter()
    scan, seen, results, named = SourceScan(), set(), _Results(), set(arguments)

    def add(source: Source, *, is_named: bool) -> None:
        real = os.path.realpath(source.path)
        is_of_page = source.path not in named and is_image_of_page(source.path)
        if is_of_page or (not is_named and results.contain(source.path)):
            scan.results += 1
        elif real not in seen:
            seen.add(real)
            scan.sources.append(source)

    for argument, paths in zip(arguments, expanded, strict=True):
        for path in paths or [argument]:
            if not path.is_dir():
                add(Source(path, Path(path.name)), is_named=path == argument)
                continue
            scan.folders.append(path)
            for source in _sources_in(path, selection, scan):
                add(source, is_named=bool(selection.include))
    if scan.results:
        scan.ignored[RESULT] = scan.results
    if not scan.sources and not selection.recursive:
        below = find_sources(scan.folders, replace(selection, recursive=True)) if scan.folders else scan
        scan.in_subfolders = len(below.sources)
    return scan


def _sources_in(folder: Path, selection: SourceFilter, scan: SourceScan) -> Iterator[Source]:
    """Yield the inputs in a folder, and count what is ignored."""
    if not selection.recursive:
        scan.subfolders += _count_subfolders(folder, selection.output)
    for inside in _walk(folder, selection):
        relative = inside.relative_to(folder)
        if reason := selection.reason_to_ignore(relative):
            scan.ignore(reason)
        else:
            yield Source(inside, relative)


class _Results:
    """Recognizes outputs that lie beside their inputs, by the names that outputs have by default."""

    def __init__(self) -> None:
        self._stems: dict[Path, set[str]] = {}
        """Folder -> the stems of the images and videos in it."""

    def contain(self, path: Path) -> bool:
        """Return whether a file has the name of an output of another file in its folder."""
        found = _OUTPUT_STEM.fullmatch(path.stem)
        return found is not None and found["stem"] in self._stems_in(path.parent)

    def _stems_in(self, folder: Path) -> set[str]:
        if folder not in self._stems:
            readable = READABLE | VIDEO_READABLE
            files = (file for file in folder.iterdir() if file.suffix.lower() in readable)
            self._stems[folder] = {file.stem for file in files}
        return self._stems[folder]


def is_pattern(argument: Path) -> bool:
    """Return whether an argument is a glob pattern, not the name of a file."""
    return glob.has_magic(os.fspath(argument)) and not os.path.lexists(argument)


def _expanded(argument: Path) -> list[Path]:
    if os.path.lexists(argument):
        return [argument]
    matches = glob.glob(os.fspath(argument), recursive=True)  # noqa: PTH207
    return [Path(match) for match in sorted(matches)]


def _names_nothing(arguments: list[Path]) -> str:
    if not arguments:
        return "no input files given"
    problem = "no file matches this pattern" if is_pattern(arguments[0]) else "no such file"
    return f"{arguments[0]}: {problem}"


def _walk(folder: Path, selection: SourceFilter) -> Iterator[Path]:
    """Yield the files of a folder by name; each folder once, even if symbolic links form a circle."""
    visited = set()
    if selection.output and not _is_same(folder, selection.output):
        visited.add(os.path.realpath(selection.output))
    for top, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        folders.sort()
        if real in visited or not selection.recursive:
            folders.clear()
        if real not in visited:
            yield from (Path(top, name) for name in sorted(files))
        visited.add(real)


def _count_subfolders(folder: Path, output: Path | None) -> int:
    """Return the number of folders in a folder, without hidden ones and the output folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sum(
            entry.is_dir()
            and not entry.name.startswith(".")
            and not (output and _is_same(Path(entry.path), output))
            for entry in entries
        )
    return 0


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def read_list(text: bytes, separator: bytes) -> list[Path]:
    """Return the paths of a list, separated by newlines or NUL bytes, without empty ones."""
    parts = (part.rstrip(b"\r") if separator == b"\n" else part for part in text.split(separator))
    return [Path(os.fsdecode(part)) for part in parts if part]
