"""`rgt doctor`: what works on this machine, what does not, and which command fixes it."""

from __future__ import annotations

import click

from rgt_cli.cli import options
from rgt_cli.cli.command import Command, common
from rgt_cli.cli.console import Console
from rgt_cli.cli.json_output import print_json
from rgt_cli.doctor import Check, Examination, State, examine
from rgt_cli.doctor.check import without_home
from rgt_cli.errors import ExitCode

_MARKS = {State.OK: "ok", State.NOTE: "note", State.FAIL: "FAIL"}
_INDENT = 8
"""Columns before the name of a check."""
_NAME_WIDTH = 13
"""Columns for the names of checks, so that those of all groups are aligned."""


@click.command(cls=Command)
@options.json_flag
@common
@click.pass_obj
def doctor(console: Console, as_json: bool) -> int:
    """Check this machine and the installation.

    \b
    Examples:
      rgt doctor
      rgt doctor --json     for a program

    Every check has a mark: ok, note (something optional is missing) or FAIL. Where a command helps, it
    is printed below. The exit code is 1 if a check failed. The last lines are for a bug report; they
    contain no names of people, no paths and no secrets.
    """
    examination = Examination()
    for group, checks, examination in examine():  # noqa: B007 - the last one is used below
        if not as_json:
            _print_group(console, group, checks)
    if as_json:
        print_json(_as_json(examination))
    else:
        _print_report(console, examination)
    return ExitCode.SOME_FAILED if examination.failed else ExitCode.DONE


def _print_group(console: Console, group: str, checks: list[Check]) -> None:
    click.echo(group)
    for check in checks:
        title = f"  {_MARKS[check.state]:4}  {check.name:{_NAME_WIDTH}}"
        console.facts({title: without_home(check.text)}, _INDENT)
        if check.command:  # on a line of its own, to be copied
            click.echo(f"{' ' * _INDENT}run: {check.command}")


def _print_report(console: Console, examination: Examination) -> None:
    click.echo("\nFor a bug report:\n")
    console.facts({f"{group}:": text for group, text in examination.summaries.items()})
    click.echo()
    count = examination.failed
    failed = "no check" if not count else "1 check" if count == 1 else f"{count} checks"
    console.info(f"{failed} failed, {examination.seconds:.1f} s")


def _as_json(examination: Examination) -> dict[str, object]:
    return {
        "failed": examination.failed,
        "seconds": round(examination.seconds, 3),
        "checks": [
            {
                "group": group,
                "name": check.name,
                "state": check.state.value,
                "text": without_home(check.text),
                "command": check.command,
                "facts": dict(check.facts),
            }
            for group, checks in examination.groups.items()
            for check in checks
        ],
        "report": examination.report,
    }
