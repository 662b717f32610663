"""The catalogue of named checkpoints: purpose, author, license, and where to download each one."""

from __future__ import annotations

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rgt_cli.errors import CheckpointError, UsageError

OWN_CATALOGUE = "RGT_CATALOGUE"
"""The environment variable that names a TOML file with more entries, in the form of `catalogue.toml`."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""File name suffixes of checkpoints, the preferred ones first."""
AUTOMATIC = {"auto": ("tiny", "rgt"), "auto-photo": ("tiny-photo", "photo")}
"""Name of an automatic model -> the bundled model and the published one that it selects from: for clean
inputs and for compressed ones."""
SECONDS_PER_MEGAPIXEL = {"RGT-tiny": 16.0, "RGT-S": 250.0, "RGT": 320.0}
"""Variant -> seconds for a megapixel of input at x4, in fp32 on two CPU cores."""
_PACKAGE = Path(__file__).parents[1]
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place that serves a checkpoint: a file on the Hugging Face Hub, or a URL."""

    hub: str | None = None
    """Repository on the Hub, as "owner/repo". None if there is a `url` instead."""
    file: str | None = None
    """Path inside the repository. None selects the file with this `sha256`, or the only checkpoint."""
    revision: str | None = None
    """Full commit hash. None selects the newest commit."""
    url: str | None = None
    """A public address. None if there is a `hub` instead."""
    sha256: str | None = None
    """Hash of the file, in hexadecimal. None if it is unknown."""
    bytes: int | None = None
    """Size of the file. None if it is unknown."""

    def __str__(self) -> str:
        if self.hub:
            return f"{self.hub}:{self.file}" if self.file else self.hub
        return redact_url(self.url or "")


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A checkpoint that is bundled or can be downloaded."""

    name: str
    """The full name, such as "rgt-s-x4", or the text that was typed for one outside the catalogue."""
    short: str = ""
    """The name without a scale. Several entries share it, and the scale selects one of them."""
    variant: str = ""
    """The size of the network: "RGT", "RGT-S" or "RGT-tiny"."""
    scale: int | None = None
    """Upscaling factor. None if it is unknown until the file has been downloaded."""
    purpose: str = ""
    """The training goal: "bicubic", "photo", "general" or "texture"."""
    description: str = ""
    """What this checkpoint is for, in a few words."""
    license: str = ""
    """SPDX identifier."""
    author: str = ""
    """The author to credit."""
    locations: tuple[Location, ...] = ()
    """The places to download it from, those with a known hash first. Empty if it is bundled."""
    bundled: Path | None = None
    """Its file, if it ships with the package."""
    sha256: str | None = None
    """Hash of the bundled file, in hexadecimal."""
    tile: int | None = None
    """Side in pixels beyond which larger tiles cost time on a CPU and gain nothing, if known.

    Each pixel attends to its whole tile. A small network has learned to use little of that context.
    """

    @property
    def seconds_per_megapixel(self) -> float | None:
        """Seconds for a megapixel of input on two CPU cores. None if the variant has no known speed."""
        return SECONDS_PER_MEGAPIXEL.get(self.variant)

    @property
    def bytes(self) -> int | None:
        """Size of the bundled file or of the download. None if it is unknown."""
        if self.bundled:
            return self.bundled.stat().st_size
        return next((location.bytes for location in self.locations if location.bytes), None)


