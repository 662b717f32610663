"""`rgt clean`: remove what interrupted runs have left."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rgt_cli.cli.command import Command, common
from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.errors import NoInputError


@click.command(cls=Command)
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@common
@click.pass_obj
def clean(console: Console, folder: Path, dry_run: bool) -> None:
    """Remove what interrupted runs have left.

    These are the hidden folders with finished segments of videos, and unfinished files. FOLDER and its
    subfolders are searched; the default is the current folder. What a running process uses is kept.

    \b
    Examples:
      rgt clean --dry-run     list them
      rgt clean videos        remove them from a folder

    A video whose segments are removed starts again from its first frame.
    """
    from rgt_cli.jobs.remains import find_remains

    if not folder.is_dir():
        raise NoInputError(f"{folder}: no such folder")
    found = find_remains(folder)
    if not dry_run:
        found = [remains for remains in found if remains.remove()]
    if found:
        rows = [
            [os.fspath(remains.path), os.fspath(remains.target or ""), format_bytes(remains.size)]
            for remains in found
        ]
        console.table(["to remove" if dry_run else "removed", "segments of", "size"], rows)
    size = format_bytes(sum(remains.size for remains in found))
    what = f"{len(found)} {'would be ' * dry_run}removed, {size}" if found else "nothing to remove"
    console.info(f"{folder}: {what}")
