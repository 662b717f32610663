"""Find the inputs that arguments name: files, folders, glob patterns and lists."""

from __future__ import annotations

import codecs
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rgt_cli.errors import InputError, NoInputError, RGTError
from rgt_cli.jobs.source_list import Keys, Place, Source, SourceList, real_prefix_of, split_name
from rgt_cli.media import READABLE, UNSUPPORTED, VIDEO_READABLE, shown_size
from rgt_cli.pages.page import is_image_of_page

_SUFFIXES = READABLE | VIDEO_READABLE
RESULT = "written by earlier runs"
"""Why an output is not an input."""
_OUTPUT_STEM = re.compile(
    r"(?P<stem>.+)_(x(?P<scale>\d+(\.\d+)?)|w(?P<w>\d+)|h(?P<h>\d+)|(?P<width>\d+)x(?P<height>\d+))"
)
"""The stem that an output has by default: that of its input, and the size."""


@dataclass
class SourceScan:
    """The inputs that arguments name."""

    sources: SourceList = field(default_factory=SourceList)
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
        """Return why there may be no input, for an error; empty if nothing was ignored."""
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
    """Search subfolders too."""
    include: tuple[str, ...] = ()
    """Shell patterns for names, or for paths inside the folder. If there are any, one must match."""
    exclude: tuple[str, ...] = ()
    """Shell patterns, none of which may match."""
    output: Path | None = None
    """The output folder, whose files are not inputs if it is inside a folder of inputs."""

    def reason_to_ignore(self, source: Source) -> str | None:
        """Return why a file of a folder is not an input; None if it is one."""
        if source.place.is_hidden or source.name.startswith("."):
            return "hidden"
        if (suffix := split_name(source.name)[1].lower()) not in _SUFFIXES:
            return f"unsupported {suffix}" if suffix in UNSUPPORTED else "not an image or video"
        if (self.include and not _matches(source, self.include)) or _matches(source, self.exclude):
            return "excluded"
        return None

    def searches(self, folder: Source) -> bool:
        """Return whether a subfolder is to be searched: it is not hidden, nor excluded by its name."""
        is_hidden = folder.place.is_hidden or folder.name.startswith(".")
        return not (is_hidden or _matches(folder, self.exclude))