@functools.cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return every entry by its full name, in the order of the file.

    Raises:
        UsageError: The file that RGT_CATALOGUE names is missing or invalid.
    """
    paths = [Path(__file__).with_name("catalogue.toml")]
    if own := os.environ.get(OWN_CATALOGUE):
        paths.append(Path(own))
    entries: dict[str, CatalogueEntry] = {}
    for path in paths:
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            entries |= {name: _entry(name, facts) for name, facts in content.items()}
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            reason = f"an entry has no key {error}" if isinstance(error, KeyError) else str(error)
            raise UsageError(
                f"{path}: not a valid catalogue: {reason}; correct the file or unset {OWN_CATALOGUE}"
            ) from error
    return entries


def _entry(name: str, facts: Mapping[str, Any]) -> CatalogueEntry:
    described = ("short", "variant", "scale", "purpose", "description", "license", "author")
    entry = functools.partial(
        CatalogueEntry, name=name, tile=facts.get("tile"), **{key: facts[key] for key in described}
    )
    if "bundled" in facts:
        return entry(bundled=_bundled_folder() / facts["bundled"], sha256=facts["sha256"])
    known = {key: facts.get(key) for key in ("sha256", "bytes")}
    locations = []
    if "hub" in facts:
        file = facts.get("file") if "sha256" in facts else facts["file"]
        locations.append(Location(hub=facts["hub"], file=file, revision=facts.get("revision"), **known))
    if "url" in facts:
        if "url_sha256" in facts:
            known = {key: facts.get(f"url_{key}") for key in known}
        locations.append(Location(url=facts["url"], **known))
    locations.sort(key=lambda location: location.sha256 is None)
    return entry(locations=tuple(locations))


def _bundled_folder() -> Path:
    """Return `weights/` inside an installed package, or beside it in a checkout."""
    installed = _PACKAGE / "weights"
    return installed if installed.is_dir() else _PACKAGE.parent / "weights"


def lookup(model: str, scale: int | None) -> CatalogueEntry | Path:
    """Return the checkpoint that `model` names, without using the network.

    Args:
        model: A name in the catalogue ("photo", "rgt-s-x4") in upper or lower case, `owner/repo`,
            `owner/repo:file`, `hf://owner/repo/file`, an https address, or a path. A name in the
            catalogue has priority over a file, so write `./photo` for a file called `photo`.
        scale: The wanted factor. A short name selects the smallest scale that reaches it.
            None selects x4, or the largest scale if there is no x4.

    Returns:
        An entry, or the path of an existing file.

    Raises:
        UsageError: The named model does not reach this scale.
        CheckpointError: There is no such name and no such file. The message suggests the nearest name.
    """
    entries = catalogue()
    full_names = {name.lower(): entry for name, entry in entries.items()}
    aliases = {f"{entry.short}-x{entry.scale}".lower(): entry for entry in entries.values()}
    name = model.lower()
    if exact := full_names.get(name) or aliases.get(name):
        return exact
    scales = {entry.scale: entry for entry in entries.values() if entry.short.lower() == name}
    if scales:
        return scales[_native_scale(model, [s for s in scales if s], scale)]
    if entry := _remote_entry(model):
        return entry
    path = Path(model).expanduser()
    if path.is_file():
        return path
    near = _nearest_names(name)
    hint = f"did you mean {' or '.join(near)}?" if near else "run `rgt models` for a list of the names"
    raise CheckpointError(f"{model!r} is neither the name of a model nor an existing file: {hint}")


def _nearest_names(name: str) -> list[str]:
    """Return up to two names of different models that look like `name`."""
    models = {name: name for name in AUTOMATIC}
    for entry in catalogue().values():
        for spelling in (entry.short, entry.name, f"{entry.short}-x{entry.scale}"):
            models[spelling.lower()] = entry.short
    near: dict[str, str] = {}
    for spelling in difflib.get_close_matches(name, models, n=4):
        near.setdefault(models[spelling], spelling)
    return list(near.values())[:2]


def available_scales(model: str) -> list[int]:
    """Return the factors of a catalogue or automatic model; an empty list for any other checkpoint.

    Raises:
        CheckpointError: As `lookup`.
    """
    name = AUTOMATIC[model][0] if model in AUTOMATIC else model.lower()
    scales = {entry.scale for entry in catalogue().values() if entry.short.lower() == name}
    if not scales and isinstance(found := lookup(model, None), CatalogueEntry):
        scales = {found.scale}
    return sorted(scale for scale in scales if scale)


def for_compressed(entry: CatalogueEntry) -> CatalogueEntry | None:
    """Return what suits compressed inputs better than a model for clean ones; None for any other model.

    It is the model for photos with the smallest factor that suffices, of the same variant if possible.
    """
    if entry.purpose != "bicubic" or entry.scale is None:
        return None
    scale, variant = entry.scale, entry.variant
    photo = [e for e in catalogue().values() if e.purpose == "photo" and (e.scale or 0) >= scale]
    return min(photo, key=lambda e: (e.scale, e.variant != variant), default=None)


def _native_scale(model: str, scales: list[int], wanted: int | None) -> int:
    if wanted is None:
        return 4 if 4 in scales else max(scales)
    reaching = [scale for scale in scales if scale >= wanted]
    if not reaching:
        raise UsageError(
            f"{model} upscales by {max(scales)} at most, not by {wanted}: use a smaller scale"
        )
    return min(reaching)


def _remote_entry(model: str) -> CatalogueEntry | None:
    """Return an entry for a checkpoint outside the catalogue, on the Hub or at a URL, else None."""
    if model.startswith("hf://"):
        owner, repo, file = [*model.removeprefix("hf://").split("/", 2), "", ""][:3]
        if not (owner and repo) or model.endswith("/"):
            raise CheckpointError(f"{model}: not an address on the Hub: write hf://owner/repo/file")
        location = Location(hub=f"{owner}/{repo}", file=file or None)
        return CatalogueEntry(name=model, locations=(location,))
    if "://" in model:
        return _url_entry(model)
    repo, colon, file = model.partition(":")
    if _REPO.fullmatch(repo) and not repo.startswith((".", "~")) and not Path(model).exists():
        if colon and file:
            return CatalogueEntry(name=model, locations=(Location(hub=repo, file=file),))
        if not colon and not repo.lower().endswith(SUFFIXES):
            return CatalogueEntry(name=model, locations=(Location(hub=repo),))
    return None


def _url_entry(model: str) -> CatalogueEntry:
    address, name = urlsplit(model), redact_url(model)
    local = address.hostname in ("localhost", "127.0.0.1", "::1")
    if address.scheme != "https" and not (address.scheme == "http" and local):
        raise CheckpointError(f"{name}: unsupported address: use one that begins with https:// or hf://")
    if not address.path.lower().endswith(SUFFIXES):
        raise CheckpointError(
            f"{name}: not a checkpoint: its name must end with {' or '.join(SUFFIXES)}"
        )
    return CatalogueEntry(name=name, locations=(Location(url=model),))


def redact_url(url: str) -> str:
    """Return an address without its parts that may be secret: user, password, query and fragment."""
    address = urlsplit(url)
    host = address.netloc.rpartition("@")[2]
    return f"{address.scheme}://{host}{address.path}"
