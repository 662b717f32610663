"""The `rgt` command: its subcommands, and how every failure becomes one line and an exit code."""

import importlib
import logging
import signal
import sys
import warnings
from types import FrameType
from typing import NoReturn

import click

from rgt_cli import __version__
from rgt_cli.cli.console import Console
from rgt_cli.errors import ExitCode, RGTError

COMMANDS = {
    "upscale": "Enlarge pictures and films: files, folders, patterns.",
    "evaluate": "Score models on benchmarks, beside bicubic, Lanczos and the paper.",
    "models": "List, describe, fetch, verify, remove and convert models.",
    "bench": "Measure speed, memory and error of a model on this machine.",
}
"""Each command, in a module of its name, and what it does in one line."""


class LazyGroup(click.Group):
    """Imports a command only when it is run, so that `rgt --help` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"rgt_cli.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="rgt")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, quiet: bool, debug: bool) -> None:
    """Upscale pictures with the Recursive Generalization Transformer.

    \b
    Exit codes: 0 done, 1 an input failed, 2 bad usage, 3 no input found, 4 checkpoint missing,
    corrupt or refused, 5 out of memory, 6 output cannot be written, 130 interrupted.
    """
    context.obj = Console(quiet=quiet)
    context.meta["debug"] = debug


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run `rgt` and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _ended)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _ended)
    console = Console()
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    if not debug:  # what libraries say of a damaged file is said once, in our own words
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = cli.main(arguments, prog_name="rgt", standalone_mode=False) or ExitCode.DONE
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except RGTError as error:
        if debug:
            raise
        console.error(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.error("interrupted; what was finished stays")
        code = ExitCode.INTERRUPTED
    except Exception as error:
        if debug:
            raise
        if isinstance(error, MemoryError):
            console.error("out of memory; free some, or use a smaller --tile")
            code = ExitCode.OUT_OF_MEMORY
        else:
            console.error(f"unexpected {type(error).__name__}: {error}; `rgt --debug` shows where")
            code = ExitCode.SOME_FAILED
    sys.exit(int(code))


def _ended(signum: int, frame: FrameType | None) -> NoReturn:
    """Unwind, so that no partial file stays behind; more of the same signal would end the unwinding."""
    signal.signal(signum, signal.SIG_IGN)
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + signum)
