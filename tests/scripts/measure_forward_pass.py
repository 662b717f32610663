"""Print the peak of memory, in bytes, of one forward pass of an RGT.

Usage: measure_forward_pass.py SIDE fp32|bf16, with the side of the input in pixels.
"""

import sys

import torch

from rgt_cli.inference.device import reuse_freed_memory
from rgt_cli.inference.memory import peak_memory
from rgt_cli.network import RGT, RGTConfig

side, half = int(sys.argv[1]), sys.argv[2] == "bf16"
cpu = torch.device("cpu")
reuse_freed_memory()
network = RGT(RGTConfig(depth=(3,), num_heads=(6,))).eval()
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
    network(torch.rand(1, 3, 32, 32))
    before = peak_memory(cpu)
    network(torch.rand(1, 3, side, side))
print(peak_memory(cpu) - before)
