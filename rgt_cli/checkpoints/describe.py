"""Describe models: the facts that `rgt models` prints, from the catalogue, the cache and the files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rgt_cli.checkpoints.cache import (
    CachedCheckpoint,
    all_records,
    cache_folder,
    cached_path,
    read_record,
    sha256_of,
    slim_path,
)
from rgt_cli.checkpoints.catalogue import SECONDS_PER_MEGAPIXEL, CatalogueEntry, catalogue

if TYPE_CHECKING:
    from rgt_cli.network import RGTConfig

State = Literal["bundled", "cached", "remote", "file"]
"""Where a model is: in the installation, in the cache, still to be downloaded, or at a path."""

MEASURED_SIDE = 128
"""Side in pixels of the input for which multiply-adds are counted, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The facts of one model. The fields are the keys of the JSON output; None means unknown."""

    name: str
    """The full name."""
    short: str | None = None
    """The short name, to which the scale is added."""
    variant: str | None = None
    """The size of the network: "RGT", "RGT-S", "RGT-tiny", or "custom" for any other."""
    scale: int | None = None
    """Upscaling factor."""
    purpose: str | None = None
    """The training goal: "bicubic", "photo", "general" or "texture"."""
    description: str | None = None
    """What it is for, in a few words."""
    seconds_per_megapixel: float | None = None
    """Seconds for a megapixel of input at x4, in fp32 on two CPU cores."""
    license: str | None = None
    """SPDX identifier."""
    author: str | None = None
    """The author to credit."""
    bytes: int | None = None
    """Size of the file as its author published it."""
    state: State
    """Where it is."""
    sha256: str | None = None
    """Hash of the file as its author published it, in hexadecimal."""
    revision: str | None = None
    """The commit on the Hub."""
    source: tuple[str, ...] = ()
    """The places to download it from, the preferred one first."""
    path: str | None = None
    """The file on this machine."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """The facts of a checkpoint file on this machine. The fields are keys of the JSON output."""

    bytes: int
    """Size of the file. A cached one is smaller than the published one."""
    sha256: str
    """Hash of the file, in hexadecimal."""
    variant: str
    """Either "RGT" or "RGT-S" if the network has the published hyper-parameters, else "custom"."""
    groups: int
    """Residual groups."""
    blocks: int
    """Transformer blocks in all groups."""
    parameters: int
    """Weights of the network."""
    multiply_adds: int
    """Multiply-adds for an input of 128 x 128 pixels."""
    config: dict[str, Any]
    """Every field of `RGTConfig`."""


def all_models() -> list[ModelFacts]:
    """Return the facts of each entry in the catalogue, then of each other model in the cache."""
    entries = catalogue()
    others = {f: record for f, record in all_records().items() if record.name not in entries}
    return [
        *(describe(entry) for entry in entries.values()),
        *(_describe_record(folder, record) for folder, record in others.items()),
    ]


def describe(found: CatalogueEntry | Path) -> ModelFacts:
    """Return the facts of a result of `lookup`. The file is not loaded."""
    if isinstance(found, Path):
        return ModelFacts(
            name=found.name,
            bytes=found.stat().st_size,
            state="file",
            sha256=sha256_of(found),
            path=str(found),
        )
    path = found.bundled or cached_path(found)
    record = None if found.bundled or path is None else read_record(cache_folder(found))
    hashes = (found.sha256, *(location.sha256 for location in found.locations))
    revisions = (location.revision for location in found.locations)
    return ModelFacts(
        name=found.name,
        short=found.short or None,
        variant=found.variant or None,
        scale=found.scale,
        purpose=found.purpose or None,
        description=found.description or None,
        seconds_per_megapixel=found.seconds_per_megapixel,
        license=found.license or None,
        author=found.author or None,
        bytes=record.bytes if record else found.bytes,
        state="bundled" if found.bundled else "cached" if path else "remote",
        sha256=record.sha256 if record else next(filter(None, hashes), None),
        revision=record.revision if record else next(filter(None, revisions), None),
        source=tuple(map(str, found.locations)),
        path=str(path) if path else None,
    )


def _describe_record(folder: Path, record: CachedCheckpoint) -> ModelFacts:
    """Return the facts of a cached model that is not in the catalogue."""
    path = slim_path(folder)
    return ModelFacts(
        name=record.name,
        bytes=record.bytes,
        state="cached" if path.is_file() else "remote",
        sha256=record.sha256,
        revision=record.revision,
        source=(record.location,),
        path=str(path) if path.is_file() else None,
    )


def describe_file(path: Path) -> FileFacts:
    """Return the facts of a checkpoint file and of the network in it.

    Raises:
        CheckpointError: As `load_network`.
    """
    from rgt_cli.checkpoints.load import load_network  # imports torch
    from rgt_cli.network.cost import multiply_adds

    network = load_network(path)
    config = network.config
    return FileFacts(
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        variant=_variant(config),
        groups=len(config.depth),
        blocks=sum(config.depth),
        parameters=sum(p.numel() for p in network.parameters()),
        multiply_adds=multiply_adds(config, MEASURED_SIDE, MEASURED_SIDE),
        config=asdict(config),
    )


def with_file(facts: ModelFacts, file: FileFacts) -> ModelFacts:
    """Return the facts of a model, completed by those of its file."""
    return replace(
        facts,
        variant=facts.variant or file.variant,
        seconds_per_megapixel=SECONDS_PER_MEGAPIXEL.get(facts.variant or file.variant),
        scale=facts.scale or file.config["upscale"],
    )


def _variant(config: RGTConfig) -> str:
    """Return the name of the published variant with these hyper-parameters, or "custom"."""
    published = {6: "RGT-S", 8: "RGT"}
    same = (config.embed_dim, set(config.depth), set(config.num_heads)) == (180, {6}, {6})
    return published.get(len(config.depth), "custom") if same else "custom"
