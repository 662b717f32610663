"""Upscale images with RGT, the Recursive Generalization Transformer.

from rgt_cli import Upscaler

large = Upscaler(scale=4).upscale(image)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rgt_cli.inference import Upscaler

__all__ = ["Upscaler", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import torch only when `Upscaler` is used, so that `rgt --help` starts at once."""
    if name == "Upscaler":
        from rgt_cli.inference import Upscaler

        return Upscaler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
