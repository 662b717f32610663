"""What a shell offers for the values of options and arguments, for `shell_complete` of Click."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from rgt_cli.checkpoints import cache
from rgt_cli.checkpoints.catalogue import AUTOMATIC, catalogue

Items = list[CompletionItem[str]]
Candidates = Callable[[click.Context, click.Parameter, str], Items]
"""Returns what may complete a value, given its beginning."""


def words(names: Iterable[str]) -> Candidates:
    """Return candidates that are fixed words."""

    def complete(context: click.Context, parameter: click.Parameter, beginning: str) -> Items:
        return [CompletionItem(name) for name in names if name.startswith(beginning)]

    return complete


def files(context: click.Context, parameter: click.Parameter, beginning: str) -> Items:
    """Offer files and folders, which the shell itself finds."""
    return [CompletionItem(beginning, type="file")]


def folders(context: click.Context, parameter: click.Parameter, beginning: str) -> Items:
    """Offer folders, which the shell itself finds."""
    return [CompletionItem(beginning, type="dir")]


def models(context: click.Context, parameter: click.Parameter, beginning: str) -> Items:
    """Offer the short names of models; if none matches, full names; if none matches, files."""
    short = {name: "chosen for each input" for name in list(AUTOMATIC)[:1]}
    short |= {entry.short: entry.description for entry in catalogue().values()}
    short |= {record.name: "in the cache" for record in _others_in_cache()}
    full = {name: entry.description for name, entry in catalogue().items()}
    found = _matching(short, beginning) or _matching(full, beginning)
    return found or files(context, parameter, beginning)


def cached_models(context: click.Context, parameter: click.Parameter, beginning: str) -> Items:
    """Offer the names of models in the cache."""
    entries = catalogue().values()
    cached = {entry.name: entry.description for entry in entries if cache.cached_path(entry)}
    return _matching(cached | {record.name: "" for record in _others_in_cache()}, beginning)


def listed(candidates: Candidates) -> Candidates:
    """Return candidates for the last value of a list that is separated by commas."""

    def complete(context: click.Context, parameter: click.Parameter, beginning: str) -> Items:
        before, comma, last = beginning.rpartition(",")
        items = candidates(context, parameter, last)
        if not comma:
            return items
        words = (item for item in items if item.type == "plain")  # a shell finds no files after a comma
        return [CompletionItem(f"{before},{item.value}", help=item.help) for item in words]

    return complete


def _others_in_cache() -> list[cache.CachedCheckpoint]:
    """Return the models in the cache that are not in the catalogue."""
    return [record for record in cache.all_records().values() if record.name not in catalogue()]


def _matching(names: dict[str, str], beginning: str) -> Items:
    beginning = beginning.lower()
    return [
        CompletionItem(name, help=description or None)
        for name, description in names.items()
        if name.lower().startswith(beginning)
    ]
