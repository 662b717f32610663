"""From a catalogue entry to a trusted file: fetch a checkpoint, check it, slim it and keep it."""

from dataclasses import dataclass
from pathlib import Path

from rgt_cli.checkpoints.cache import (
    CachedCheckpoint,
    Progress,
    cache_lock,
    cached_path,
    folder_of,
    looks_of,
    quarantine,
    read_record,
    sha256_of,
    slim_path,
    write_record,
)
from rgt_cli.checkpoints.catalogue import CatalogueEntry, Location
from rgt_cli.checkpoints.transfer import TransferError, fetch_from_hub, fetch_from_url
from rgt_cli.errors import CheckpointError


@dataclass(frozen=True)
class Downloaded:
    """A checkpoint that may be loaded."""

    path: Path
    notes: tuple[str, ...] = ()
    """What a person should know of how it came here."""


def download(entry: CatalogueEntry, progress: Progress | None = None) -> Downloaded:
    """Return a checked file of `entry`, fetching, checking and slimming it where that is to do.

    Raises:
        CheckpointError: no place delivers it; the message says why, for each.
    """
    if path := cached_path(entry):
        return Downloaded(path)
    with cache_lock(folder_of(entry)):
        if path := cached_path(entry):  # another process was faster
            return Downloaded(path)
        failures = []
        for place in entry.places:
            try:
                return _download_from(place, entry, progress or (lambda title, done, total: None))
            except TransferError as error:
                failures.append(f"{place}: {error}")
    raise CheckpointError(f"{entry.name} cannot be fetched: {'; '.join(failures)}")


def _download_from(place: Location, entry: CatalogueEntry, progress: Progress) -> Downloaded:
    folder, problem = folder_of(entry), ""
    record = read_record(folder)
    trusted = place.sha256 or (record.sha256 if record and record.place == str(place) else None)
    for again in (False, True):
        original, revision = _fetch(place, folder, again, progress)
        sha256 = sha256_of(original)
        if trusted in (None, sha256):
            return _slimmed(original, entry, place, revision, sha256)
        quarantine(original, folder)
        problem = f"its sha256 is {sha256[:12]}… instead of {trusted[:12]}…"
    if place.sha256 is None:
        problem += f", which it was at first; if it may change: rgt models remove {entry.name}"
    raise TransferError(f"{problem}, twice; set aside as {folder / 'refused'}")


def _fetch(place: Location, folder: Path, again: bool, progress: Progress) -> tuple[Path, str | None]:
    if place.hub:
        return fetch_from_hub(place, again, progress)
    target = folder / f"original{Path(str(place)).suffix}"
    if not folder.is_dir():
        raise TransferError(f"{folder} cannot be written; set HF_HOME to another folder")
    fetch_from_url(place, target, progress)
    return target, None


def _slimmed(
    original: Path, entry: CatalogueEntry, place: Location, revision: str | None, sha256: str
) -> Downloaded:
    """Turn a checked original into the slim file, or use it as it is where that cannot be written."""
    from rgt_cli.checkpoints.convert import convert  # needs torch

    folder, path, notes = folder_of(entry), slim_path(folder_of(entry)), []
    try:
        convert(original, path)
    except CheckpointError as error:
        quarantine(original, folder)
        raise TransferError(str(error).removeprefix(f"{original}: ")) from error
    except OSError as error:
        return Downloaded(
            original, (f"{folder} cannot be written ({error.strerror or error}): nothing is kept",)
        )
    if place.hub is None:
        original.unlink()
    kept_original = str(original) if place.hub else None
    pinned = place.sha256 is None
    looks = looks_of(path) | {"slim_sha256": sha256_of(path)}
    record = CachedCheckpoint(entry.name, str(place), revision, sha256, pinned, kept_original, **looks)
    write_record(folder, record)
    if pinned:
        notes.append(f"{entry.name}: trusted on first use, pinned to sha256 {sha256}")
    return Downloaded(path, tuple(notes))
