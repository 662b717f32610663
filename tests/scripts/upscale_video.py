"""Upscale the video SOURCE to TARGET by repeating pixels, in segments of 0.2 s."""

import sys
from pathlib import Path

from rgt_cli.jobs.options import VideoOptions
from tests.helpers.videos import upscale

upscale(Path(sys.argv[1]), Path(sys.argv[2]), video=VideoOptions(segment_seconds=0.2))
