"""The header of a JPEG XL, since its decoder decodes all pixels before it reveals their number.

Source: ISO/IEC 18181-1:2022, annex D, and 18181-2:2021, clause 9.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from rgt_cli.media.layout import Header, bytes_in, one_image, require
from rgt_cli.size import Dimensions

_HEAD_BYTES = 4096
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""The aspect ratios that a header can refer to instead of a width."""
_GRAY = 1
_Choices = tuple[tuple[int, int], ...]
"""Four ways to store a number: (offset, number of bits), where the offset is added to the bits."""
_ENUM: _Choices = ((0, 0), (1, 0), (2, 4), (18, 6))


def read_layout(file: BinaryIO) -> Header:
    """Read the header of a JPEG XL.

    Raises:
        ValueError: The file is damaged or truncated.
    """
    bits = _Bits(_codestream(file))
    size = _size(bits)
    if bits.take(1):  # the default for everything else: three channels of 8 bits
        return one_image("jxl", size, 3)
    if bits.take(1):
        if bits.take(3) >= 4:  # the orientation, which the decoder applies
            size = Dimensions(size.height, size.width)
        _skip_extra_fields(bits)
    depth = _depth(bits)
    bits.take(1)
    extra = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
    is_gray = extra == 0 and _is_gray(bits)
    return one_image("jxl", size, (1 if is_gray else 3) + (extra > 0), depth)


def _codestream(file: BinaryIO) -> bytes:
    """Return the first bytes of the codestream, which may be in a container of boxes.

    Raises:
        ValueError: A box is incomplete, or none contains the codestream.
    """
    if (head := file.read(_HEAD_BYTES)).startswith(b"\xff\x0a"):
        return head[2:]
    found = b""
    for kind, start, end in boxes(file):
        if kind in (b"jxlc", b"jxlp") and not found:
            file.seek(start + (4 if kind == b"jxlp" else 0))  # after the number of the part
            found = file.read(min(_HEAD_BYTES, end - file.tell()))
    if not found.startswith(b"\xff\x0a"):
        raise ValueError("it contains no image")
    return found[2:]


def boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box of a JPEG XL, AVIF or HEIF, and where its content starts and ends.

    Raises:
        ValueError: A box is damaged or incomplete.
    """
    length, position = bytes_in(file), 0
    while position + 8 <= length:
        file.seek(position)
        size, kind = struct.unpack(">L4s", file.read(8))
        start = position + 8
        if size == 1:
            size, start = int.from_bytes(file.read(8), "big"), position + 16
        end = length if size == 0 else position + size
        if end < start:
            raise ValueError("a box is damaged")
        require(length, end, f"it has {length} of {end} bytes")
        yield kind, start, end
        position = end


class _Bits:
    """Reads numbers of a few bits, the lowest bits of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits.

        Raises:
            ValueError: There are no more.
        """
        require(self._left, count, "its header is incomplete")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Return a number that is stored in one of four ways, each an (offset, number of bits)."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _size(bits: _Bits) -> Dimensions:
    is_small = bits.take(1)

    def side() -> int:
        return (bits.take(5) + 1) * 8 if is_small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if ratio == 0:
        return Dimensions(side(), height)
    across, down = _RATIOS[ratio - 1]
    return Dimensions(height * across // down, height)


def _skip_extra_fields(bits: _Bits) -> None:
    """Skip the intended size, the size of a preview, and the times of an animation."""
    if bits.take(1):
        _size(bits)
    if bits.take(1):
        in_eights: _Choices = ((16, 0), (32, 0), (1, 5), (33, 9))
        choices = in_eights if bits.take(1) else ((1, 6), (65, 8), (321, 10), (1345, 12))
        bits.choose(*choices)
        if bits.take(3) == 0:
            bits.choose(*choices)
    if bits.take(1):
        bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
        bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
        bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
        bits.take(1)


def _depth(bits: _Bits) -> int:
    """Return 8 or 16: the bits per channel that are decoded."""
    if bits.take(1):
        depth = bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        depth = bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    return 8 if depth <= 8 else 16


def _is_gray(bits: _Bits) -> bool:
    """Return whether the color space is gray, if there are no extra channels."""
    bits.take(1)
    if bits.take(1):  # sRGB
        return False
    bits.take(1)
    return bits.choose(*_ENUM) == _GRAY
