"""A name -> a file -> a network.

`load_network` reads a file (and needs torch); `resolve` turns a name into a file (and does not).
"""

from rgt_cli.checkpoints.cache import Progress
from rgt_cli.checkpoints.resolve import Resolved, resolve

__all__ = ["Progress", "Resolved", "resolve"]
