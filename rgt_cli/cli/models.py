"""`rgt models`: what there is, what is kept here, and where."""

import dataclasses
import json
from pathlib import Path

import click

from rgt_cli.checkpoints import cache
from rgt_cli.checkpoints.catalogue import CatalogueEntry, Location, catalogue, lookup
from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.errors import CheckpointError, ExitCode, OutputError, UsageError

scale_option = click.option(
    "-s", "--scale", type=click.IntRange(2, 4), help="Of a short name. Default: 4."
)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models that have a name, or look after the ones kept here.

    A model is named by its short name (`rgt`), its full name (`rgt-x4`), `owner/repo:file` on the
    Hugging Face Hub, an https address or a path. They are kept under HF_HOME.
    """
    if context.invoked_subcommand:
        return
    rows = _listed()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [
        [
            row["name"],
            row["short"],
            row["variant"],
            f"x{row['scale']}" if row["scale"] else "",
            row["purpose"],
            row["license"],
            format_bytes(row["bytes"]) if row["bytes"] else "",
            row["state"],
        ]
        for row in rows
    ]
    columns = ["name", "short", "variant", "scale", "purpose", "license", "size", "state"]
    context.obj.table(columns, table)


def _listed() -> list[dict]:
    """The facts of every entry of the catalogue, then of everything else that is kept."""
    records = {record.name: record for record in cache.all_records().values()}
    entries = list(catalogue().values())
    named = {entry.name for entry in entries}
    entries += [CatalogueEntry(name) for name in records if name not in named]
    return [
        {
            "name": entry.name,
            "short": entry.short,
            "variant": entry.variant,
            "scale": entry.scale,
            "purpose": entry.purpose,
            "note": entry.note,
            "license": entry.license,
            "author": entry.author,
            "bytes": entry.size,
            "state": "bundled" if entry.bundled else "cached" if entry.name in records else "remote",
        }
        for entry in entries
    ]


@models.command()
@click.argument("model")
@scale_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(model: str, scale: int | None, as_json: bool) -> None:
    """Tell all that is known of MODEL; of one that is not kept here, what the catalogue knows."""
    found = lookup(model, scale)
    facts: dict[str, object] = {}
    path = found if isinstance(found, Path) else found.bundled or cache.cached_path(found)
    if isinstance(found, CatalogueEntry):
        record = cache.read_record(cache.folder_of(found))
        facts |= {"name": found.name, "purpose": found.purpose, "note": found.note}
        facts |= {"license": found.license, "attribution": found.author}
        facts |= {"source": " or ".join(map(str, found.places)), "size": found.size}
        facts |= {"sha256": _sha256(found, record), "revision": _revision(found, record)}
    if path:
        facts |= _network_facts(path)
    else:
        facts["state"] = f"not kept here; fetch it: rgt models get {model}"
    facts = {key: value for key, value in facts.items() if value not in ("", None)}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        click.echo(f"{key:{width}}  {value}")


def _sha256(entry: CatalogueEntry, record: cache.CachedCheckpoint | None) -> str | None:
    if record:
        return record.sha256
    known: list[Location] = [place for place in entry.places if place.sha256]
    return entry.sha256 or (known[0].sha256 if known else None)


def _revision(entry: CatalogueEntry, record: cache.CachedCheckpoint | None) -> str | None:
    known = [place.revision for place in entry.places if place.revision]
    return record.revision if record else next(iter(known), None)


def _network_facts(path: Path) -> dict[str, object]:
    """What is found in a checkpoint file itself."""
    from rgt_cli.checkpoints.load import load_network
    from rgt_cli.network.cost import multiply_adds

    network = load_network(path)
    config = dataclasses.asdict(network.config)
    groups, blocks = len(network.config.depth), sum(network.config.depth)
    facts: dict[str, object] = {"architecture": f"{_variant(config)}: {groups} groups, {blocks} blocks"}
    facts |= {key.replace("_", " "): _plain(value) for key, value in config.items()}
    parameters = sum(p.numel() for p in network.parameters())
    facts["parameters"] = f"{parameters / 1e6:.2f} M"
    facts["multiply-adds"] = (
        f"{multiply_adds(network.config, 128, 128) / 1e9:.1f} G for 128 x 128 pixels"
    )
    facts["file"] = f"{path} ({format_bytes(path.stat().st_size)})"
    facts["sha256 of file"] = cache.sha256_of(path)
    return facts


def _variant(config: dict) -> str:
    """The name of the published variant with these hyper-parameters."""
    published = {6: "RGT-S", 8: "RGT"}
    like = (config["embed_dim"], set(config["depth"]), set(config["num_heads"])) == (180, {6}, {6})
    return published.get(len(config["depth"]), "RGT of its own kind") if like else "RGT of its own kind"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return round(value, 4) if isinstance(value, float) else value


@models.command()
@click.argument("names", metavar="NAME...", nargs=-1)
@scale_option
@click.option("--all", "everything", is_flag=True, help="Every model of the catalogue.")
@click.pass_obj
def get(console: Console, names: tuple[str, ...], scale: int | None, everything: bool) -> None:
    """Fetch models, so that they are there when there is no network."""
    if bool(names) == everything:
        raise click.UsageError("name the models to fetch, or pass --all")
    entries = list(catalogue().values()) if everything else [_entry(name, scale) for name in names]
    from rgt_cli.checkpoints.download import download

    failed: list[str] = []
    for entry in entries:
        if entry.bundled:
            continue
        try:
            with console.downloads() as progress:
                downloaded = download(entry, progress)
        except CheckpointError as error:
            failed.append(entry.name)
            console.error(str(error))
            continue
        for note in downloaded.notes:
            console.warn(note)
        console.info(f"{entry.name}: {downloaded.path} ({format_bytes(downloaded.path.stat().st_size)})")
    if failed:
        raise SystemExit(ExitCode.CHECKPOINT)


def _entry(name: str, scale: int | None) -> CatalogueEntry:
    found = lookup(name, scale)
    if isinstance(found, Path):
        raise UsageError(
            f"{name}: is a file; only models of the catalogue, the Hub or an address are kept"
        )
    return found


@models.command()
@click.pass_obj
def verify(console: Console) -> None:
    """Hash everything that is bundled or kept here again."""
    bundled = [entry for entry in catalogue().values() if entry.bundled]
    sound = {
        e.name: bool(e.bundled) and cache.sha256_of(Path(str(e.bundled))) == e.sha256 for e in bundled
    }
    sound |= {r.name: cache.verify_cached(folder, r) for folder, r in cache.all_records().items()}
    for name, good in sound.items():
        click.echo(f"{'sound' if good else 'DAMAGED':8}{name}")
    if damaged := [name for name, good in sound.items() if not good]:
        raise CheckpointError(f"damaged: {', '.join(damaged)}; remove and get them again")


@models.command()
@click.argument("model")
@scale_option
@click.pass_obj
def remove(console: Console, model: str, scale: int | None) -> None:
    """Delete what is kept of MODEL, its file in the Hub's cache and the trust in its hash too."""
    entry = _entry(model, scale)
    if entry.bundled:
        raise UsageError(f"{entry.name}: is part of the installation")
    if not cache.folder_of(entry).is_dir():
        raise CheckpointError(f"{entry.name}: is not kept here")
    try:
        freed = cache.remove(entry)
    except OSError as error:
        raise OutputError(f"{entry.name}: cannot be removed: {error.strerror}") from error
    console.info(f"{entry.name}: removed, {format_bytes(freed)} freed")


@models.command()
@click.argument("model")
@scale_option
def path(model: str, scale: int | None) -> None:
    """Print where the file of MODEL lies."""
    found = lookup(model, scale)
    where = found if isinstance(found, Path) else found.bundled or cache.cached_path(found)
    if where is None:
        raise CheckpointError(f"{model}: is not kept here; fetch it: rgt models get {model}")
    click.echo(str(where))


@models.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--fp16", "half", is_flag=True, help="Store half precision: half the size.")
@click.option("--overwrite", is_flag=True, help="Replace a target that exists.")
@click.pass_obj
def convert(console: Console, source: Path, target: Path, half: bool, overwrite: bool) -> None:
    """Write the checkpoint SOURCE as slim safetensors to TARGET: the weights, and nothing else."""
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: must end with .safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; pass --overwrite to replace it")
    from rgt_cli.checkpoints.convert import convert as rewrite

    try:
        rewrite(source, target, half)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
    before, after = source.stat().st_size, target.stat().st_size
    console.info(f"{target}: {format_bytes(after)}, from {format_bytes(before)}")
