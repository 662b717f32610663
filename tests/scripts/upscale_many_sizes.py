"""Upscale images of many sizes; print the peak of memory after half of them and after all.

Usage: upscale_many_sizes.py COUNT. The peaks are in bytes.
"""

import sys

import numpy as np
import torch

from rgt_cli.inference import NetworkUpscaler, use_threads
from rgt_cli.inference.memory import peak_memory

count = int(sys.argv[1])
use_threads(1)  # or waiting for one another takes most of the time of a busy machine
upscaler = NetworkUpscaler("tiny", 2, device="cpu")
# In random order, so that the second half is not of larger images than the first.
sizes = np.random.default_rng(0).permutation(24 * 24)[:count]
for done, (height, width) in enumerate(zip(*np.divmod(sizes, 24), strict=True), start=1):
    upscaler.upscale(np.zeros((32 + height, 32 + width, 3), np.uint8))
    if done in (count // 2, count):
        print(peak_memory(torch.device("cpu")))
