"""The `rgt` command: its subcommands, and how every error becomes one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

import click

from rgt_cli.cli.command import COMPLETION, Group, common
from rgt_cli.cli.console import Console
from rgt_cli.cli.signals import ignore_signals, unwind_on_signals
from rgt_cli.errors import ExitCode, RGTError
from rgt_cli.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "upscale": "Upscale images and videos.",
    "compare": "Compare models on an image or on frames of a video, in a page with a slider.",
    "models": "List, suggest, describe, download, verify, remove and convert models.",
    "evaluate": "Measure PSNR and SSIM of models on benchmark datasets.",
    "config": "Show the configuration and where each value comes from.",
    "completion": "Let a shell complete commands, options, files and models.",
    "clean": "Remove what interrupted runs have left.",
    "doctor": "Check this machine and the installation.",
    "bench": "Measure the speed and memory use of a model on this machine.",
    "help": "Show the manual, topic by topic.",
}
"""Each command, in a module of its name, and its description."""


class LazyGroup(Group):
    """A group that imports a command only when it is run, so that `rgt --help` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"rgt_cli.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the commands, without importing them, and the options that begin with `incomplete`."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=description)
            for name, description in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="rgt")
@common
def cli() -> None:
    """Upscale images and videos with RGT, a transformer for super-resolution.

    \b
    Examples:
      rgt upscale photo.jpg         write photo_x4.jpg
      rgt upscale photos -r -s 2    a folder with its subfolders
      rgt models                    list the models
      rgt help                      list the topics of the manual
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run `rgt` and end the process with its exit code."""
    if COMPLETION in os.environ:
        from rgt_cli.cli.completion import answer

        answer(cli)
    unwind_on_signals()
    console = Console()
    warnings.simplefilter("ignore")  # libraries warn about damaged files, which we report
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = cli.main(arguments, prog_name="rgt", standalone_mode=False, obj=console) or 0
    except (click.ClickException, RGTError) as error:
        if console.debug:
            raise
        console.error(_usage_text(error) if isinstance(error, click.ClickException) else str(error))
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.error("interrupted: finished outputs are kept")
        code = ExitCode.INTERRUPTED
    except MemoryError:
        if console.debug:
            raise
        console.error("out of memory: free some, or use a smaller --tile")
        code = ExitCode.OUT_OF_MEMORY
    except Exception as error:
        if console.debug:
            raise
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            console.error(f"{error.filename}: the path is too long for this system")
            sys.exit(int(ExitCode.BAD_USAGE))
        console.error(f"unexpected {type(error).__name__}: {error}; add --debug to see where")
        code = ExitCode.SOME_FAILED
    ignore_signals()
    sys.exit(int(code))


def _usage_text(error: click.ClickException) -> str:
    """Return the message of Click in our style: the parameter first, and no full stop."""
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        hint = error.param_hint
        if hint is None and error.param is not None:
            is_argument = isinstance(error.param, click.Argument)
            hint = error.param.human_readable_name if is_argument else max(error.param.opts, key=len)
        message = error.message[:1].lower() + error.message[1:]
        text = f"{hint.strip('[.]')}: {message}" if isinstance(hint, str) else message
    else:
        text = error.format_message()
        text = text[:1].lower() + text[1:]
    return text.rstrip(".")
