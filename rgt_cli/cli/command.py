"""Commands whose options come in groups, and the options that every command has.

A group has a title in `--help`, and its values arrive at the command as one object.
"""

from __future__ import annotations

import difflib
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rgt_cli.cli.console import Console
from rgt_cli.errors import ExitCode

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETION = "_RGT_COMPLETE"
"""The environment variable by which the completion script of a shell asks `rgt` for candidates."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help lists the options of each group under its title."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the options that begin with `incomplete`, each with the first sentence of its help."""
        items = super().shell_complete(ctx, incomplete)
        for item in items:
            item.help = item.help and item.help.split(". ")[0].rstrip(".")
        return items

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order of their options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        ungrouped: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                section = getattr(parameter, "section", None)
                (sections.setdefault(section, []) if section else ungrouped).append(record)
        for title, records in (*sections.items(), ("Other" if sections else "Options", ungrouped)):
            with formatter.section(title):
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; suggest an option for a name that other programs use."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ours = _OTHER_NAMES.get(error.option_name)
            near = ours or next(iter(error.possibilities or []), None)
            hint = f"did you mean {near}?" if near else "see --help"
            raise click.UsageError(f"{error.option_name} is not an option: {hint}", ctx) from error


_OTHER_NAMES = {
    "--force": "--overwrite",
    "--out": "--output",
    "--outdir": "--output",
    "--factor": "--scale",
    "--fp16": "--precision",
    "--gpu": "--device",
    "--tta": "--self-ensemble",
}
"""Names of options in other programs -> ours."""


class Group(click.Group):
    """A group of commands that suggests one for a typo."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; without any, print the help and exit with the code of wrong usage."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(ExitCode.BAD_USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not (args[0].startswith("-") or ctx.resilient_parsing):
            near = difflib.get_close_matches(args[0], names, n=1)
            if Path(args[0]).exists():
                hint = f"did you mean `rgt upscale {args[0]}`?"
            elif near:
                hint = f"did you mean {near[0]}?"
            else:
                hint = f"use one of {', '.join(names)}"
            raise click.UsageError(f"{args[0]!r} is not a command: {hint}", ctx)
        return super().resolve_command(ctx, args)


def section(title: str, *options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Return a decorator that adds options under one title to a command.

    Args:
        title: The heading in `--help`.
        options: Decorators as `click.option` returns them, in the order of the help.
    """

    def decorate(function: Function) -> Function:
        parameters = function.__dict__.setdefault("__click_params__", [])
        known = len(parameters)
        for add in reversed(options):
            add(function)
        for parameter in parameters[known:]:
            parameter.section = title
        return function

    return decorate


def group(
    title: str, argument: str, build: Callable[..., Any], *options: Callable[[Any], Any]
) -> Callable[[Function], Function]:
    """Return a decorator that adds options under one title to a command, which receives one object.

    Args:
        title: The heading in `--help`.
        argument: The parameter of the command that receives what `build` returns.
        build: Called with the value of each option by its name.
        options: Decorators as `click.option` returns them, in the order of the help.
    """

    def decorate(function: Function) -> Function:
        names: list[str] = []

        @functools.wraps(function)
        def call(*arguments: Any, **values: Any) -> Any:
            values[argument] = build(**{name: values.pop(name) for name in names})
            return function(*arguments, **values)

        known = len(call.__dict__.get("__click_params__", ()))
        section(title, *options)(call)
        added = call.__dict__["__click_params__"][known:]
        names.extend(parameter.name for parameter in added if parameter.expose_value)
        return call  # type: ignore[return-value]

    return decorate


def _set_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.ensure_object(Console).quiet |= value


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        console = context.ensure_object(Console)
        console.debug = True
        console.log_decisions(logging.ERROR)


def _set_verbose(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        level = logging.INFO if value == 1 else logging.DEBUG
        context.ensure_object(Console).log_decisions(level)


def common(function: Function) -> Function:
    """Add the options that every command has."""
    for add in (
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=_set_debug,
            help="Show the traceback of an error.",
        ),
        click.option(
            "-v", "--verbose", count=True, expose_value=False, callback=_set_verbose,
            help="Print decisions: device, precision, tile, memory, resume. Twice: details.",
        ),
        click.option(
            "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet,
            help="Print only errors.",
        ),
    ):  # fmt: skip
        add(function)
    return function
