"""The header of a WebP, whose decoder reserves memory for the whole image when it opens one.

Source: RFC 9649.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from rgt_cli.media.layout import Header, bytes_in, one_image, require
from rgt_cli.size import Dimensions

_FRAME_HEAD = 16
"""Bytes of a frame of an animation before its own chunks."""


def read_layout(file: BinaryIO) -> Header:
    """Read the header of a WebP, and count its frames.

    Raises:
        ValueError: The file is damaged or truncated.
    """
    length = bytes_in(file)
    require(length, 20, "it has no content")
    end = 8 + int.from_bytes(file.read(8)[4:], "little")
    require(length, end - 1, f"it has {length} of {end} bytes")  # not all write the last odd byte
    size: Dimensions | None = None
    has_alpha, frames, images, position = False, 0, 0, 12
    while position + 8 <= end:
        file.seek(position)
        kind, count = struct.unpack("<4sL", file.read(8))
        head = file.read(min(count, 10))
        require(length, position + 8 + count, f"a chunk of {count} bytes is incomplete")
        if kind == b"VP8X" and count >= 10:
            has_alpha = bool(head[0] & 0x10)
            size = Dimensions(1 + _int24(head[4:7]), 1 + _int24(head[7:10]))
        elif kind == b"ANMF":
            require(count, _FRAME_HEAD + 8, "a frame has no image")
            frames += 1
        elif kind in (b"VP8 ", b"VP8L"):
            stored, is_clear = _lossy(head, count) if kind == b"VP8 " else _lossless(head)
            size, has_alpha, images = size or stored, has_alpha or is_clear, images + 1
        position += 8 + count + count % 2
    if size is None or not (frames or images):
        raise ValueError("it contains no image")
    return one_image("webp", size, 4 if has_alpha else 3, frames=max(frames, 1))


def _int24(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _lossy(head: bytes, count: int) -> tuple[Dimensions, bool]:
    """Return the size of a lossy image, and that it has no alpha of its own."""
    if len(head) < 10 or head[3:6] != b"\x9d\x01\x2a":
        raise ValueError("its image has no header")
    require(count - 10, _int24(head[:3]) >> 5, "its first partition is incomplete")
    width, height = struct.unpack_from("<HH", head, 6)
    return Dimensions(width & 0x3FFF, height & 0x3FFF), False


def _lossless(head: bytes) -> tuple[Dimensions, bool]:
    """Return the size of a lossless image, and whether it has alpha."""
    if len(head) < 5 or head[0] != 0x2F:
        raise ValueError("its image has no header")
    bits = int.from_bytes(head[1:5], "little")
    return Dimensions(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), bool(bits >> 28 & 1)
