"""A command whose options can be configured: see `rgt_cli.cli.configuration`."""

from __future__ import annotations

import difflib
import os
import re
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

from rgt_cli.cli.command import Command
from rgt_cli.cli.configuration import (
    FILE,
    PREFIX,
    PROFILES,
    Configuration,
    keys_of,
    load_configuration,
    profile_names,
    variables_of,
)
from rgt_cli.cli.console import Console
from rgt_cli.errors import UsageError

_META = "rgt.configuration"


def complete_profile(
    context: click.Context, parameter: click.Parameter, beginning: str
) -> list[CompletionItem[str]]:
    """Offer the names of profiles."""
    with suppress(UsageError):
        return [CompletionItem(name) for name in profile_names() if name.startswith(beginning)]
    return []


profile_option = click.option(
    "--profile", metavar="NAME", expose_value=False, shell_complete=complete_profile,
    help=f"Use the values of [{PROFILES}.NAME] in {FILE}; see `rgt help configuration`.",
)  # fmt: skip


class ConfigurableCommand(Command):
    """A command whose options can be configured.

    Each of its flags has an opposite, such as --no-recursive, for what a configuration sets.
    """

    def opposites(self) -> dict[str, click.Option]:
        """Return the flags that undo those of a configuration, by their names."""
        return {f"--no-{key}": option for key, option in keys_of(self).items() if option.is_flag}

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the options that begin with `incomplete`; opposites only after --no-."""
        items = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("--no-"):
            items += [CompletionItem(name) for name in self.opposites() if name.startswith(incomplete)]
        return items

    def make_parser(self, ctx: click.Context) -> Any:
        """Return the parser of the command line."""
        parser = super().make_parser(ctx)
        for name, flag in self.opposites().items():
            parser.add_option(flag, [name], flag.name, action="store_const", const=False)
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; set the defaults of options by the configuration."""
        try:
            given: dict[str, Any] = self.make_parser(ctx).parse_args(list(args))[0]
        except click.UsageError:  # reported below
            return super().parse_args(ctx, args)
        asked = self.get_help_option(ctx)
        if not (ctx.resilient_parsing or (asked and asked.name in given)):
            names = {option.name: key for key, option in keys_of(self).items()}
            typed = {names[name]: value for name, value in given.items() if name in names}
            (variable,) = variables_of([PROFILES])
            profile = given.get(PROFILES) or os.environ.get(variable) or None
            configuration = load_configuration(ctx, profile, typed)
            ctx.meta[_META] = configuration
            ctx.default_map = dict(configuration.defaults)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. If it refuses a configured value, add the origin of the value."""
        configuration = configuration_of(ctx)
        console = ctx.ensure_object(Console)
        if keys := configuration.of_folder():
            console.info(f"using {FILE} of this folder: {', '.join(keys)}")
        self.warn_of_typos(console)
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise UsageError(f"{error}{_origins(str(error), configuration)}") from error

    def warn_of_typos(self, console: Console) -> None:
        """Warn about environment variables whose names resemble those of options."""
        known = variables_of([*keys_of(self), PROFILES])
        for variable in sorted(name for name in os.environ if name.startswith(PREFIX)):
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.85)
            if near and variable not in known:
                console.warn(f"{variable} is not used: did you mean {near[0]}?")


def configuration_of(context: click.Context) -> Configuration:
    """Return the configuration of a command that has parsed its arguments."""
    found = context.meta.get(_META)
    return found if isinstance(found, Configuration) else Configuration(settings={}, defaults={})


def _origins(message: str, configuration: Configuration) -> str:
    """Return where the options that a message names are configured."""
    named = [
        f"--{setting.key} is set by {setting.origin}"
        for setting in configuration.settings.values()
        if re.search(rf"--{re.escape(setting.key)}(?![\w-])", message)
    ]
    return f" ({'; '.join(named)})" if named else ""
