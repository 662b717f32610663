"""How a person's `--model` becomes a file that may be loaded."""

from dataclasses import dataclass
from pathlib import Path

from rgt_cli.checkpoints.cache import Progress, cached_path
from rgt_cli.checkpoints.catalogue import CatalogueEntry, lookup
from rgt_cli.errors import CheckpointError


@dataclass(frozen=True)
class Resolved:
    """The checkpoint that a model name and a scale stand for."""

    name: str
    """What to call it in messages."""
    path: Path
    """Where its file lies."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was chosen or got."""
    tile: int | None = None
    """See `CatalogueEntry.tile`."""


def resolve(
    model: str, scale: int | None, device_type: str = "cpu", progress: Progress | None = None
) -> Resolved:
    """Find the checkpoint that `model` names, and fetch it if it is not there yet.

    Args:
        model: what `find` understands, or "auto": on CUDA the published RGT, or the bundled model
            where that cannot be had; the bundled model elsewhere.
        scale: the wanted factor; None leaves it to the model.
        device_type: "cuda", "mps" or "cpu".
        progress: told of the bytes of a download.

    Raises:
        UsageError: the named model reaches no such scale.
        CheckpointError: no such name and no such file, or it cannot be fetched.
    """
    if model == "auto":
        return _automatic(scale, device_type, progress)
    found = lookup(model, scale)
    if isinstance(found, Path):
        return Resolved(found.name, found)
    return _resolved(found, progress)


def _automatic(scale: int | None, device_type: str, progress: Progress | None) -> Resolved:
    bundled = lookup("tiny", scale)
    assert isinstance(bundled, CatalogueEntry)
    if device_type != "cuda":
        note = (
            f"no CUDA device, so the bundled {bundled.name}; -m tiny-photo is for compressed photos, "
            "-m rgt far better and far slower"
        )
        return _resolved(bundled, progress, note)
    published = lookup("rgt", scale)
    assert isinstance(published, CatalogueEntry)
    try:
        return _resolved(published, progress)
    except CheckpointError as error:
        return _resolved(bundled, progress, f"{error}; the bundled {bundled.name} is used instead")


def _resolved(entry: CatalogueEntry, progress: Progress | None, *notes: str) -> Resolved:
    if entry.bundled:
        return Resolved(entry.name, entry.bundled, notes, entry.tile)
    if path := cached_path(entry):
        return Resolved(entry.name, path, notes, entry.tile)
    from rgt_cli.checkpoints.download import download  # only now wait for the Hub's client

    downloaded = download(entry, progress)
    return Resolved(entry.name, downloaded.path, notes + downloaded.notes, entry.tile)
