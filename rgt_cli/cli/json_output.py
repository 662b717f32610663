"""JSON on stdout, for programs."""

from __future__ import annotations

import json
from typing import Any

import click

SCHEMA = 1
"""Version of the fields of all JSON output. It changes when a field is renamed, removed, or changes its
meaning. The manual lists the fields under `rgt help reference`."""


def print_json(fields: dict[str, Any]) -> None:
    """Print an object with these fields, and the version of the output before them."""
    click.echo(json.dumps({"schema": SCHEMA} | fields, indent=2))
