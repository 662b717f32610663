"""README and the manual as data: their code blocks, commands and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
PAGES = sorted((ROOT / "rgt_cli" / "docs").glob("*.md"))
"""The manual."""
DOCUMENTS = [README, *PAGES]
REFERENCE = ROOT / "rgt_cli" / "docs" / "reference.md"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def code_blocks(text: str, language: str) -> list[str]:
    """Return the content of every code block in one language."""
    return [content for name, content in _BLOCK.findall(text) if name == language]


def code_spans(text: str) -> list[str]:
    """Return the code spans outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))


def shell_commands(text: str) -> list[str]:
    """Return the commands of all `sh` blocks that run `rgt` from PATH, without their comments."""
    lines = "".join(code_blocks(text, "sh")).splitlines()
    commands = [re.sub(r"\s+#\s.*$", "", line) for line in lines]
    return [command for command in commands if any(rgt_calls(command))]


def rgt_calls(command: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `rgt` in a shell command, redirections included."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in (*lexer, "|"):
        if word != "|":
            words.append(word)
            continue
        while words and re.match(r"\w+=", words[0]):  # a variable
            del words[0]
        if words[:1] == ["rgt"]:
            yield words[1:]
        words = []


def section(text: str, heading: str) -> str:
    """Return the text between a heading and the next heading of any level.

    Raises:
        AssertionError: There is no such heading.
    """
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of all tables, without their headings."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    headings = {at - 1 for at, row in enumerate(cells) if set("".join(row)) == {"-"}}
    return [row for at, row in enumerate(cells) if not {at, at - 1} & headings]


def click_commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Context]]:
    """Yield a command and all commands below it: the full name, and a context with the command."""
    context = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    yield name, context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            child = command.get_command(context, each)
            assert child is not None
            yield from click_commands(child, f"{name} {each}", context)


def options_of(context: click.Context) -> list[click.Option]:
    """Return the options of a command, `--help` included."""
    return [p for p in context.command.get_params(context) if isinstance(p, click.Option)]


def flags_of(context: click.Context) -> set[str]:
    """Return the flags of a command, long and short."""
    return {flag for each in options_of(context) for flag in (*each.opts, *each.secondary_opts)}
