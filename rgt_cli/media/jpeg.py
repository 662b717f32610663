"""The header of a JPEG, and whether the file contains enough data for its size.

Source: ITU-T T.81, annexes B, F and G.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from rgt_cli.media.layout import Header, one_image, require
from rgt_cli.size import Dimensions

_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_AFTER_PIXELS = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""A marker that is neither a stuffed byte nor a restart of the entropy coder."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers that begin a frame, which describe its size."""
_BITS_PER_BLOCK = {0xC0: 2, 0xC1: 2, 0xC2: 1}
"""Kind of frame -> the fewest bits of a block of 8x8: a Huffman code for its mean, and one for its end,
which progressive files share between blocks. Arithmetic codes have no such limit."""
_END, _SCAN = 0xD9, 0xDA


class Frame(NamedTuple):
    """The header of the pixels."""

    marker: int
    """How they are encoded."""
    size: Dimensions
    sampling: tuple[tuple[int, int], ...]
    """Horizontal and vertical factor of each channel."""

    def fewest_bytes(self) -> float:
        """Return the fewest bytes that the pixels can be encoded in."""
        widest, highest = (max(factors) for factors in zip(*self.sampling, strict=True))
        blocks = sum(
            -(-self.size.width * across // (8 * widest)) * -(-self.size.height * down // (8 * highest))
            for across, down in self.sampling
        )
        return float(blocks * _BITS_PER_BLOCK.get(self.marker, 0) / 8)


def read_layout(file: BinaryIO) -> Header:
    """Read the header of a JPEG, and count the bytes of its pixels.

    Raises:
        ValueError: The file is damaged, truncated, or has too little data for its size.
    """
    frame: Frame | None = None
    pixel_bytes = 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for marker, segment, after in _segments(data):
            if marker in _FRAMES and frame is None:
                frame = _read_frame(marker, segment)
            pixel_bytes += after
    if frame is None:
        raise ValueError("it contains no image")
    require(
        pixel_bytes, frame.fewest_bytes(), f"{pixel_bytes} bytes are too few for {frame.size} pixels"
    )
    return one_image("jpeg", frame.size, 1 if len(frame.sampling) == 1 else 3)


def read_frame(file: BinaryIO) -> Frame:
    """Read the first frame header of a JPEG.

    Raises:
        ValueError: The file is damaged.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for marker, segment, _ in _segments(data):
            if marker in _FRAMES:
                return _read_frame(marker, segment)
    raise ValueError("it contains no image")


def _segments(data: mmap.mmap) -> Iterator[tuple[int, bytes, int]]:
    """Yield the marker and the content of each segment, and the entropy-coded bytes after it.

    Raises:
        ValueError: There is no end of the image.
    """
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END:
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        require(len(data), position + max(length, 2), "a segment is incomplete")
        segment = data[position + 2 : position + length]
        position += max(length, 2)
        start = position
        if marker == _SCAN:
            following = _AFTER_PIXELS.search(data, position)
            if following is None:
                break
            position = following.start()
        yield marker, segment, position - start
    raise ValueError("the file is truncated: its end is missing")


def _read_frame(marker: int, segment: bytes) -> Frame:
    try:
        _, height, width, channels = struct.unpack_from(">BHHB", segment)
        pairs = [divmod(segment[6 + 3 * index + 1], 16) for index in range(channels)]
    except (struct.error, IndexError) as error:
        raise ValueError("its frame header is damaged") from error
    if not pairs or min(min(pair) for pair in pairs) < 1:
        raise ValueError("its frame header is damaged")
    return Frame(marker, Dimensions(width, height), tuple(pairs))
