"""The jobs of many inputs whose outputs are in one folder. Each is made when it is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path

from rgt_cli.errors import UsageError
from rgt_cli.files import is_stream
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.naming import Naming
from rgt_cli.jobs.options import OutputOptions
from rgt_cli.jobs.source_list import (
    Keys,
    Source,
    SourceList,
    folder_of,
    name_of,
    prefix_of,
    real_prefix_of,
    split_name,
)
from rgt_cli.media import Format, format_of
from rgt_cli.size import Size


def plan_folder(
    sources: Iterable[Source], folder: Path, size: Size, output: OutputOptions
) -> FolderPlan:
    """Plan jobs whose outputs are in `folder`, each at the place that its input has in its own folder.

    An input that is the output of another one is a result of an earlier run, and has no job. No two
    outputs have one name: where two would collide, the suffix of the input is added to the stem (`a.jpg`
    and `a.png` become `a_jpg` and `a_png`), and then a number.

    Raises:
        UsageError: The name template is wrong, leads out of the folder, or yields an input.
    """
    sources = sources if isinstance(sources, SourceList) else SourceList(sources)
    return FolderPlan(sources, folder, Naming(size=size, output=output))


class FolderPlan(Collection[Job]):
    """The jobs of inputs whose outputs are in one folder.

    It contains no jobs, but the names of the inputs, from which those of the outputs follow: each
    iteration makes the same jobs again. What is known to fail is refused when it is created.

    Args:
        sources: The inputs.
        folder: The folder of the outputs.
        naming: How they are named.

    Raises:
        UsageError: As `plan_folder`.
    """

    def __init__(self, sources: SourceList, folder: Path, naming: Naming) -> None:
        self.sources = sources
        self._prefix, self._naming = prefix_of(folder), naming
        self._formats: dict[str, Format] = {}
        """Suffix of an output -> its format."""
        firsts = Keys(lambda: (_key(self._first(*one)) for one in enumerate(self.sources, 1)))
        self._firsts = firsts if firsts.repeated else None
        """The names that outputs have without collisions; None if there are no collisions."""
        self._results = frozenset[int]()
        """The numbers of the inputs that are outputs of others."""
        self._results = self._checked()

    def __len__(self) -> int:
        return len(self.sources) - len(self._results)

    def __iter__(self) -> Iterator[Job]:
        return self.selected(repeat(True))

    def __contains__(self, job: object) -> bool:
        return any(job == one for one in self)

    def selected(self, wanted: Iterable[int]) -> Iterator[Job]:
        """Yield the jobs at the positions where `wanted` is true; positions after its end are not."""
        flags, used = iter(wanted), set[str]()
        for index, source in enumerate(self.sources, 1):
            is_wanted = index not in self._results and next(flags, None)
            if is_wanted is None:
                return
            if is_wanted or self._firsts:  # after a collision, names depend on those before them
                relative = self._relative(source, index, used)
                if is_wanted:
                    yield self._job(source, relative)

    def _job(self, source: Source, relative: str) -> Job:
        return Job(source.path, Path(self._prefix + relative), self._format_of(relative))

    def _format_of(self, relative: str) -> Format:
        suffix = split_name(relative)[1]
        if suffix not in self._formats:
            self._formats[suffix] = format_of(Path(self._prefix + relative))
        return self._formats[suffix]

    def _first(self, index: int, source: Source) -> str:
        return self._naming.relative(source, index, split_name(source.name)[0])

    def _relative(self, source: Source, index: int, used: set[str]) -> str:
        """Return the place of an output in the folder.

        Args:
            source: The input.
            index: Its number, from 1.
            used: The keys of the names before it that were changed to avoid collisions.
        """
        relative = self._first(index, source)
        if self._firsts is None or _key(relative) not in self._firsts.repeated:
            return relative
        stem, suffix = split_name(source.name)
        stem, number = f"{stem}_{suffix[1:]}", 2
        relative, first = self._naming.relative(source, index, stem), relative
        while _key(relative) in used or (relative != first and _key(relative) in self._firsts):
            numbered = self._naming.relative(source, index, f"{stem}_{number}")
            if numbered == relative:
                raise UsageError(
                    f"--name {self._naming.output.name!r}: several outputs would be {relative}"
                )
            relative, number = numbered, number + 1
        used.add(_key(relative))
        return relative

    def _outputs(self) -> Iterator[tuple[Source, str]]:
        """Yield each input, and the place of its output in the folder."""
        used = set[str]()
        for index, source in enumerate(self.sources, 1):
            yield source, self._relative(source, index, used)

    def _checked(self) -> frozenset[int]:
        """Refuse what is known to fail, and return the numbers of inputs that are outputs of others.

        Raises:
            UsageError: As `plan_folder`.
        """
        targets, links = _Targets(self._prefix), set[str]()
        from_folders = {place.real for place in self.sources.places}
        for source, relative in self._outputs():
            self._format_of(relative)
            if source.is_link:
                from_folders.add(real_prefix_of(folder_of(source.real)))
            if (mode := targets.mode(relative)) is None:
                continue
            if stat.S_ISLNK(mode):
                links.add(relative)
            if self._real(relative, targets, links) == source.real:
                raise UsageError(
                    f"{self._prefix}{relative}: is an input itself; use another -o or --name"
                )
            if not stat.S_ISREG(mode):
                self._check_kind(self._job(source, relative))
        to_folders = {real_prefix_of(folder_of(os.path.realpath(self._prefix + r))) for r in links}
        if from_folders.isdisjoint(targets.folders | to_folders):
            return frozenset()

        def outputs() -> Iterator[str]:
            return (self._real(relative, targets, links) for _, relative in self._outputs())

        inputs_and_outputs = Keys(lambda: chain((source.real for source in self.sources), outputs()))
        suspects = inputs_and_outputs.repeated
        results = {real for real in outputs() if real in suspects} if suspects else ()
        numbered = enumerate(self.sources, 1) if results else ()
        return frozenset(index for index, source in numbered if source.real in results)

    def _real(self, relative: str, targets: _Targets, links: Collection[str]) -> str:
        """Return the path of an output without symbolic links."""
        if relative in links:
            return os.path.realpath(self._prefix + relative)
        return targets.real(relative)

    @staticmethod
    def _check_kind(job: Job) -> None:
        check_kind(job)
        if is_stream(job.target):
            raise UsageError(f"{job.target}: exists and is not a file; use another -o or --name")


class _Targets:
    """Where outputs are. A folder is examined once if its outputs follow one another."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._folder: str | None = None
        self._is_there, self._real = False, ""
        self.folders = set[str]()
        """What precedes the names of outputs in their paths without symbolic links."""

    def mode(self, relative: str) -> int | None:
        """Return the kind and the permissions of what is in the place of an output; None for nothing."""
        self._enter(relative)
        if self._is_there:
            with suppress(OSError):
                return os.lstat(self._prefix + relative).st_mode
        return None

    def real(self, relative: str) -> str:
        """Return the path of an output without symbolic links, unless it is one itself."""
        self._enter(relative)
        return self._real + name_of(relative)

    def _enter(self, relative: str) -> None:
        if (folder := folder_of(relative)) != self._folder:
            path = self._prefix + folder or "."
            self._folder, self._is_there = folder, Path(path).is_dir()
            self._real = real_prefix_of(path)
            self.folders.add(self._real)


def check_kind(job: Job) -> None:
    """Refuse an output that exists and is neither a file nor a stream, such as a folder or a disk.

    Raises:
        UsageError: The output is of that kind.
    """
    if job.target.exists() and not (job.target.is_file() or is_stream(job.target)):
        raise UsageError(f"{job.target}: exists and is not a file; use another -o")


def _key(relative: str) -> str:
    """Return the name by which file systems that ignore case find a file."""
    return relative.casefold()
