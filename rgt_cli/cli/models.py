"""`rgt models`: list, suggest, describe, download, verify, remove and convert models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from rgt_cli.checkpoints import cache
from rgt_cli.checkpoints.catalogue import AUTOMATIC, CatalogueEntry, catalogue, lookup
from rgt_cli.checkpoints.describe import (
    MEASURED_SIDE,
    FileFacts,
    ModelFacts,
    all_models,
    describe,
    describe_file,
    with_file,
)
from rgt_cli.cli import candidates, options
from rgt_cli.cli.command import Group, common
from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.cli.json_output import print_json
from rgt_cli.cli.suggest import suggest
from rgt_cli.errors import CheckpointError, ExitCode, UsageError


@click.group(cls=Group, invoke_without_command=True)
@options.json_flag
@common
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List, suggest, describe, download, verify, remove and convert models.

    \b
    Examples:
      rgt models                          list all models
      rgt models suggest photos           which model suits each image of a folder
      rgt models info photo               describe one model
      rgt models download rgt -s 2        download one for use without a network
      rgt models --json                   list them for a program

    A model is given by its short name (rgt), its full name (rgt-x4), owner/repo:file on the Hugging
    Face Hub, an https address, or a path. Downloaded models are cached in the folder HF_HOME.
    """
    if context.invoked_subcommand:
        return
    facts = all_models()
    if as_json:
        print_json({"models": [asdict(model) for model in facts]})
        return
    console: Console = context.obj
    columns = ["name", "scale", "made for"]
    optional = ["s/MP", "state", "variant", "full name", "size", "license"]
    console.table([*columns, *optional], [_row(model) for model in facts], optional=optional)
    console.info(_legend())


models.add_command(suggest)


def _row(model: ModelFacts) -> list[str]:
    seconds = model.seconds_per_megapixel
    is_default = any(model.short == bundled for bundled, _ in AUTOMATIC.values())
    return [
        f"{model.short or model.name}{' *' if is_default else ''}",
        f"x{model.scale}" if model.scale else "",
        model.description or "",
        f"{seconds:.0f}" if seconds else "",
        model.state,
        model.variant or "",
        model.name if model.short else "",
        format_bytes(model.bytes) if model.bytes else "",
        model.license or "",
    ]


def _legend() -> str:
    """Return the explanation of the marks and units of the table."""
    on_gpu = " and ".join(published for _, published in AUTOMATIC.values())
    return (
        f"* is used without -m; on a CUDA GPU, {on_gpu} are. "
        "s/MP: seconds for a megapixel of input at x4, on two CPU cores"
    )


@models.command()
@click.argument("model", shell_complete=candidates.models)
@options.native_scale
@options.json_flag
@common
@click.pass_obj
def info(console: Console, model: str, scale: int | None, as_json: bool) -> None:
    """Describe MODEL, its license and its network.

    \b
    Examples:
      rgt models info photo
      rgt models info rgt -s 2
      rgt models info RGT_S_x4.pth        a checkpoint file of your own
      rgt models info photo --json        for a program

    The hyper-parameters and the cost of the network are printed if MODEL has been downloaded.
    """
    facts = describe(lookup(model, scale))
    file = describe_file(Path(facts.path)) if facts.path else None
    if file:
        facts = with_file(facts, file)
    if as_json:
        print_json(asdict(facts) | {"file": asdict(file) if file else None})
        return
    lines = _model_lines(facts, model)
    if file:
        if file.sha256 != facts.sha256:
            lines |= {"size of path": format_bytes(file.bytes), "sha256 of path": file.sha256}
        lines |= _network_lines(file)
    console.facts({title: text for title, text in lines.items() if text})


def _model_lines(facts: ModelFacts, model: str) -> dict[str, str | None]:
    """Return the facts of a model as text: title -> text. What it is for comes first."""
    seconds = facts.seconds_per_megapixel
    missing = f"not downloaded; run: rgt models download {model}"
    return {
        "made for": facts.description,
        "name": facts.name,
        "variant": facts.variant,
        "scale": f"x{facts.scale}" if facts.scale else None,
        "speed": f"{seconds:.0f} s for a megapixel of input at x4, on two CPU cores"
        if seconds
        else None,
        "purpose": facts.purpose,
        "license": facts.license,
        "author": facts.author,
        "source": " or ".join(facts.source),
        "revision": facts.revision,
        "size": format_bytes(facts.bytes) if facts.bytes else None,
        "sha256": facts.sha256,
        "state": missing if facts.state == "remote" else facts.state,
        "path": facts.path,
    }


