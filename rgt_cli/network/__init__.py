"""The network of the paper: RGT, its residual groups, L-SA, RG-SA and HAI, on torch alone.

This code is arranged for speed and memory: strips of rows, sums in place, folded weights. Read
`tests/network/reference_rgt.py` first: it is the network as the paper describes it, in plain code. Tests
check that both have the same outputs.
"""

from rgt_cli.network.rgt import RGT, RGTConfig

__all__ = ["RGT", "RGTConfig"]
