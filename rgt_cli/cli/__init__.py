"""The command line: what a person types and sees."""

from rgt_cli.cli.main import main

__all__ = ["main"]
