"""What is kept of fetched checkpoints: checked once, slimmed, remembered; nothing unchecked is used.

Each checkpoint has a folder under the Hub's `assets` (HF_HOME, or HF_ASSETS_CACHE):

    rgt/rgt-s-x4/rgt-s-x4.safetensors   the weights alone, read by memory map
    rgt/rgt-s-x4/record.json            where they came from, every hash, and how the file looked then
    rgt/rgt-s-x4/refused                what failed its check last; never read

Two processes that want the same checkpoint take turns by a lock, which ends with its process.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rgt_cli.checkpoints.catalogue import CatalogueEntry

Progress = Callable[[str, int, int | None], None]
"""Called with (what is being fetched, bytes so far, bytes in all where known)."""


@dataclass(frozen=True)
class CachedCheckpoint:
    """What is known of a checkpoint that has been checked."""

    name: str
    """What a person calls it."""
    place: str
    """Where it came from."""
    revision: str | None
    """The commit on the Hub, where there is one."""
    sha256: str
    """Of the file as it was fetched."""
    pinned: bool
    """Whether that hash was not known beforehand: seen first, and trusted from then on."""
    original: str | None
    """Path of the file as it was fetched, where it is kept."""
    slim_sha256: str
    """Of the slim file."""
    size: int
    """Of the slim file, as the next two: whoever looks the same has been checked already."""
    mtime_ns: int
    inode: int


def folder_of(entry: CatalogueEntry) -> Path:
    """Where all that is kept of `entry` lies."""
    slug = re.sub(r"[^\w.-]+", "--", entry.name).strip(".-")
    if entry.scale is None:  # a name that a person made up: keep look-alikes apart
        slug = f"{slug[:80]}-{hashlib.sha256(entry.name.encode()).hexdigest()[:8]}"
    return _root() / slug


def _root() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "rgt"


def slim_path(folder: Path) -> Path:
    """Where the slim file of a folder lies, or would."""
    return folder / f"{folder.name}.safetensors"


def read_record(folder: Path) -> CachedCheckpoint | None:
    """The record of a folder; None where there is none or it makes no sense."""
    try:
        return CachedCheckpoint(**json.loads((folder / "record.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def all_records() -> dict[Path, CachedCheckpoint]:
    """Everything that is kept: folder -> record."""
    found = {path.parent: read_record(path.parent) for path in _root().glob("*/record.json")}
    return {folder: record for folder, record in sorted(found.items()) if record}


def cached_path(entry: CatalogueEntry) -> Path | None:
    """The checked slim file of `entry`, without touching the network; None where there is none.

    A file that does not look as it did when it was checked is hashed again.
    """
    folder = folder_of(entry)
    path, record = slim_path(folder), read_record(folder)
    if record is None or not path.is_file() or not _still_accepted(record, entry):
        return None
    if looks_of(path) == {key: getattr(record, key) for key in looks_of(path)}:
        return path
    if sha256_of(path) != record.slim_sha256:
        return None
    with contextlib.suppress(OSError):
        write_record(folder, replace(record, **looks_of(path)))
    return path


def _still_accepted(record: CachedCheckpoint, entry: CatalogueEntry) -> bool:
    """Whether the catalogue still names the place of a record, and with no other hash."""
    hashes = [place.sha256 for place in entry.places if str(place) == record.place]
    return bool(hashes) and hashes[0] in (None, record.sha256)


def looks_of(path: Path) -> dict:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def write_record(folder: Path, record: CachedCheckpoint) -> None:
    partial = folder / "record.json.part"
    partial.write_text(json.dumps(asdict(record), indent=2), encoding="utf-8")
    os.replace(partial, folder / "record.json")


def quarantine(original: Path, folder: Path) -> None:
    """Move what failed its check out of every place that is read, the Hub's cache included."""
    blob = original.resolve()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(blob, folder / "refused")
    for path in {blob, original}:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def cache_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, where the folder can be written at all."""
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def verify_cached(folder: Path, record: CachedCheckpoint) -> bool:
    """Hash the slim file of a folder again, whatever it looks like."""
    path = slim_path(folder)
    return path.is_file() and sha256_of(path) == record.slim_sha256


def remove(entry: CatalogueEntry) -> int:
    """Delete all that is kept of `entry`, its file in the Hub's cache too; returns the bytes freed."""
    folder = folder_of(entry)
    record = read_record(folder)
    freed = 0
    if record and record.original:
        freed += _remove_from_hub_cache(Path(record.original))
    if folder.is_dir():
        freed += sum(path.stat().st_size for path in folder.iterdir())
        shutil.rmtree(folder)
    return freed


def _remove_from_hub_cache(pointer: Path) -> int:
    """Delete a file of the Hub's cache, and its blob unless another commit still points there."""
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
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
