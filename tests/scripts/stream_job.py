"""Run a job with a stub network while memory is limited, and print the memory that it needed in MB.

Usage: stream_job.py SOURCE TARGET MEGABYTES

MEGABYTES is what the upscaler may use in addition to what the loaded libraries need.
"""

import re
import sys
from pathlib import Path

import imagecodecs  # noqa: F401 - so that its memory is not counted

from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.jobs import Job, process
from rgt_cli.media import format_of, tiff  # noqa: F401
from rgt_cli.size import Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import Nearest


def peak_memory() -> int:
    """Return the most memory that this process has used, in MB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) >> 10


before = peak_memory()
limit = (before + int(sys.argv[3])) << 20
upscaler = MultiPassUpscaler(
    Size(scale=2), lambda scale: NetworkUpscaler(Nearest(scale or 2), device="cpu", memory=limit), [2]
)
target = Path(sys.argv[2])
process(Job(Path(sys.argv[1]), target, format_of(target)), make_context(upscaler))
print(peak_memory() - before)
