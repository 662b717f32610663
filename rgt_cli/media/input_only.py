"""Read the image formats that are not written: netpbm (PBM, PGM, PPM, PAM) and DPX.

FFmpeg decodes them through imageio, since Pillow does not support DPX and PAM, and reduces other netpbm
images to 8 bits per channel.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from rgt_cli.media.picture import Picture
from rgt_cli.size import Dimensions

NAMES = ("netpbm", "dpx")
"""The names of the formats, for messages."""
_HEAD_BYTES = 4096
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(rb"P[1-6]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})\s")
_PAM_LINE = re.compile(rb"^(WIDTH|HEIGHT|MAXVAL)[ \t]+(\d{1,9})\s*$", re.MULTILINE)
_DPX_BYTE_ORDERS = {b"SDPX": ">", b"XPDS": "<"}
_DPX_SIZE_OFFSET = 772
_DEMUXERS = {b"P1": "pbm", b"P2": "pgm", b"P3": "ppm", b"P4": "pbm", b"P5": "pgm", b"P6": "ppm",
             b"P7": "pam", b"SD": "dpx", b"XP": "dpx"}  # fmt: skip
"""The first two bytes -> the demuxer of FFmpeg, which must not guess one that opens other files."""

_FORMS = {
    (True, False, False): "gray",
    (True, False, True): "gray16le",
    (False, False, False): "rgb24",
    (False, False, True): "rgb48le",
    (False, True, False): "rgba",
    (False, True, True): "rgba64le",
}
"""Gray without alpha, alpha, more than 8 bits per channel -> the pixel format to decode to."""


def is_dpx(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a DPX."""
    return head[:4] in _DPX_BYTE_ORDERS


def size_of(path: Path) -> Dimensions | None:
    """Return the size of a netpbm or DPX image by its header; None if the file is neither."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if order := _DPX_BYTE_ORDERS.get(head[:4]):
        return Dimensions(*struct.unpack_from(f"{order}LL", head, _DPX_SIZE_OFFSET))
    if head.startswith(b"P7\n"):
        return _pam_size(head.partition(b"ENDHDR")[0])
    found = _NETPBM.match(head)
    return Dimensions(int(found[1]), int(found[2])) if found else None


def _pam_size(head: bytes) -> Dimensions | None:
    found = {name: int(value) for name, value in _PAM_LINE.findall(head)}
    if found.get(b"MAXVAL", 0) < 255:  # FFmpeg does not scale such values if there is alpha
        return None
    return Dimensions(found.get(b"WIDTH", 0), found.get(b"HEIGHT", 0))


def read_input_only(path: Path) -> Picture:
    """Decode an image for which `size_of` returns a size.

    An image of more than 8 bits per channel is scaled to 16.

    Raises:
        OSError, ValueError: The file is damaged, or of an unsupported kind.
    """
    import av  # both are slow to import and rarely needed
    import imageio.v3 as imageio
    from imageio.plugins.pyav import PyAVPlugin

    with path.open("rb") as file:
        demuxer = _DEMUXERS[file.read(2)]
    try:
        with imageio.imopen(path, "r", plugin=PyAVPlugin, format=f"{demuxer}_pipe") as opened:
            layout = av.VideoFormat(opened.metadata()["video_format"])
            colors = [component for component in layout.components if not component.is_alpha]
            has_alpha = len(colors) < len(layout.components)
            is_gray = len(colors) == 1
            form = _FORMS[is_gray and not has_alpha, has_alpha, colors[0].bits > 8]
            array: np.ndarray = opened.read(index=0, format=form)
    except (TypeError, StopIteration) as error:  # imageio expects that there is a frame
        raise ValueError("it ends early, or is of an unsupported kind") from error
    alpha = np.ascontiguousarray(array[..., 3]) if has_alpha else None
    pixels = array[..., :3] if array.ndim == 3 else array
    if is_gray and has_alpha:
        pixels = pixels[..., 0]
    return Picture(np.ascontiguousarray(pixels), alpha)
