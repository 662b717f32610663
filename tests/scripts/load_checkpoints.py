"""Load every checkpoint in a folder with little memory, and print as JSON how each one was refused.

    python load_checkpoints.py FOLDER BYTES

BYTES is the address space that loading may take beyond that of the imported program.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import torch

from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import CheckpointError
from rgt_cli.network import RGT, RGTConfig


def main(folder: Path, spare: int) -> None:
    """Print {file name: [seconds of a processor, kind of error or "loaded", its text]}."""
    torch.set_num_threads(1)
    with torch.device("meta"):
        RGT(RGTConfig())  # what is imported on first use counts as the program
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + spare
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    results = {}
    for path in sorted(folder.iterdir()):
        started = time.process_time()
        kind, text = "loaded", ""
        try:
            load_network(path)
        except CheckpointError as error:
            kind, text = "CheckpointError", str(error)
        except BaseException as error:  # whatever it is, it is the result
            kind, text = type(error).__name__, str(error)
        results[path.name] = [time.process_time() - started, kind, text]
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
