"""Tables that fit the terminal: lines are wrapped between words, and less important columns left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
from rich.cells import cell_len

GAP = 2
"""Columns of the terminal between two columns of a table."""
WIDE = 160
"""The width where there is neither a terminal nor COLUMNS."""
COMFORTABLE = 24
"""The width to which columns of text shrink before an optional column is left out."""


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    optional: Sequence[str] = (),
    stderr: bool = False,
) -> None:
    """Print a table in the width of the terminal.

    Args:
        columns: Their titles.
        rows: The cells of each row, without control characters.
        optional: Titles of columns to leave out where the table is too wide, the last ones first.
        stderr: Print on stderr instead of stdout.
    """
    width = available_width(stderr)
    shown = list(range(len(columns)))
    for dropped in (None, *reversed(optional)):
        shown = [at for at in shown if columns[at] != dropped]
        cells = [[columns[at], *(row[at] for row in rows)] for at in shown]
        if _narrowest(cells, COMFORTABLE) <= width:
            break
    if _narrowest(cells, 0) <= width:
        _print_grid(cells, width, stderr)
        return
    for row in rows:
        facts = [(title, cell) for title, cell in zip(columns, row, strict=True) if cell]
        _print_lines([*_fact_lines(facts, width), ""], stderr)


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown on stdout.

    Args:
        columns: Their titles.
        rows: The cells of each row, without control characters.
    """
    for row in (columns, ["---"] * len(columns), *rows):
        click.echo(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")


def print_facts(facts: Sequence[tuple[str, str]], indent: int = GAP) -> None:
    """Print pairs of a title and a text on stdout, one per line.

    Args:
        facts: The pairs.
        indent: The indentation of a text on the line after its title, if it has a long word.
    """
    _print_lines(_fact_lines(facts, available_width(stderr=False), indent), stderr=False)


def available_width(stderr: bool) -> int:
    """Return the width of the terminal: COLUMNS if it is set, for a pipe too."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    stream = sys.stderr if stderr else sys.stdout
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDE
    except (OSError, ValueError):
        return WIDE


def _narrowest(cells: list[list[str]], comfortable: int) -> int:
    """Return the least width of a table whose columns shrink to `comfortable`, but not below a word."""
    needed = [max(_longest_word(column), min(_widest(column), comfortable)) for column in cells]
    return sum(needed) + GAP * (len(cells) - 1)


def _widest(column: list[str]) -> int:
    return max(map(cell_len, column))


def _longest_word(column: list[str]) -> int:
    return max((cell_len(word) for cell in column for word in cell.split()), default=0)


def _fit(cells: list[list[str]], width: int) -> list[int]:
    """Return the width of each column: as wide as its longest cell, or else the widest ones are cut."""
    least = [_longest_word(column) for column in cells]
    widest = [_widest(column) for column in cells]
    left = width - GAP * (len(cells) - 1)
    for limit in range(max(widest, default=0), -1, -1):
        widths = [max(low, min(high, limit)) for low, high in zip(least, widest, strict=True)]
        if sum(widths) <= left:
            break
    return widths


def _print_grid(cells: list[list[str]], width: int, stderr: bool) -> None:
    """Print the columns of a table, each with its title first."""
    widths = _fit(cells, width)
    title, *rows = [
        [_wrapped(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for row in zip(*cells, strict=True)
    ]
    lines = [*_grid_lines(title, widths), "-" * min(width, sum(widths) + GAP * (len(widths) - 1))]
    for row in rows:
        lines += _grid_lines(row, widths)
    _print_lines(["", *lines, ""], stderr)


def _grid_lines(row: list[list[str]], widths: list[int]) -> list[str]:
    """Return the lines of a row of which each cell is a list of lines."""
    lines = []
    for at in range(max(map(len, row))):
        parts = [cell[at] if at < len(cell) else "" for cell in row]
        padded = [part + " " * (wide - cell_len(part)) for part, wide in zip(parts, widths, strict=True)]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _fact_lines(facts: Sequence[tuple[str, str]], width: int, below: int = GAP) -> list[str]:
    """Return the lines of titles with their texts, wrapped between words.

    Args:
        facts: The pairs of a title and a text.
        width: The width of the terminal.
        below: The indentation of a text on the line after its title, where it does not fit beside it.
    """
    indent = max((cell_len(title) for title, _ in facts), default=0) + GAP
    lines = []
    for title, text in facts:
        if _longest_word([text]) <= width - indent:
            first, *rest = _wrapped(text, width - indent)
            lines += [f"{title:{indent}}{first}", *(" " * indent + line for line in rest)]
        else:
            lines += [title.rstrip(), *(" " * below + line for line in _wrapped(text, width - below))]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text; a word that is longer than a line has a line of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and cell_len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _print_lines(lines: list[str], stderr: bool) -> None:
    click.echo("\n".join(lines), err=stderr)
