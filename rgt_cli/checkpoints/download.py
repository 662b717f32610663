"""Download a catalogue entry, decide whether to trust the file, and cache its slim form."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from rgt_cli.checkpoints.cache import (
    CachedCheckpoint,
    DownloadProgress,
    cache_folder,
    cache_lock,
    cached_path,
    quarantine,
    read_record,
    sha256_of,
    slim_path,
    write_record,
)
from rgt_cli.checkpoints.catalogue import CatalogueEntry, Location
from rgt_cli.checkpoints.transfer import TransferError, fetch_from_hub, fetch_from_url
from rgt_cli.errors import CheckpointError, OutputError
from rgt_cli.files import FileStamp, remove_partials

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Downloaded:
    """A verified checkpoint file."""

    path: Path
    """The slim file, or the downloaded one if the cache cannot be written."""
    notes: tuple[str, ...] = ()
    """Messages for the user about the download."""


def download(entry: CatalogueEntry, progress: DownloadProgress | None = None) -> Downloaded:
    """Return a verified file of `entry`. Download, verify and convert it unless it is cached.

    Args:
        entry: An entry that is not bundled.
        progress: A callback for the bytes received.

    Raises:
        CheckpointError: No location delivers it. The message gives the reason for each one.
    """
    if path := cached_path(entry):
        return Downloaded(path)
    folder = cache_folder(entry)
    with cache_lock(folder):
        if path := cached_path(entry):  # another process was faster
            return Downloaded(path)
        remove_partials(folder)
        failures: dict[str, str] = {}
        for location in entry.locations:
            try:
                return _download_from(location, entry, progress or (lambda title, done, total: None))
            except TransferError as error:
                logger.info("%s: %s", location, error)
                failures[str(location)] = str(error)
    raise CheckpointError(f"{entry.name}: cannot be downloaded: {_reasons(failures, entry.name)}")


def _reasons(failures: dict[str, str], name: str) -> str:
    """Return why no location delivers a checkpoint; a reason that all of them share is given once."""
    shared = set(failures.values())
    if len(shared) == 1 and (len(failures) > 1 or name in failures):
        return shared.pop()
    return "; ".join(f"{location}: {reason}" for location, reason in failures.items())


def _download_from(location: Location, entry: CatalogueEntry, progress: DownloadProgress) -> Downloaded:
    """Fetch a file, once more if its hash is wrong, and convert it."""
    folder = cache_folder(entry)
    trusted, hint = location.sha256, ""
    if trusted is None:
        record = read_record(folder)
        trusted = record.sha256 if record and record.location == str(location) else None
        hint = f"; to accept a file that has changed, run: rgt models remove {entry.name}"
    sha256 = ""
    for again in (False, True):
        logger.info("%s: fetching %s%s", entry.name, location, " again" if again else "")
        original, revision = _fetch(location, folder, again, progress)
        sha256 = sha256_of(original)
        if trusted in (None, sha256):
            logger.info("%s: sha256 %s, %s", entry.name, sha256, "as expected" if trusted else "pinned")
            return _convert(original, entry, location, revision, sha256)
        logger.info("%s: sha256 %s instead of %s", entry.name, sha256, trusted)
        quarantine(original, folder)
    raise TransferError(
        f"the file has sha256 {sha256[:12]}… instead of {(trusted or '')[:12]}…, in two attempts; "
        f"it was moved to {folder / 'refused'}{hint}"
    )


def _fetch(
    location: Location, folder: Path, again: bool, progress: DownloadProgress
) -> tuple[Path, str | None]:
    """Return the path of the file as it is served, and its commit if it comes from the Hub."""
    if location.hub:
        return fetch_from_hub(location, again, progress)
    if not folder.is_dir():
        raise TransferError(f"{folder} cannot be written; set HF_HOME to another folder")
    target = folder / f"original{Path(str(location)).suffix}"
    fetch_from_url(location, target, progress)
    return target, None


def _convert(
    original: Path, entry: CatalogueEntry, location: Location, revision: str | None, sha256: str
) -> Downloaded:
    """Convert a verified file to the slim one. Use it directly if that cannot be written."""
    from rgt_cli.checkpoints.convert import convert  # imports torch

    folder = cache_folder(entry)
    path = slim_path(folder)
    pinned = location.sha256 is None
    try:
        convert(original, path)
        stamp = FileStamp.of(path)
        assert stamp is not None
        record = CachedCheckpoint(
            name=entry.name,
            location=str(location),
            revision=revision,
            sha256=sha256,
            bytes=original.stat().st_size,
            pinned=pinned,
            original=str(original) if location.hub else None,
            slim_sha256=sha256_of(path),
            stamp=stamp,
        )
        write_record(folder, record)
    except CheckpointError as error:
        quarantine(original, folder)
        raise TransferError(str(error).removeprefix(f"{original}: ")) from error
    except OutputError as error:
        return Downloaded(original, (f"{entry.name}: used without caching it: {error}",))
    if location.hub is None:
        original.unlink()
    logger.info("%s: cached as %s", entry.name, path)
    if not pinned:
        return Downloaded(path)
    return Downloaded(path, (f"{entry.name}: trusted on first use, pinned to sha256 {sha256}",))
