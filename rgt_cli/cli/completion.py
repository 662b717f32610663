"""`rgt completion`: let a shell complete commands, options, files and the names of models."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
)

from rgt_cli.cli.command import COMPLETION, Command, common
from rgt_cli.cli.console import Console
from rgt_cli.cli.param_types import ChoiceType
from rgt_cli.errors import ExitCode
from rgt_cli.files import cannot_write, write_text

_SHELLS = ("bash", "zsh", "fish")


@add_completion_class
class _Bash(BashComplete):
    """bash, which passes `--option=value` as three words."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, beginning = super().get_completion_args()
        return [word for word in args if word != "="], beginning


@add_completion_class
class _Zsh(ZshComplete):
    """zsh, which loads the script for the first completion: it must register itself for the others."""

    source_template = ZshComplete.source_template.replace(
        '    %(complete_func)s "$@"\n',
        '    compdef %(complete_func)s %(prog_name)s\n    %(complete_func)s "$@"\n',
    )


@add_completion_class
class _Fish(FishComplete):
    """fish, with commas in values and in descriptions."""

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


def completer(cli: click.Command, shell: str) -> ShellComplete:
    """Return the Click object that completes `rgt` in a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(cli, {"obj": Console()}, "rgt", COMPLETION)


def answer(cli: click.Command) -> NoReturn:
    """Print the candidates that the script of a shell asks for, and end the process.

    If this fails, nothing is printed, since it would appear in the middle of the typed line.
    """
    try:
        code = int(shell_complete(cli, {"obj": Console()}, "rgt", COMPLETION, os.environ[COMPLETION]))
    except Exception:
        code = ExitCode.SOME_FAILED
    sys.exit(code)


@click.command(cls=Command)
@click.argument("shell", metavar="bash|zsh|fish", type=ChoiceType(_SHELLS))
@click.option("--install", is_flag=True, help="Write the script to where the shell loads it from.")
@common
@click.pass_context
def completion(context: click.Context, shell: str, install: bool) -> None:
    """Print the script that lets a shell complete commands, options, files and names of models.

    \b
    Examples:
      rgt completion bash --install
      rgt completion zsh --install
      rgt completion fish --install
      eval "$(rgt completion bash)"      for the current shell only
    """
    script = completer(context.find_root().command, shell).source()
    if not install:
        click.echo(script, nl=False)
        return
    path = script_path(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_text(path, script)
    console: Console = context.obj
    console.info(f"{path}: written")
    console.info(_next_step(shell, path))


def script_path(shell: str) -> Path:
    """Return where a shell loads the script from; for zsh, where it does if the folder is in fpath."""
    if shell == "fish":
        return _folder("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / "rgt.fish"
    data = _folder("XDG_DATA_HOME", ".local/share")
    if shell == "zsh":
        return data / "zsh" / "site-functions" / "_rgt"
    own = os.environ.get("BASH_COMPLETION_USER_DIR")
    return (Path(own) if own else data / "bash-completion") / "completions" / "rgt"


def _folder(variable: str, default: str) -> Path:
    """Return a folder of the XDG specification, which ignores relative paths."""
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else Path.home() / default


def _next_step(shell: str, path: Path) -> str:
    if shell == "zsh":
        rc = Path(os.environ.get("ZDOTDIR") or "~") / ".zshrc"
        return f"in {rc}, before compinit, add: fpath=('{path.parent}' $fpath)"
    needed = ", if the package bash-completion is installed" if shell == "bash" else ""
    return f"{shell} loads it when it starts next{needed}"
