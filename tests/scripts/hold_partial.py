"""Hold a file that is being written, or a lock, until this process is killed.

Usage: hold_partial.py atomic|scratch|lock PATH. The path of the file is printed.
"""

import sys
import time
from pathlib import Path

from rgt_cli.files import atomic_write, exclusive, scratch_file

kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "atomic":
    with atomic_write(path / "target") as file:
        print(file.name, flush=True)
        time.sleep(600)
elif kind == "scratch":
    with scratch_file(path, 1000) as scratch:
        print(scratch, flush=True)
        time.sleep(600)
else:
    with exclusive(path):
        print(path, flush=True)
        time.sleep(600)
