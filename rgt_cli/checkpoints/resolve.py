"""Resolve a model name and a scale to a checkpoint file; download it if necessary."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from rgt_cli.checkpoints.cache import DownloadProgress, cached_path
from rgt_cli.checkpoints.catalogue import AUTOMATIC, CatalogueEntry, available_scales, catalogue, lookup
from rgt_cli.errors import CheckpointError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The checkpoint that a model name and a scale select."""

    name: str
    """The name to use in messages."""
    path: Path
    """The checkpoint file."""
    notes: tuple[str, ...] = ()
    """Messages for the user about the choice or the download."""
    tile: int | None = None
    """As `CatalogueEntry.tile`."""


def resolve(
    model: str, scale: int | None, device_type: str = "cpu", progress: DownloadProgress | None = None
) -> Resolved:
    """Return the checkpoint that `model` names; download it if it is not cached.

    Args:
        model: As for `lookup`, or a name in `AUTOMATIC`. On CUDA, these select a published model of this
            factor if there is one, or the bundled model if it cannot be downloaded. On other devices,
            they select the bundled model.
        scale: The wanted factor. None leaves the choice to the model.
        device_type: "cuda", "xpu", "mps" or "cpu".
        progress: A callback for the bytes received.

    Raises:
        UsageError: The named model does not reach this scale.
        CheckpointError: There is no such name and no such file, or the download failed.
    """
    if model in AUTOMATIC:
        return _automatic(model, scale, device_type, progress)
    found = lookup(model, scale)
    if isinstance(found, Path):
        logger.info("model %s: the file %s", model, found)
        return Resolved(name=found.name, path=found)
    try:
        return _resolve_entry(found, progress)
    except CheckpointError as error:
        if found.name not in catalogue():
            raise
        bundled = " or ".join(f"-m {name}" for name, _ in AUTOMATIC.values())
        raise CheckpointError(f"{error}; bundled models need no download: use {bundled}") from error


def automatic_entries(model: str, scale: int | None) -> tuple[CatalogueEntry, CatalogueEntry | None]:
    """Return what an automatic model selects from: a bundled model, and a published one of its factor.

    Args:
        model: A name in `AUTOMATIC`.
        scale: The wanted factor; None is 4.
    """
    bundled_name, published_name = AUTOMATIC[model]
    bundled = lookup(bundled_name, scale)
    assert isinstance(bundled, CatalogueEntry)
    if bundled.scale not in available_scales(published_name):
        return bundled, None
    published = lookup(published_name, bundled.scale)
    assert isinstance(published, CatalogueEntry)
    return bundled, published


def _automatic(
    model: str, scale: int | None, device_type: str, progress: DownloadProgress | None
) -> Resolved:
    bundled, published = automatic_entries(model, scale)
    if device_type != "cuda" or published is None:
        return _resolve_entry(bundled, progress)
    try:
        return _resolve_entry(published, progress)
    except CheckpointError as error:
        note = f"{error}; using the bundled model {bundled.name} instead"
        return _resolve_entry(bundled, progress, note)


def _resolve_entry(entry: CatalogueEntry, progress: DownloadProgress | None, *notes: str) -> Resolved:
    if entry.bundled:
        logger.info("model %s: bundled, %s", entry.name, entry.bundled)
        return Resolved(name=entry.name, path=entry.bundled, notes=notes, tile=entry.tile)
    if path := cached_path(entry):
        logger.info("model %s: cached, %s", entry.name, path)
        return Resolved(name=entry.name, path=path, notes=notes, tile=entry.tile)
    from rgt_cli.checkpoints.download import download  # imports the Hub's client, which is slow

    downloaded = download(entry, progress)
    logger.info("model %s: downloaded, %s", entry.name, downloaded.path)
    return Resolved(
        name=entry.name, path=downloaded.path, notes=notes + downloaded.notes, tile=entry.tile
    )
