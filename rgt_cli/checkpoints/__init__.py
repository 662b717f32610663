"""Checkpoints: from a model name to a file, and from a file to a network.

`resolve` returns the file of a name and does not import torch. `load.load_network` reads a file.
"""

from rgt_cli.checkpoints.cache import DownloadProgress
from rgt_cli.checkpoints.resolve import Resolved, resolve

__all__ = ["DownloadProgress", "Resolved", "resolve"]
