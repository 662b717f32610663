"""Turn arguments into jobs, refusing beforehand whatever can be known to fail."""

import os
from dataclasses import dataclass
from pathlib import Path

from rgt_cli.errors import NoInputError, OutputError, UsageError
from rgt_cli.media import FORMATS, Format, Picture, format_named, format_of


@dataclass(frozen=True)
class Job:
    """One picture to enlarge."""

    source: Path
    target: Path
    format: Format
    """The format of `target`."""


def plan_job(
    source: Path, target: Path | None, scale: int, format_name: str | None, overwrite: bool
) -> Job:
    """Plan the enlargement of one file.

    Args:
        target: a file, an existing folder, or None for `in_x4.png` beside the source.
        format_name: the format of the result; None goes by the suffix of the target, or the
            source's where the target is named here. A target without suffix needs it.

    Raises:
        NoInputError: the source is not there.
        UsageError: the source is a folder, the target exists or is the source, or its name
            contradicts the format.
        OutputError: the target's folder is missing or cannot be written.
    """
    if not source.exists():
        raise NoInputError(f"{source}: no such file")
    if source.is_dir():
        raise UsageError(f"{source}: is a folder; folders are not supported yet")
    wanted = format_named(format_name) if format_name else None
    if target is None or target.is_dir():
        folder = source.parent if target is None else target
        suffix = wanted.suffixes[0] if wanted else _kept_suffix(source)
        target = folder / f"{source.stem}_x{scale}{suffix}"
    named = wanted if wanted and not target.suffix else format_of(target)
    if wanted not in (None, named):
        raise UsageError(f"{target}: the suffix says {named.name}, --format says {format_name}")
    if target.exists():
        if target.samefile(source):
            raise UsageError(f"{target}: is the source itself; choose another target")
        if not overwrite:
            raise UsageError(f"{target}: exists already; pass --overwrite to replace it")
    if not target.parent.is_dir():
        raise OutputError(f"{target}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: no permission to write in {target.parent}")
    return Job(source, target, named)


def _kept_suffix(source: Path) -> str:
    """The source's own suffix where its format can be written, else `.png`."""
    known = {suffix for f in FORMATS for suffix in f.suffixes}
    return source.suffix if source.suffix.lower() in known else ".png"


def check_result(job: Job, picture: Picture, scale: int) -> None:
    """Refuse a result that its format cannot hold, before any of it is computed.

    Raises:
        UsageError: a side is too long, or a gray ICC profile would be put on colour pixels.
    """
    longest = max(picture.pixels.shape[:2]) * scale
    if longest > job.format.longest_side:
        raise UsageError(
            f"{job.target}: {job.format.name} holds at most {job.format.longest_side} pixels a side, "
            f"not {longest}; use --format png"
        )
    if picture.pixels.ndim == 2 and picture.icc and not job.format.has_gray:
        raise UsageError(
            f"{job.target}: {job.format.name} has no gray, so the gray ICC profile cannot go along; "
            "use --format png"
        )
