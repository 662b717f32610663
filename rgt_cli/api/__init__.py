"""The Python API: upscale images in memory, and files as `rgt upscale` does."""

from rgt_cli.api.files import upscale_file, upscale_folder, upscale_video
from rgt_cli.api.upscaler import Upscaler
from rgt_cli.jobs import Outcome

__all__ = ["Outcome", "Upscaler", "upscale_file", "upscale_folder", "upscale_video"]
