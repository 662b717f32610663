"""Upscale arrays: device, precision, memory, tiles and their blending, transparency, any size."""

from rgt_cli.inference.multipass import MultiPassUpscaler
from rgt_cli.inference.threads import use_threads
from rgt_cli.inference.upscaler import NetworkUpscaler

__all__ = ["MultiPassUpscaler", "NetworkUpscaler", "use_threads"]
