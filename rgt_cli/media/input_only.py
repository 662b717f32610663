"""Read the image formats that are not written: netpbm (PBM, PGM, PPM, PAM) and DPX.

FFmpeg decodes them through imageio, since Pillow does not support DPX and PAM, and reduces other netpbm
images to 8 bits per channel.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from rgt_cli.media.layout import Header, bytes_in, one_image, require
from rgt_cli.media.picture import Picture
from rgt_cli.size import Dimensions

NAMES = ("netpbm", "dpx")
"""The names of the formats, for messages."""
_HEAD_BYTES = 4096
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(
    rb"P([1-6])" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})(?:" + _SPACE + rb"(\d{1,5}))?\s"
)
_PAM_LINE = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d{1,9})\s*$", re.MULTILINE)
_DPX_BYTE_ORDERS = {b"SDPX": ">", b"XPDS": "<"}
_DPX_SIZE_OFFSET = 772
_DPX_ELEMENT_OFFSET = 800
_DPX_ENCODING = slice(_DPX_ELEMENT_OFFSET + 6, _DPX_ELEMENT_OFFSET + 8)
"""Where the header specifies whether the pixels are compressed."""
_DPX_CHANNELS = {6: 1, 50: 3, 51: 4}
"""Descriptor of an image element -> its channels, for gray, RGB and RGBA."""
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
    return Dimensions(int(found[2]), int(found[3])) if found else None


def _pam_size(head: bytes) -> Dimensions | None:
    found = {name: int(value) for name, value in _PAM_LINE.findall(head)}
    if found.get(b"MAXVAL", 0) < 255:  # FFmpeg does not scale such values if there is alpha
        return None
    return Dimensions(found.get(b"WIDTH", 0), found.get(b"HEIGHT", 0))


def read_layout(path: Path, name: str) -> Header:
    """Read the header of an image, and compare its length with its size.

    Args:
        path: The file.
        name: The name of its format, one of `NAMES`.

    Raises:
        ValueError, struct.error: The file is damaged, truncated, or of an unsupported kind.
    """
    size = size_of(path)
    if size is None:
        raise ValueError("its header is damaged")
    with path.open("rb") as file:
        length = bytes_in(file)
        head = file.read(_HEAD_BYTES)
    channels, bits, stored = _dpx_kind(head) if name == "dpx" else _netpbm_kind(head)
    fewest = size.width * size.height * channels * stored / 8
    require(length - _pixels_start(head), fewest, f"{length} bytes are too few for {size} pixels")
    return one_image(name, size, channels, 16 if bits > 8 else 8)


def _pixels_start(head: bytes) -> int:
    """Return where the pixels of a DPX start; 0 for netpbm, whose header is short."""
    order = _DPX_BYTE_ORDERS.get(head[:4])
    return int(struct.unpack_from(f"{order}L", head, 4)[0]) if order else 0


def _dpx_kind(head: bytes) -> tuple[int, int, int]:
    """Return the channels, the bits of each, and how many of them the file needs at least."""
    descriptor, bits = head[_DPX_ELEMENT_OFFSET], head[_DPX_ELEMENT_OFFSET + 3]
    channels = _DPX_CHANNELS.get(descriptor, 3)
    is_complete = descriptor in _DPX_CHANNELS and not any(head[_DPX_ENCODING])
    return channels, bits, bits if is_complete else 0


def _netpbm_kind(head: bytes) -> tuple[int, int, int]:
    """Return as `_dpx_kind`; in text, each channel has a digit at least, which is a byte."""
    if head.startswith(b"P7"):
        found = {name: int(value) for name, value in _PAM_LINE.findall(head.partition(b"ENDHDR")[0])}
        bits = 16 if found[b"MAXVAL"] > 255 else 8
        return found.get(b"DEPTH", 1), bits, bits
    match = _NETPBM.match(head)
    assert match  # `size_of` has found it
    kind = int(match[1])
    if kind in (1, 4):
        return 1, 1, 8 if kind == 1 else 1
    bits = 16 if int(match[4] or 0) > 255 else 8
    return 3 if kind in (3, 6) else 1, bits, bits if kind > 3 else 8


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
