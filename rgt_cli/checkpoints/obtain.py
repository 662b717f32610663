"""From a catalogue entry to a trusted file: fetch a checkpoint, check it, slim it and keep it."""

from dataclasses import dataclass
from pathlib import Path

from rgt_cli.checkpoints.catalogue import Entry, Place
from rgt_cli.checkpoints.fetch import FetchError, fetch_from_hub, fetch_from_url
from rgt_cli.checkpoints.store import (
    Progress,
    Record,
    folder_of,
    kept,
    locked,
    looks_of,
    read_record,
    set_aside,
    sha256_of,
    slim_path,
    write_record,
)
from rgt_cli.errors import CheckpointError


@dataclass(frozen=True)
class Obtained:
    """A checkpoint that may be loaded."""

    path: Path
    notes: tuple[str, ...] = ()
    """What a person should know of how it came here."""


def obtain(entry: Entry, progress: Progress | None = None) -> Obtained:
    """Return a checked file of `entry`, fetching, checking and slimming it where that is to do.

    Raises:
        CheckpointError: no place delivers it; the message says why, for each.
    """
    if path := kept(entry):
        return Obtained(path)
    with locked(folder_of(entry)):
        if path := kept(entry):  # another process was faster
            return Obtained(path)
        failures = []
        for place in entry.places:
            try:
                return _obtain_from(place, entry, progress or (lambda title, done, total: None))
            except FetchError as error:
                failures.append(f"{place}: {error}")
    raise CheckpointError(f"{entry.name} cannot be fetched: {'; '.join(failures)}")


def _obtain_from(place: Place, entry: Entry, progress: Progress) -> Obtained:
    folder, problem = folder_of(entry), ""
    record = read_record(folder)
    trusted = place.sha256 or (record.sha256 if record and record.place == str(place) else None)
    for again in (False, True):
        original, revision = _fetch(place, folder, again, progress)
        sha256 = sha256_of(original)
        if trusted in (None, sha256):
            return _slimmed(original, entry, place, revision, sha256)
        set_aside(original, folder)
        problem = f"its sha256 is {sha256[:12]}… instead of {trusted[:12]}…"
    if place.sha256 is None:
        problem += f", which it was at first; if it may change: rgt models remove {entry.name}"
    raise FetchError(f"{problem}, twice; set aside as {folder / 'refused'}")


def _fetch(place: Place, folder: Path, again: bool, progress: Progress) -> tuple[Path, str | None]:
    if place.hub:
        return fetch_from_hub(place, again, progress)
    target = folder / f"original{Path(str(place)).suffix}"
    if not folder.is_dir():
        raise FetchError(f"{folder} cannot be written; set HF_HOME to another folder")
    fetch_from_url(place, target, progress)
    return target, None


def _slimmed(original: Path, entry: Entry, place: Place, revision: str | None, sha256: str) -> Obtained:
    """Turn a checked original into the slim file, or use it as it is where that cannot be written."""
    from rgt_cli.checkpoints.convert import convert  # needs torch

    folder, path, notes = folder_of(entry), slim_path(folder_of(entry)), []
    try:
        convert(original, path)
    except CheckpointError as error:
        set_aside(original, folder)
        raise FetchError(str(error).removeprefix(f"{original}: ")) from error
    except OSError as error:
        return Obtained(
            original, (f"{folder} cannot be written ({error.strerror or error}): nothing is kept",)
        )
    if place.hub is None:
        original.unlink()
    kept_original = str(original) if place.hub else None
    pinned = place.sha256 is None
    looks = looks_of(path) | {"slim_sha256": sha256_of(path)}
    record = Record(entry.name, str(place), revision, sha256, pinned, kept_original, **looks)
    write_record(folder, record)
    if pinned:
        notes.append(f"{entry.name}: trusted on first use, pinned to sha256 {sha256}")
    return Obtained(path, tuple(notes))
