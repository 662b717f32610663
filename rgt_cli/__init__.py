"""Upscale images and videos with RGT, the Recursive Generalization Transformer.

from rgt_cli import Upscaler, upscale_file

large = Upscaler(scale=4).upscale(image)
upscale_file("clip.mkv", scale=2)
"""

from typing import TYPE_CHECKING, Any

from rgt_cli.errors import (
    CheckpointError,
    DeviceError,
    InputError,
    NoInputError,
    OutOfMemoryError,
    OutputError,
    OutputNameError,
    RGTError,
    UsageError,
    WorkerError,
)
from rgt_cli.version import __version__

if TYPE_CHECKING:
    from rgt_cli.api import Outcome, Upscaler, upscale_file, upscale_folder, upscale_video

__all__ = [
    "CheckpointError",
    "DeviceError",
    "InputError",
    "NoInputError",
    "OutOfMemoryError",
    "Outcome",
    "OutputError",
    "OutputNameError",
    "RGTError",
    "Upscaler",
    "UsageError",
    "WorkerError",
    "__version__",
    "upscale_file",
    "upscale_folder",
    "upscale_video",
]


def __getattr__(name: str) -> Any:
    """Import what needs other libraries only when it is used, so that `rgt --help` starts at once."""
    if name in __all__:
        from rgt_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, including those that are not imported yet."""
    return __all__
