"""Blend two checkpoints of the same shape, weight by weight, to get some of the strengths of both.

\b
Example:
  python weights/blend.py FIRST SECOND --share 0.85 --out OUT
"""

from __future__ import annotations

from pathlib import Path

import click

from rgt_cli.checkpoints.convert import write_slim
from rgt_cli.checkpoints.load import load_network

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(help=__doc__)
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option(
    "--share", type=click.FloatRange(0, 1), required=True, help="Share of the second checkpoint."
)
@click.option("--out", type=FILE, required=True, help="Checkpoint to write.")
def blend(first: Path, second: Path, share: float, out: Path) -> None:
    """Run the command."""
    one, other = load_network(first), load_network(second)
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    write_slim({name: a.lerp(b, share) for (name, a), b in pairs}, one.config, out, half=True)


if __name__ == "__main__":
    blend()
