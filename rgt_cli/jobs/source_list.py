"""The inputs of a run, in a few bytes each: a folder may contain a million of them.

Where all inputs are examined, paths are strings, which take a fifth of the time of a `Path`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, overload

_FILE, _LINK = b"-", b"@"
_RECORD = re.compile(rb"([-@])([^\0]+)\0")
"""A name as it is stored: whether it is that of a symbolic link, and its bytes."""
_PATH = re.compile(rb"[^\0]+")


def split_name(name: str) -> tuple[str, str]:
    """Return the stem and the suffix of a file name, as `Path` does."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (name, "")


def name_of(file: str) -> str:
    """Return the name in the path of a file."""
    return os.path.basename(file)


def folder_of(file: str | Path) -> str:
    """Return the folder in the path of a file; empty for the working folder."""
    return os.path.dirname(file)


def prefix_of(folder: str | Path) -> str:
    """Return what precedes the names in the paths of the files of a folder, as `Path` writes them."""
    return "" if os.fspath(folder) == "." else os.path.join(folder, "")


def real_prefix_of(folder: str | Path) -> str:
    """Return what precedes the names in the paths of the files of a folder, without symbolic links."""
    return os.path.join(os.path.realpath(folder), "")


@dataclass(frozen=True)
class Place:
    """A folder with inputs."""

    folder: str
    relative: str = "."
    """Its path inside the folder that was named. The outputs have the same path in the output folder."""

    @cached_property
    def prefix(self) -> str:
        """What precedes the names of its files in their paths."""
        return prefix_of(self.folder)

    @cached_property
    def relative_prefix(self) -> str:
        """What precedes the names of its files in their paths inside the folder that was named."""
        return prefix_of(self.relative)

    @cached_property
    def real(self) -> str:
        """What precedes the names of its files in their paths without symbolic links."""
        return real_prefix_of(self.folder)

    @cached_property
    def is_hidden(self) -> bool:
        """Whether it is hidden inside the folder that was named, or inside a hidden folder."""
        return any(part.startswith(".") for part in Path(self.relative).parts)

    def below(self, name: str) -> Place:
        """Return a subfolder."""
        return Place(self.prefix + name, self.relative_prefix + name)


class Source(NamedTuple):
    """One input file."""

    place: Place
    name: str
    is_link: bool = False
    """Whether it is a symbolic link."""

    @classmethod
    def of(cls, path: Path, relative: Path | None = None) -> Source:
        """Return the input at a path.

        Args:
            path: The path.
            relative: Its path inside the folder that was named; None for a file that was named itself.
        """
        inside = "." if relative is None else os.fspath(relative.parent)
        return cls(Place(os.fspath(path.parent), inside), path.name, path.is_symlink())

    @property
    def file(self) -> str:
        """Its path as a string."""
        return self.place.prefix + self.name

    @property
    def path(self) -> Path:
        """Its path."""
        return Path(self.place.prefix + self.name)

    @property
    def relative(self) -> Path:
        """Its path inside the folder that was named."""
        return Path(self.place.relative_prefix + self.name)

    @property
    def real(self) -> str:
        """Its path without symbolic links."""
        return os.path.realpath(self.file) if self.is_link else self.place.real + self.name


class SourceList(Collection[Source]):
    """Inputs in a fixed order. An input takes the bytes of its name and two more."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._names: list[tuple[Place, bytearray]] = []
        self._places: dict[Place, Place] = {}
        self._count = 0
        for source in sources:
            self.add(source)

    def add(self, source: Source) -> None:
        """Append an input."""
        last = self._names[-1][0] if self._names else None
        if last is not source.place and last != source.place:
            place = self._places.setdefault(source.place, source.place)
            self._names.append((place, bytearray()))
        kind = _LINK if source.is_link else _FILE
        self._names[-1][1].extend(kind + os.fsencode(source.name) + b"\0")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Source]:
        for place, names in self._names:
            for found in _RECORD.finditer(names):
                kind, name = found.groups()
                yield Source(place, os.fsdecode(name), kind == _LINK)

    def __contains__(self, source: object) -> bool:
        return any(source == one for one in self)

    @property
    def places(self) -> Collection[Place]:
        """The folders of the inputs."""
        return self._places.keys()

    def where(self, is_wanted: Callable[[Source], bool]) -> SourceList:
        """Return the inputs for which a function is true; the same list if those are all."""
        kept = SourceList(source for source in self if is_wanted(source))
        return self if len(kept) == len(self) else kept


class PathList(Sequence[Path]):
    """Paths in a fixed order. A path takes its bytes and one more."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = bytearray()
        self._count = 0
        for path in paths:
            self._paths += os.fsencode(path) + b"\0"
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Path]:
        return (Path(os.fsdecode(found[0])) for found in _PATH.finditer(self._paths))

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        """Return one of the paths, or several, in time proportional to their number."""
        return list(self)[index] if isinstance(index, slice) else next(islice(self, index, None))


class Keys:
    """Which strings occur in a long series, and which of them repeatedly, in eight bytes each.

    Args:
        series: Returns the strings, the same ones every time.
    """

    def __init__(self, series: Callable[[], Iterable[str]]) -> None:
        import numpy as np

        self._hashes = np.fromiter(map(hash, series()), np.int64)
        self._hashes.sort()
        repeated = self._hashes[1:][self._hashes[1:] == self._hashes[:-1]]
        suspects = set(repeated.tolist())
        counts = Counter(key for key in series() if hash(key) in suspects) if suspects else {}
        self.repeated = frozenset(key for key, count in counts.items() if count > 1)
        """The strings that occur more than once."""

    def __contains__(self, key: str) -> bool:
        """Return whether a string occurs, with an error once in 10^13 if there are a million."""
        position = self._hashes.searchsorted(hash(key))
        return hash(key) in self._hashes[position : position + 1]
