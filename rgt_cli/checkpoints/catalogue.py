"""The checkpoints that have a name: what they are for, who made them, and where their bytes are."""

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rgt_cli.errors import CheckpointError, UsageError

OWN_CATALOGUE = "RGT_CATALOGUE"
"""The environment variable that names a TOML file with more entries, in the form of ours."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""What the name of a checkpoint ends with."""
_PACKAGE = Path(__file__).parents[1]
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Location:
    """Somewhere the bytes of a checkpoint can be had: a file on the Hub, or a URL."""

    hub: str | None = None
    """Repository on the Hugging Face Hub."""
    file: str | None = None
    """Path inside the repository; None where it holds only one checkpoint."""
    revision: str | None = None
    """Full commit, where known."""
    url: str | None = None
    """A public address, where there is no `hub`."""
    sha256: str | None = None
    """Of the bytes, where known."""
    bytes: int | None = None
    """How many there are, where known."""

    def __str__(self) -> str:
        if self.hub:
            return f"{self.hub}:{self.file}" if self.file else self.hub
        return redact_url(self.url or "")


@dataclass(frozen=True)
class CatalogueEntry:
    """A checkpoint that can be asked for."""

    name: str
    """The full name, such as "rgt-s-x4", or what a person typed for one outside the catalogue."""
    short: str = ""
    """What a person types; the scale chooses among the entries of one short name."""
    variant: str = ""
    """RGT, RGT-S or RGT-tiny."""
    scale: int | None = None
    """How much it enlarges, where known before it is there."""
    purpose: str = ""
    """What it was trained for: bicubic, photo, general or texture."""
    note: str = ""
    """One line about when to choose it."""
    license: str = ""
    """SPDX identifier."""
    author: str = ""
    """Whom to attribute it to."""
    places: tuple[Location, ...] = ()
    """Where to fetch it, the ones with a known hash first; empty for a bundled one."""
    bundled: Path | None = None
    """Its file, where it ships with the package."""
    sha256: str | None = None
    """Of the bundled file."""
    tile: int | None = None
    """The side in pixels up to which larger tiles are worth their time on a processor, where known.

    What every pixel attends to grows with the tile; a small model has learned to use little of it.
    """

    @property
    def size(self) -> int | None:
        """Bytes of its file, where known."""
        if self.bundled:
            return self.bundled.stat().st_size
        return next((place.bytes for place in self.places if place.bytes), None)


@functools.cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Every entry by its full name, in the order of the catalogue.

    Raises:
        UsageError: the file that RGT_CATALOGUE names is missing or cannot be understood.
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
            raise UsageError(f"{path}: is no catalogue: {error}") from error
    return entries


def _entry(name: str, facts: Mapping) -> CatalogueEntry:
    known = {k: facts[k] for k in ("short", "variant", "scale", "purpose", "note", "license", "author")}
    if "bundled" in facts:
        path = _bundled_folder() / facts["bundled"]
        return CatalogueEntry(
            name, **known, bundled=path, sha256=facts["sha256"], tile=facts.get("tile")
        )
    places = []
    main = {key: facts.get(key) for key in ("sha256", "bytes")}
    if "hub" in facts:
        places.append(Location(facts["hub"], facts["file"], facts.get("revision"), **main))
    if "url" in facts:
        if "url_sha256" in facts:
            main = {key: facts.get(f"url_{key}") for key in main}
        places.append(Location(url=facts["url"], **main))
    places.sort(key=lambda place: place.sha256 is None)
    return CatalogueEntry(name, **known, places=tuple(places), tile=facts.get("tile"))


def _bundled_folder() -> Path:
    """`weights/` inside an installed package, or beside it in a checkout."""
    installed = _PACKAGE / "weights"
    return installed if installed.is_dir() else _PACKAGE.parent / "weights"


def lookup(model: str, scale: int | None) -> CatalogueEntry | Path:
    """Tell what a person means by `model`, without touching the network.

    Args:
        model: a name of the catalogue ("photo", "rgt-s-x4"), `owner/repo`, `owner/repo:file`,
            `hf://owner/repo/file`, an https address, or a path. Names come first: `./photo` is a path.
        scale: the wanted factor; a short name takes the smallest scale that reaches it, and
            None takes x4 or the largest there is.

    Returns:
        An entry, or the path of an existing file.

    Raises:
        UsageError: the named model reaches no such scale.
        CheckpointError: no such name and no such file; the nearest name is suggested.
    """
    entries = catalogue()
    aliases = {f"{entry.short}-x{entry.scale}": entry for entry in entries.values()}
    if exact := entries.get(model) or aliases.get(model):
        return exact
    scales = {entry.scale: entry for entry in entries.values() if entry.short == model}
    if scales:
        return scales[_native_scale(model, [s for s in scales if s], scale)]
    if entry := _elsewhere(model):
        return entry
    path = Path(model).expanduser()
    if path.is_file():
        return path
    names = [*dict.fromkeys(entry.short for entry in entries.values()), *entries, *aliases, "auto"]
    near = difflib.get_close_matches(model, names, n=1)
    advice = f"did you mean {near[0]}?" if near else "`rgt models` lists all names"
    raise CheckpointError(f"{model}: no model of that name and no such file; {advice}")


def available_scales(model: str) -> list[int]:
    """The factors that a model of the catalogue has, "auto" included; none of one from elsewhere."""
    entries = catalogue().values()
    if model == "auto":
        model = "tiny"  # as the published one does
    scales = {entry.scale for entry in entries if entry.short == model and entry.scale}
    if not scales and isinstance(found := lookup(model, None), CatalogueEntry) and found.scale:
        scales = {found.scale}
    return sorted(scales)


def _native_scale(name: str, scales: list[int], wanted: int | None) -> int:
    if wanted is None:
        return 4 if 4 in scales else max(scales)
    reaching = [scale for scale in scales if scale >= wanted]
    if not reaching:
        raise UsageError(f"{name} enlarges by {max(scales)} at most, not by {wanted}")
    return min(reaching)


def _elsewhere(model: str) -> CatalogueEntry | None:
    """An entry for a checkpoint outside the catalogue: on the Hub or at an address."""
    if model.startswith("hf://"):
        parts = model.removeprefix("hf://").split("/", 2)
        if len(parts) < 2 or not all(parts):
            raise CheckpointError(f"{model}: is not of the form hf://owner/repo/file")
        return CatalogueEntry(
            model, places=(Location("/".join(parts[:2]), parts[2] if len(parts) > 2 else None),)
        )
    if "://" in model:
        address = urlsplit(model)
        local = address.hostname in ("localhost", "127.0.0.1", "::1")
        if address.scheme != "https" and not (address.scheme == "http" and local):
            raise CheckpointError(f"{redact_url(model)}: only https:// and hf:// addresses are fetched")
        if not address.path.lower().endswith(SUFFIXES):
            raise CheckpointError(f"{redact_url(model)}: does not end with {' or '.join(SUFFIXES[:2])}")
        return CatalogueEntry(redact_url(model), places=(Location(url=model),))
    repo, colon, file = model.partition(":")
    if _REPO.fullmatch(repo) and not repo.startswith((".", "~")) and not Path(model).exists():
        if colon and file:
            return CatalogueEntry(model, places=(Location(repo, file),))
        if not colon and not repo.lower().endswith(SUFFIXES):
            return CatalogueEntry(model, places=(Location(repo),))
    return None


def redact_url(url: str) -> str:
    """An address without what may be secret in it: user, password, query and fragment."""
    address = urlsplit(url)
    host = address.netloc.rpartition("@")[2]
    return f"{address.scheme}://{host}{address.path}"
