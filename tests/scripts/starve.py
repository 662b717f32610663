"""Upscale an image after the kernel has limited the memory of this process.

Usage: starve.py BYTES, the memory left for the image. The shape of the output and the reduced tile are
printed.
"""

import re
import resource
import sys
from pathlib import Path

import numpy as np

from rgt_cli.inference import NetworkUpscaler

image = np.random.default_rng(0).integers(0, 256, (450, 600, 3), np.uint8)
# The network alone: the bundled model would start with tiles that are small enough.
upscaler = NetworkUpscaler(NetworkUpscaler("tiny", 2, device="cpu").network, device="cpu")
upscaler.upscale(image[:64, :64])
status = Path("/proc/self/status").read_text()
used = int(re.findall(r"VmData:\s+(\d+)", status)[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[1]), -1))
result = upscaler.upscale(image)
print(*result.shape, upscaler.reduced_tile)
