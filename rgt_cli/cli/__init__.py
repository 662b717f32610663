"""The command line: what the user types and sees."""

from rgt_cli.cli.main import main

__all__ = ["main"]
