"""The cache of downloaded checkpoints. Each file is verified once and converted to its slim form.

Each checkpoint has a folder under `assets` of the Hub's cache (HF_HOME, or HF_ASSETS_CACHE):

    rgt/rgt-s-x4/rgt-s-x4.safetensors   the slim file: weights only, to be read as a memory map
    rgt/rgt-s-x4/record.json            the origin, every hash, and the state of the slim file
    rgt/rgt-s-x4/refused                the last download that failed verification; it is never read
    rgt/selfcheck.json                  the models that GPUs have computed right: `inference.selfcheck`

Processes that need the same checkpoint wait for each other. The lock ends with its process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rgt_cli.checkpoints.catalogue import CatalogueEntry
from rgt_cli.errors import OutputError
from rgt_cli.files import FileStamp, exclusive, write_text

logger = logging.getLogger(__name__)

DownloadProgress = Callable[[str, int, int | None], None]
"""A callback with the name of the download, the bytes received, and all bytes (None if unknown)."""


@dataclass(frozen=True, kw_only=True)
class CachedCheckpoint:
    """The record of a verified checkpoint."""

    name: str
    """The name of its catalogue entry."""
    location: str
    """The place that it was downloaded from, without secrets."""
    revision: str | None
    """The commit on the Hub. None if it came from a URL."""
    sha256: str
    """Hash of the downloaded file, in hexadecimal."""
    bytes: int
    """Size of the downloaded file."""
    pinned: bool
    """True if no hash was known in advance, so that the hash of the first download is trusted."""
    original: str | None
    """Path of the downloaded file in the Hub's cache. None if it has been removed."""
    slim_sha256: str
    """Hash of the slim file, in hexadecimal."""
    stamp: FileStamp
    """The state of the slim file at its last verification. While it is the same, no hash is computed."""


def cache_folder(entry: CatalogueEntry) -> Path:
    """Return the folder that caches `entry`."""
    slug = re.sub(r"[^\w.-]+", "--", entry.name).strip(".-")
    if entry.scale is None:  # a name that the user typed: two that look alike must not share a folder
        slug = f"{slug[:80]}-{hashlib.sha256(entry.name.encode()).hexdigest()[:8]}"
    return cache_root() / slug


def cache_root() -> Path:
    """Return the folder of everything that this package caches."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "rgt"


def slim_path(folder: Path) -> Path:
    """Return the path of the slim file in a folder of the cache. It need not exist."""
    return folder / f"{folder.name}.safetensors"


def read_record(folder: Path) -> CachedCheckpoint | None:
    """Return the record in a folder of the cache. None if it is missing or invalid."""
    try:
        fields = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        return CachedCheckpoint(**fields | {"stamp": FileStamp(*fields["stamp"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_record(folder: Path, record: CachedCheckpoint) -> None:
    """Write the record of a folder.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(folder / "record.json", json.dumps(asdict(record), indent=2))


def all_records() -> dict[Path, CachedCheckpoint]:
    """Return the record of every cached checkpoint by its folder."""
    found = {path.parent: read_record(path.parent) for path in cache_root().glob("*/record.json")}
    return {folder: record for folder, record in sorted(found.items()) if record}


def cached_path(entry: CatalogueEntry) -> Path | None:
    """Return the verified slim file of `entry`, without using the network. None if there is none.

    A file that has changed since its last verification is hashed again.
    """
    folder = cache_folder(entry)
    path, record = slim_path(folder), read_record(folder)
    stamp = FileStamp.of(path)
    if record is None or stamp is None or not _is_accepted(record, entry):
        return None
    if stamp == record.stamp:
        return path
    logger.info("%s: the time or size of the cached file has changed; verifying its hash", entry.name)
    if sha256_of(path) != record.slim_sha256:
        logger.info("%s: the hash does not match; the cached file is not used", entry.name)
        return None
    with suppress(OutputError):
        write_record(folder, replace(record, stamp=stamp))
    return path


def _is_accepted(record: CachedCheckpoint, entry: CatalogueEntry) -> bool:
    """Return whether the catalogue still lists the origin of a record, with the same hash or none."""
    hashes = [loc.sha256 for loc in entry.locations if str(loc) == record.location]
    return bool(hashes) and hashes[0] in (None, record.sha256)


def quarantine(original: Path, folder: Path) -> None:
    """Move a file that failed verification to `refused` in `folder`, out of the Hub's cache too."""
    blob = original.resolve()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(blob, folder / "refused")
    for path in {blob, original}:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def cache_lock(folder: Path) -> Iterator[None]:
    """Create a folder of the cache and lock it. Wait for other processes that have locked it.

    A folder that cannot be written is not locked, so that a read-only cache can be used.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(folder, wait=True, lock_file=folder / "lock"))
        except OSError as error:
            logger.info("%s: not locked: %s", folder, error.strerror)
        yield


def verify_cached(folder: Path, record: CachedCheckpoint) -> bool:
    """Hash the slim file in a folder again and return whether it is intact."""
    path = slim_path(folder)
    return path.is_file() and sha256_of(path) == record.slim_sha256


def remove(entry: CatalogueEntry) -> int:
    """Delete all files of `entry`, the one in the Hub's cache too, and return the bytes freed.

    Raises:
        OutputError: A file cannot be removed.
    """
    folder = cache_folder(entry)
    record = read_record(folder)
    freed = 0
    try:
        if record and record.original:
            freed += _remove_from_hub_cache(Path(record.original))
        if folder.is_dir():
            freed += sum(path.stat().st_size for path in folder.iterdir())
            shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{entry.name}: cannot be removed: {error.strerror}") from error
    return freed


def _remove_from_hub_cache(pointer: Path) -> int:
    """Delete a file in the Hub's cache, and its blob unless another commit still points to it."""
    blob = pointer.resolve()
    freed = 0
    pointer.unlink(missing_ok=True)
    snapshots = next((p for p in pointer.parents if p.name == "snapshots"), None)
    others = snapshots.rglob("*") if snapshots else ()
    if (
        blob != pointer
        and blob.is_file()
        and not any(p.resolve() == blob for p in others if p.is_symlink())
    ):
        freed = blob.stat().st_size
        blob.unlink()
    return freed


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
