"""Turn arguments into jobs, refusing beforehand whatever can be known to fail."""

import os
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rgt_cli.errors import NoInputError, OutputError, UsageError
from rgt_cli.jobs.journal import Journal
from rgt_cli.jobs.sources import Source, SourceScan
from rgt_cli.media import (
    FORMATS,
    VIDEO_FORMATS,
    VIDEO_READABLE,
    Encoding,
    Format,
    ImageSequence,
    check_images,
    format_named,
    format_of,
    remove_partials,
)
from rgt_cli.size import Size


@dataclass(frozen=True)
class Job:
    """One picture to enlarge."""

    source: Path
    target: Path
    format: Format
    """The format of `target`."""

    @property
    def is_video(self) -> bool:
        """Whether it is about a film rather than a picture, by the names."""
        return _is_video_name(self.source) or self.format in VIDEO_FORMATS


def plan_job(
    source: Path, target: Path | None, size: Size, format_name: str | None, overwrite: bool
) -> Job:
    """Plan the enlargement of one file.

    Args:
        target: a file, an existing folder, or None for `in_x4.png` beside the source.
        format_name: the format of the result; None goes by the suffix of the target, or the
            source's where the target is named here. A target without suffix needs it.

    Raises:
        NoInputError: the source is not there.
        UsageError: the target exists or is the source, or its name
            contradicts the format.
        OutputError: the target's folder is missing or cannot be written.
    """
    if not source.exists():
        raise NoInputError(f"{source}: no such file")
    wanted = format_named(format_name) if format_name else None
    if target is None or target.is_dir():
        folder = source.parent if target is None else target
        suffix = wanted.suffixes[0] if wanted else _kept_suffix(source)
        target = folder / f"{source.stem}_{size}{suffix}"
    named = wanted if wanted and not target.suffix else format_of(target)
    if wanted not in (None, named):
        raise UsageError(f"{target}: the suffix says {named.name}, --format says {format_name}")
    if target.exists():
        if target.samefile(source):
            raise UsageError(f"{target}: is the source itself; choose another target")
        if not overwrite:
            raise UsageError(f"{target}: exists already; pass --overwrite to replace it")
    if "%" in target.name and _is_video_name(source) and not target.parent.exists():
        return Job(source, target, named)  # frames/%06d.png: the folder is made
    if not target.parent.is_dir():
        raise OutputError(f"{target}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: no permission to write in {target.parent}")
    return Job(source, target, named)


def _is_video_name(source: Path) -> bool:
    return source.suffix.lower() in VIDEO_READABLE


def _kept_suffix(source: Path) -> str:
    """The source's own suffix where its format can be written, else `.png`, or `.mkv` for a film."""
    known = {suffix for f in (*FORMATS, *VIDEO_FORMATS) for suffix in f.suffixes}
    return (
        source.suffix if source.suffix.lower() in known else ".mkv" if _is_video_name(source) else ".png"
    )


class Existing(Enum):
    """What to do about a target that is there already, and was not made by the run that is resumed."""

    REFUSE = "refuse"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    UPDATE = "update"
    """Replace it if its source is newer."""


DEFAULT_NAME = "{stem}_{size}{ext}"
"""The template of the targets of a batch."""
LONGEST_NAME = 255
"""Bytes of a file name on the usual file systems."""


def output_folder(found: SourceScan) -> Path:
    """Where the targets of a batch go unless somebody says otherwise.

    `photos` is enlarged into `photos_upscaled` beside it; files named one by one, beside themselves.

    Raises:
        UsageError: the sources have no such place in common.
    """
    if len(found.folders) == 1 and all(s.path.is_relative_to(found.folders[0]) for s in found.sources):
        folder = found.folders[0].absolute()
        if folder.name in ("", ".."):
            folder = folder.resolve()
        return folder.with_name(f"{folder.name}_upscaled")
    parents = {source.path.parent for source in found.sources}
    if found.folders or len(parents) > 1:
        raise UsageError("sources from several folders: say with -o FOLDER where results go")
    return parents.pop()


