"""`rgt config`: what is configured, and where each value comes from."""

from __future__ import annotations

from typing import Any

import click

from rgt_cli.cli import configuration, options
from rgt_cli.cli.command import Group, common
from rgt_cli.cli.configurable import complete_profile, configuration_of
from rgt_cli.cli.console import Console
from rgt_cli.cli.json_output import print_json

_PLACES = {"folder": "file in the working folder", "user": "file of the user"}


@click.group(cls=Group)
@common
def config() -> None:
    """Show the configuration of `rgt upscale`.

    \b
    Examples:
      rgt config show
      rgt config show --profile clips

    `rgt help configuration` describes the files and environment variables.
    """


@config.command()
@click.option(
    "--profile", metavar="NAME", shell_complete=complete_profile,
    help="Show the values with this profile.",
)  # fmt: skip
@options.json_flag
@common
@click.pass_obj
def show(console: Console, profile: str | None, as_json: bool) -> None:
    """Show each option of `rgt upscale` with its value and origin.

    \b
    Examples:
      rgt config show
      rgt config show --profile clips
      RGT_SCALE=2 rgt config show --json
    """
    from rgt_cli.cli.upscale import upscale

    rows = _values(upscale, profile)
    upscale.warn_of_typos(console)
    files = {place: str(path) for place, path in configuration.files() if configuration.exists(path)}
    if as_json:
        print_json({"files": files, "values": rows})
        return
    console.table(
        ["option", "value", "set by"],
        [[f"--{row['option']}", _shown(row["value"]), row["origin"] or ""] for row in rows],
    )
    for place, path in configuration.files():
        state = "" if configuration.exists(path) else " (does not exist)"
        console.info(f"{_PLACES[place]}: {path.absolute()}{state}")


def _values(command: click.Command, profile: str | None) -> list[dict[str, Any]]:
    """Return the value of each option of a command, in the order of its help."""
    arguments = [] if profile is None else ["--profile", profile]
    root = click.get_current_context().find_root()
    context = command.make_context(command.name, arguments, parent=root, obj=Console())
    settings = configuration_of(context).settings
    return [
        _row(key, option, settings.get(key)) for key, option in configuration.keys_of(command).items()
    ]


def _row(key: str, option: click.Option, setting: configuration.Setting | None) -> dict[str, Any]:
    if setting is None:
        default = option.to_info_dict()["default"]
        return {"option": key, "value": default, "source": "default", "origin": None}
    source, origin = setting.place, setting.origin
    return {"option": key, "value": setting.value, "source": source, "origin": origin}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
