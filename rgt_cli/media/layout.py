"""What the header of an image file reveals: a leaf that the readers of all headers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from rgt_cli.size import Dimensions

DEFLATE_RATIO = 1032
"""The most bytes that a byte of a deflated stream expands to: runs of 258 bytes in two bits."""
LZW_RATIO = 2731
"""The most values that a byte of LZW expands to: strings of 4096 values in twelve bits."""
_DECODER_BYTES = {"webp": 16, "jxl": 16, "avif": 12, "heif": 12, "gif": 9}
"""Format -> the bytes for each pixel of a frame that its decoder and Pillow fill besides the result."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file contains, by its header; no pixel is decoded."""

    format: str
    """The name of the format: one of `FORMATS`, "netpbm" or "dpx"."""
    size: Dimensions
    """The size in pixels as stored: that of the largest frame or page."""
    channels: int
    """The most channels that are decoded: 1 to 4, for gray or RGB, and alpha."""
    bits: int = 8
    """Bits per channel when decoded, 8 or 16."""
    frames: int = 1
    """Number of frames or pages that are decoded."""
    pixels: int
    """Pixels of all frames or pages."""

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel, though all pixels may be opaque."""
        return self.channels in (2, 4)

    @property
    def is_animation(self) -> bool:
        """Whether there are several frames, not pages."""
        return self.frames > 1 and self.format != "tiff"

    @property
    def decoded_bytes(self) -> int:
        """The size of all pixels in bytes when they are decoded."""
        return self.pixels * self.channels * self.bits // 8

    @property
    def peak_bytes(self) -> int:
        """Estimated peak of the bytes that the pixels fill while they are decoded."""
        frame = self.size.width * self.size.height
        return self.decoded_bytes + frame * _DECODER_BYTES.get(self.format, 5)

    def __str__(self) -> str:
        count = {True: f"{self.frames} frames of ", False: f"{self.frames} pages of "}[self.is_animation]
        depth = "" if self.bits == 8 else f" of {self.bits} bits"
        return f"{count if self.frames > 1 else ''}{self.size}{depth}, {self.format}"


def one_image(
    file_format: str, size: Dimensions, channels: int, bits: int = 8, frames: int = 1
) -> Header:
    """Return the header of a file whose frames have one size.

    Raises:
        ValueError: A side is 0.
    """
    if min(size) < 1:
        raise ValueError(f"its size is {size} pixels")
    pixels = size.width * size.height * frames
    return Header(
        format=file_format, size=size, channels=channels, bits=bits, frames=frames, pixels=pixels
    )


def bytes_in(file: BinaryIO) -> int:
    """Return the length of a file, and move to its start."""
    length = file.seek(0, 2)
    file.seek(0)
    return length


def require(found: float, needed: float, problem: str) -> None:
    """Refuse a file that contains fewer bytes than it claims, or than its pixels need.

    Args:
        found: The bytes that the file contains.
        needed: The fewest bytes that it must contain.
        problem: What is wrong otherwise, in words.

    Raises:
        ValueError: There are fewer.
    """
    if found < needed:
        raise ValueError(f"the file is truncated: {problem}")
