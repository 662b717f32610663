"""`rgt config`: what is configured, and where each value comes from."""

from __future__ import annotations

import json
import os
from typing import Any

import click
from click.core import ParameterSource

from rgt_cli.cli import configuration, options
from rgt_cli.cli.command import Group, common
from rgt_cli.cli.configurable import configuration_of
from rgt_cli.cli.console import Console

SCHEMA = 1
"""Version of the JSON output. It changes when a key is renamed or removed."""


@click.group(cls=Group)
@common
def config() -> None:
    """Show the configuration of `rgt upscale`.

    \b
    Examples:
      rgt config show
      rgt config show --profile film

    `rgt help configuration` describes the files and environment variables.
    """


@config.command()
@click.option("--profile", metavar="NAME", help="Show the values with this profile.")
@options.json_flag
@common
@click.pass_obj
def show(console: Console, profile: str | None, as_json: bool) -> None:
    """Show the value of each option of `rgt upscale`, and where it comes from.

    \b
    Examples:
      rgt config show
      rgt config show --profile film
      RGT_SCALE=2 rgt config show --json
    """
    rows = _values(profile)
    files = {place: str(path) for place, path in configuration.files() if configuration.exists(path)}
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "files": files, "values": rows}, indent=2))
        return
    console.table(
        ["option", "value", "set by"],
        [[f"--{row['option']}", _shown(row["value"]), row["origin"] or ""] for row in rows],
    )
    for place, path in configuration.files():
        state = "" if configuration.exists(path) else ", does not exist"
        console.info(f"file of the {place}: {path.absolute()}{state}")


def _values(profile: str | None) -> list[dict[str, Any]]:
    """Return the value of each option, in the order of the help."""
    from rgt_cli.cli.upscale import upscale

    arguments = [] if profile is None else ["--profile", profile]
    context = upscale.make_context("upscale", arguments, obj=Console())
    settings = configuration_of(context).settings
    return [
        _row(context, key, option, settings.get(key))
        for key, option in configuration.keys_of(upscale).items()
    ]


def _row(
    context: click.Context, key: str, option: click.Option, setting: configuration.Setting | None
) -> dict[str, Any]:
    if context.get_parameter_source(str(option.name)) is ParameterSource.ENVIRONMENT:
        variable = str(option.envvar)
        value: Any = os.environ[variable]
        place, origin = "environment", variable
    elif setting:
        value, place, origin = setting.value, setting.place, setting.origin
    else:
        value = option.to_info_dict()["default"]
        place, origin = "default", None
    return {"option": key, "value": value, "source": place, "origin": origin}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
