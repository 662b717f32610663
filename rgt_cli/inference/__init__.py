"""An array in, an array out: device and precision, memory budget, tiling and blending."""

from rgt_cli.inference.device import use_threads
from rgt_cli.inference.upscaler import Upscaler

__all__ = ["Upscaler", "use_threads"]
