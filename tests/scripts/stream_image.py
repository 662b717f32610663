"""Stream an image, with every pixel repeated, while the memory is limited.

Usage: stream_image.py SOURCE TARGET MEGABYTES

MEGABYTES is what may be allocated in addition to what the libraries need. Pages of mapped files do not
count, since the system can drop them at any time.
"""

import re
import resource
import sys
from pathlib import Path

import imagecodecs  # noqa: F401 - so that its memory is not counted
import tifffile  # noqa: F401

from rgt_cli.media import tiff  # noqa: F401
from tests.helpers.images import stream

found = re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())
assert found
limit = (int(found[1]) << 10) + (int(sys.argv[3]) << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
stream(Path(sys.argv[1]), Path(sys.argv[2]))
