"""A name -> a file -> a network."""

from rgt_cli.checkpoints.bundled import resolve
from rgt_cli.checkpoints.load import load_network

__all__ = ["load_network", "resolve"]
