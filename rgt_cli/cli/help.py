"""`rgt help`: list the topics of the manual, or show one of them."""

from __future__ import annotations

import difflib
import re
import sys
from importlib import resources

import click

from rgt_cli.cli.candidates import words
from rgt_cli.cli.command import Command, common
from rgt_cli.errors import UsageError

TOPICS = (
    "images",
    "videos",
    "folders",
    "models",
    "compare",
    "performance",
    "clusters",
    "configuration",
    "evaluate",
    "python",
    "reference",
)
"""The pages of the manual, `rgt_cli/docs/TOPIC.md`, in the order of the list."""

_MAX_WIDTH = 100
"""Columns. Longer lines are tiring to read, however wide the terminal is."""
_PAGE_LINK = re.compile(r"\[([^\]]+)\]\([\w./#-]+\)")
"""A link to another page or to a file of the project. A terminal cannot follow it."""


@click.command(cls=Command)
@click.argument("topic", required=False, shell_complete=words(TOPICS))
@common
@click.pass_context
def help(context: click.Context, topic: str | None) -> None:
    """Show the manual, topic by topic.

    \b
    Examples:
      rgt help             list the topics
      rgt help videos      read one, in a pager
      rgt help upscale     list the options of a command

    If stdout is not a terminal, the text of the topic is printed as Markdown.
    """
    if topic is None:
        click.echo(_list_topics())
    elif topic in TOPICS:
        _show(read_page(topic))
    else:
        click.echo(_command_help(context, topic))


def read_page(topic: str) -> str:
    """Return the Markdown text of a page of the manual."""
    page = resources.files("rgt_cli") / "docs" / f"{topic}.md"
    return page.read_text(encoding="utf-8")


def summary_of(page: str) -> str:
    """Return the sentence below the title of a page."""
    return page.split("\n\n", 2)[1]


def _list_topics() -> str:
    formatter = click.HelpFormatter(max_width=_MAX_WIDTH)
    with formatter.section("Topics"):
        formatter.write_dl([(topic, summary_of(read_page(topic))) for topic in TOPICS])
    formatter.write_paragraph()
    formatter.write_text("Run `rgt help TOPIC` to read one of them.")
    return formatter.getvalue().rstrip("\n")


def _show(page: str) -> None:
    """Show a page in a pager, or print its Markdown text if stdout is not a terminal."""
    if not sys.stdout.isatty():
        click.echo(page, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=min(Console().width, _MAX_WIDTH))
    with console.capture() as capture:
        console.print(Markdown(_PAGE_LINK.sub(r"\1", page), hyperlinks=False))
    click.echo_via_pager(capture.get())


def _command_help(context: click.Context, name: str) -> str:
    """Return what `rgt NAME --help` prints.

    Raises:
        UsageError: There is no such topic or command.
    """
    group = context.parent.command if context.parent else None
    if not isinstance(group, click.Group) or (command := group.get_command(context, name)) is None:
        names = [*TOPICS, *(group.list_commands(context) if isinstance(group, click.Group) else ())]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(TOPICS)}"
        raise UsageError(f"{name!r} is not a topic of the manual: {hint}")
    return click.Context(command, info_name=name, parent=context.parent).get_help()