def plan_batch(
    sources: list[Source], folder: Path, size: Size, template: str, format_name: str | None
) -> list[Job]:
    """Plan the enlargement of many files, no two into one target.

    Args:
        folder: every target lies in it, at the place its source has in its own folder.
        template: the name of a target, of {stem}, {ext} (with its dot), {name}, {size} (x4, w1920),
            {scale} (4) and {index} (from 1). The name of the source's suffix is added to stems that
            would meet, `a.jpg` and `a.png` becoming `a_jpg` and `a_png`, and then a number.

    Raises:
        UsageError: the template is wrong, or leads out of the folder.
    """
    wanted = format_named(format_name) if format_name else None
    first_names = Counter(
        _key(_target(source, template, size, index, wanted, source.path.stem))
        for index, source in enumerate(sources, 1)
    )
    jobs, taken = [], set()
    for index, source in enumerate(sources, 1):
        stem = source.path.stem
        relative = _target(source, template, size, index, wanted, stem)
        if first_names[_key(relative)] > 1:
            stem += "_" + source.path.suffix[1:]
            relative = _target(source, template, size, index, wanted, stem)
        number = 2
        while _key(relative) in taken:
            numbered = _target(source, template, size, index, wanted, f"{stem}_{number}")
            if numbered == relative:
                raise UsageError(f"--name {template!r}: calls several results {relative}; use {{stem}}")
            relative, number = numbered, number + 1
        taken.add(_key(relative))
        target = folder / relative
        if os.path.lexists(target) and os.path.realpath(target) == os.path.realpath(source.path):
            raise UsageError(f"{target}: is a source itself; choose another -o or --name")
        jobs.append(Job(source.path, target, format_of(target)))
    return jobs


def _key(relative: Path) -> str:
    """What is one name on file systems that do not tell upper from lower case."""
    return os.fspath(relative).casefold()


def _target(
    source: Source, template: str, size: Size, index: int, wanted: Format | None, stem: str
) -> Path:
    fits = wanted and (wanted.muxer is not None) >= _is_video_name(source.path)
    suffix = wanted.suffixes[0] if wanted and fits else _kept_suffix(source.path)
    fields = {"ext": suffix, "name": source.path.name, "size": size, "index": index}
    fields["scale"] = f"{size.scale:g}" if size.scale else size
    try:
        name = template.format(stem=stem, **fields)
        excess = len(os.fsencode(Path(name).name)) - LONGEST_NAME
        if excess > 0:
            name = template.format(stem=os.fsdecode(os.fsencode(stem)[:-excess]), **fields)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise UsageError(f"--name {template!r}: {error} is not to be filled in") from error
    relative = source.relative.parent / name
    if not Path(name).name or Path(name).is_absolute() or ".." in relative.parts:
        raise UsageError(f"--name {template!r}: leads out of the output folder")
    return relative


def partition(jobs: list[Job], journal: Journal, existing: Existing) -> tuple[list[Job], list[Job]]:
    """Clean up after dead runs, and part the jobs to be done from those whose targets are there.

    Raises:
        UsageError: there are targets that no run of this journal made, and `existing` refuses.
    """
    for folder in {job.target.parent for job in jobs}:
        remove_partials(folder)
    to_do, there, foreign = [], [], []
    for job in jobs:
        if existing is not Existing.OVERWRITE and journal.has(job):
            there.append(job)
        elif existing is Existing.OVERWRITE or not os.path.lexists(job.target) or journal.made(job):
            to_do.append(job)
        elif existing is Existing.SKIP:
            there.append(job)
        elif existing is Existing.UPDATE:
            newer = job.source.stat().st_mtime_ns > job.target.stat().st_mtime_ns
            (to_do if newer else there).append(job)
        else:
            foreign.append(job)
    if foreign:
        raise UsageError(
            f"{foreign[0].target}: exists already, as {len(foreign)} of {len(jobs)} targets do; "
            "pass --skip-existing, --update or --overwrite"
        )
    return to_do, there


def check_output(job: Job, images: ImageSequence, size: Size, encoding: Encoding) -> None:
    """Refuse a result that its format cannot hold, before any of it is computed.

    Raises:
        UsageError: a side is too long, or something would be lost; see `check_images`.
    """
    longest = max(max(size.of(picture.size)) for picture in images.frames)
    if longest > job.format.longest_side:
        raise UsageError(
            f"{job.target}: {job.format.name} holds at most {job.format.longest_side} pixels a side, "
            f"not {longest}; use --format png"
        )
    check_images(images, job.target, job.format, encoding)
