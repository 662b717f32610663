"""Find damage inside the pixels of a JPEG, which its decoder conceals: it fills them with gray."""

from __future__ import annotations

import math
from pathlib import Path

from rgt_cli.media import jpeg

_UNSUPPORTED = frozenset([0xC3, *range(0xC5, 0xD0)]) - {0xC8, 0xCC}
"""The kinds of frames that FFmpeg does not decode: lossless, hierarchical and arithmetic."""
_MOST_PIXELS = 200_000_000
"""FFmpeg refuses images of a few more."""


def has_damaged_pixels(path: Path) -> bool:
    """Return whether a part of the pixels of a JPEG cannot be decoded.

    FFmpeg decodes the file in its strict mode, in which it refuses what other decoders pass over. Files
    that it does not support count as undamaged.
    """
    with path.open("rb") as file:
        frame = jpeg.read_frame(file)
    if frame.marker in _UNSUPPORTED or math.prod(frame.size) > _MOST_PIXELS:
        return False
    import av  # slow to import
    import av.logging

    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        with av.logging.Capture(local=True):
            decoder.decode(av.Packet(path.read_bytes()))
            decoder.decode(None)
    except av.error.InvalidDataError:
        return True
    except (av.error.FFmpegError, ValueError):  # an unusual layout of channels
        return False
    return False