def _network_lines(file: FileFacts) -> dict[str, str]:
    """Return the facts of the network in a file as text: title -> text."""
    measured = f"{MEASURED_SIDE} x {MEASURED_SIDE}"
    return {
        "architecture": f"{file.groups} residual groups, {file.blocks} blocks",
        "parameters": f"{file.parameters / 1e6:.2f} M",
        "multiply-adds": f"{file.multiply_adds / 1e9:.1f} G for an input of {measured} pixels",
        **{key.replace("_", " "): _plain(value) for key, value in file.config.items()},
    }


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@models.command()
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=candidates.models)
@options.native_scale
@click.option("--all", "everything", is_flag=True, help="Download every model in the catalogue.")
@common
@click.pass_obj
def download(console: Console, names: tuple[str, ...], scale: int | None, everything: bool) -> int:
    """Download models, for use without a network.

    \b
    Examples:
      rgt models download photo general
      rgt models download rgt -s 2
      rgt models download owner/repo:file.pth
      rgt models download --all

    Models are also downloaded when they are first used. Each file is verified and cached.
    """
    if bool(names) == everything:
        raise click.UsageError("give the names of the models to download, or --all")
    entries = list(catalogue().values()) if everything else [_entry(name, scale) for name in names]
    from rgt_cli.checkpoints.download import download as download_entry

    code = ExitCode.DONE
    for entry in entries:
        if entry.bundled:
            if not everything:
                console.info(f"{entry.name}: bundled, nothing to download")
            continue
        try:
            with console.downloads() as progress:
                downloaded = download_entry(entry, progress)
        except CheckpointError as error:
            code = ExitCode.CHECKPOINT
            console.error(str(error))
            continue
        for note in downloaded.notes:
            console.warn(note)
        console.info(f"{entry.name}: {downloaded.path} ({format_bytes(downloaded.path.stat().st_size)})")
    return code


def _entry(name: str, scale: int | None) -> CatalogueEntry:
    """Return the entry of a model that the cache can contain."""
    found = lookup(name, scale)
    if isinstance(found, Path):
        raise UsageError(
            f"{name}: is a file on this machine; give a model name, a Hub repository or a URL"
        )
    return found


@models.command()
@common
def verify() -> None:
    """Verify the hash of every bundled and cached model.

    \b
    Examples:
      rgt models verify
    """
    intact = {
        entry.name: cache.sha256_of(entry.bundled) == entry.sha256
        for entry in catalogue().values()
        if entry.bundled
    }
    intact |= {r.name: cache.verify_cached(folder, r) for folder, r in cache.all_records().items()}
    for name, is_intact in intact.items():
        click.echo(f"{'ok' if is_intact else 'DAMAGED':8}{name}")
    if damaged := [name for name, is_intact in intact.items() if not is_intact]:
        raise CheckpointError(f"damaged: {', '.join(damaged)}; remove and download them again")


@models.command()
@click.argument("model", shell_complete=candidates.cached_models)
@options.native_scale
@common
@click.pass_obj
def remove(console: Console, model: str, scale: int | None) -> None:
    """Remove MODEL from the cache.

    \b
    Examples:
      rgt models remove photo
      rgt models remove owner/repo:file.pth

    Its file in the cache of the Hub and its pinned hash are removed too.
    """
    entry = _entry(model, scale)
    if entry.bundled:
        raise UsageError(f"{entry.name}: is part of the installation and cannot be removed")
    if not (freed := cache.remove(entry)):
        raise CheckpointError(f"{entry.name}: is not in the cache")
    console.info(f"{entry.name}: removed, {format_bytes(freed)} freed")


@models.command()
@click.argument("model", shell_complete=candidates.models)
@options.native_scale
@common
def path(model: str, scale: int | None) -> None:
    """Print the path of the file of MODEL.

    \b
    Examples:
      rgt models path tiny -s 2
    """
    found = describe(lookup(model, scale)).path
    if found is None:
        raise CheckpointError(f"{model}: not downloaded; run: rgt models download {model}")
    click.echo(found)


@models.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option(
    "--fp16", "half", is_flag=True, help="Store the weights in half precision, at half the size."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@common
@click.pass_obj
def convert(console: Console, source: Path, target: Path, half: bool, overwrite: bool) -> None:
    """Convert a checkpoint to safetensors, with the weights only.

    \b
    Examples:
      rgt models convert RGT_S_x4.pth rgt-s-x4.safetensors
      rgt models convert RGT_S_x4.pth rgt-s-x4.safetensors --fp16

    INPUT is any file that `rgt upscale -m` accepts. OUTPUT loads faster and is smaller.
    """
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: unsupported suffix: use .safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: already exists; replace it with --overwrite")
    from rgt_cli.checkpoints.convert import convert as convert_file

    convert_file(source, target, half)
    before, after = source.stat().st_size, target.stat().st_size
    console.info(f"{target}: {format_bytes(after)}, from {format_bytes(before)}")