def _matches(source: Source, patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return False
    names = (source.name, source.relative.as_posix())
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


def find_sources(arguments: Iterable[Path], selection: SourceFilter | None = None) -> SourceScan:
    """Find every input once, in the order of the arguments and by name within a folder.

    Args:
        arguments: Files, folders, or glob patterns with `*`, `?` or `[...]`.
        selection: Which files of folders are inputs. Files that are named are inputs in any case. Those
            of folders and patterns are not, if they have the name of an output of a file beside them, or
            belong to a page.

    An argument that names nothing is an input that will fail, unless all of them do. So is a subfolder
    that cannot be listed.

    Raises:
        NoInputError: No argument names anything.
        InputError: A folder that is named cannot be listed.
    """
    selection = selection or SourceFilter()
    scan, results = SourceScan(), _Results()

    def add(source: Source, *, is_argument: bool = False, is_named: bool) -> None:
        may_be_of_page = not is_argument and source.place.folder.endswith("_files")  # which is quick
        is_of_page = may_be_of_page and is_image_of_page(source.path)
        if is_of_page or (not is_named and results.contain(source)):
            scan.results += 1
        else:
            scan.sources.add(source)

    first: Path | None = None
    is_found = False
    for argument in arguments:
        files = _expanded(argument)
        is_found, first = is_found or bool(files), first or argument
        for path in map(Path, files or [os.fspath(argument)]):
            if not path.is_dir():
                is_argument = path == argument
                add(Source.of(path), is_argument=is_argument, is_named=is_argument)
                continue
            scan.folders.append(path)
            for source in _sources_in(path, selection, scan):
                add(source, is_named=bool(selection.include))
    if not is_found:
        raise NoInputError(_names_nothing(first))
    scan.sources = _each_once(scan.sources)
    if scan.results:
        scan.ignored[RESULT] = scan.results
    if not scan.sources and not selection.recursive:
        below = find_sources(scan.folders, replace(selection, recursive=True)) if scan.folders else scan
        scan.in_subfolders = len(below.sources)
    return scan


def _each_once(sources: SourceList) -> SourceList:
    """Return the inputs without those that are the file of an earlier one."""
    again = Keys(lambda: (source.real for source in sources)).repeated
    seen = set[str]()

    def is_first(source: Source) -> bool:
        if (real := source.real) not in again:
            return True
        is_new = real not in seen
        seen.add(real)
        return is_new

    return sources.where(is_first) if again else sources


def _sources_in(folder: Path, selection: SourceFilter, scan: SourceScan) -> Iterator[Source]:
    """Yield the inputs in a folder, and count what is ignored."""
    if not selection.recursive:
        scan.subfolders += _count_subfolders(folder, selection.output)
    for source, is_readable in _walk(folder, selection):
        if not is_readable:
            if selection.searches(source):
                yield source  # which will fail, and report why
        elif reason := selection.reason_to_ignore(source):
            scan.ignore(reason)
        else:
            yield source


class _Results:
    """Recognizes outputs beside their inputs, by their default names and their sizes."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._names: dict[str, list[str]] = {}
        """Stem -> the names of the images and videos in `_place` that have it."""

    def contain(self, source: Source) -> bool:
        """Return whether a file has the name and the size of an output of another file in its folder."""
        found = _OUTPUT_STEM.fullmatch(split_name(source.name)[0])
        if found is None:
            return False
        names = self._names_in(source.place).get(found["stem"], [])
        return any(_may_be_output(source, name, found) for name in names)

    def _names_in(self, place: Place) -> dict[str, list[str]]:
        if place != self._place:  # files of one folder follow one another
            self._place, self._names = place, {}
            for file in Path(place.folder).iterdir():
                stem, suffix = split_name(file.name)
                if suffix.lower() in _SUFFIXES:
                    self._names.setdefault(stem, []).append(file.name)
        return self._names


def _may_be_output(source: Source, name: str, found: re.Match[str]) -> bool:
    """Return whether a file has the size that an output of another image has by its name.

    Photos from the web have such names too, but the numbers are those of smaller copies.

    Args:
        source: The file.
        name: The name of the other file, in the same folder.
        found: The parts of the name of the file.
    """
    try:
        size, original = (shown_size(Path(source.place.prefix + each)) for each in (source.name, name))
    except RGTError:  # a video, or a damaged image
        return True
    is_larger = size.width * size.height > original.width * original.height
    if found["width"]:  # both sides, or those of a box into which it fits
        return is_larger and (size.width == int(found["width"]) or size.height == int(found["height"]))
    scale = float(found["scale"] or 0)
    scale = scale or int(found["w"] or 0) / original.width or int(found["h"] or 0) / original.height
    differences = [abs(side - scale * before) for side, before in zip(size, original, strict=True)]
    return (is_larger or bool(found["scale"])) and max(differences) <= 1


def is_pattern(argument: Path) -> bool:
    """Return whether an argument is a glob pattern, not the name of a file."""
    return glob.has_magic(os.fspath(argument)) and not os.path.lexists(argument)


def _expanded(argument: Path) -> list[str]:
    """Return the paths of the files and folders that an argument names."""
    name = os.fspath(argument)
    return [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))  # noqa: PTH207


def _names_nothing(argument: Path | None) -> str:
    if argument is None:
        return "no input files given"
    problem = "no file matches this pattern" if is_pattern(argument) else "no such file"
    return f"{argument}: {problem}"


def _walk(folder: Path, selection: SourceFilter) -> Iterator[tuple[Source, bool]]:
    """Yield the files of a folder by name; each folder once, even if symbolic links form a cycle.

    Yields:
        A file and True, or a subfolder and False if not all that it contains can be listed.

    Raises:
        InputError: The folder itself cannot be listed.
    """
    visited = set()
    if selection.output and not _is_same(folder, selection.output):
        visited.add(real_prefix_of(selection.output))
    waiting = [Place(os.fspath(folder))]
    while waiting:
        place = waiting.pop()
        if place.real in visited:
            continue
        visited.add(place.real)
        files, links, folders, error = _content(place.folder)
        if error and place.relative == ".":
            raise InputError(f"{folder}: cannot be listed: {error.strerror}") from error
        if error:
            yield Source.of(Path(place.folder), Path(place.relative)), False
        for name in files:
            yield Source(place, name, name in links), True
        if selection.recursive:
            waiting += [place.below(name) for name in reversed(folders)]


def _content(folder: str) -> tuple[list[str], set[str], list[str], OSError | None]:
    """Return the files of a folder, those that are symbolic links, its subfolders, and what failed."""
    files, links, folders = [], set(), []
    failure = None
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    folders.append(entry.name)
                    continue
                files.append(entry.name)
                if entry.is_symlink():
                    links.add(entry.name)
    except OSError as error:
        failure = error
    return sorted(files), links, sorted(folders), failure


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a link that cannot be followed
        return entry.is_dir()
    return False


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


def read_list(text: bytes, separator: bytes) -> Iterator[Path]:
    """Yield the paths of a list, separated by newlines or NUL bytes, without empty ones.

    A byte order mark, with which some editors begin a file, is ignored.
    """
    for found in re.finditer(b"[^%b]+" % separator, text.removeprefix(codecs.BOM_UTF8)):
        if part := found[0].rstrip(b"\r") if separator == b"\n" else found[0]:
            yield Path(os.fsdecode(part))
