"""What a file of pictures holds, once it is decoded: pixels, and all that goes back out with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rgt_cli.size import Dimensions


@dataclass(frozen=True)
class Metadata:
    """What a file says of a picture besides its pixels. None or empty is what it did not say."""

    icc: bytes | None = None
    """The ICC profile that says what the numbers mean."""
    exif: bytes | None = None
    """EXIF, as Pillow writes it."""
    has_thumbnail: bool = False
    """Whether EXIF came with a small picture, so that it should go with one."""
    xmp: bytes | None = None
    """An XMP packet."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, across and down."""
    comment: bytes | None = None
    """The comment of a JPEG or a GIF."""
    iptc: bytes | None = None
    """The Photoshop block of a JPEG, with what newspapers write into it."""
    png: tuple[tuple[bytes, bytes], ...] = ()
    """Chunks, (type, data), that only a PNG holds: texts, gamma, primaries."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright."""

    pixels: np.ndarray
    """(H, W) gray or (H, W, 3) RGB, uint8 or uint16."""
    alpha: np.ndarray | None = None
    """(H, W), of the same type; 0 is transparent. None where the file had no such channel."""
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def size(self) -> Dimensions:
        """Width and height in pixels."""
        return Dimensions(self.pixels.shape[1], self.pixels.shape[0])

    @property
    def bits(self) -> int:
        """Bits of a channel, 8 or 16."""
        return self.pixels.dtype.itemsize * 8

    @property
    def mode(self) -> str:
        """L, LA, RGB or RGBA, as Pillow calls them, whatever the bits."""
        return ("L" if self.pixels.ndim == 2 else "RGB") + ("A" if self.alpha is not None else "")

    @property
    def is_opaque(self) -> bool:
        """Whether nothing of it is transparent."""
        return self.alpha is None or bool((self.alpha == np.iinfo(self.alpha.dtype).max).all())

    def channels(self) -> np.ndarray:
        """The pixels with the alpha: (H, W), or (H, W, C) of 2 to 4 channels."""
        return self.pixels if self.alpha is None else np.dstack((self.pixels, self.alpha))

    def with_bits(self, bits: int) -> Picture:
        """The same picture in 8 or 16 bits a channel."""
        if bits == self.bits:
            return self
        alpha = None if self.alpha is None else _with_bits(self.alpha, bits)
        return replace(self, pixels=_with_bits(self.pixels, bits), alpha=alpha)


def _with_bits(array: np.ndarray, bits: int) -> np.ndarray:
    if bits == 16:
        return array.astype(np.uint16) * 257
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True)
class ImageSequence:
    """The pictures of one file: usually one; the frames of an animation; the pages of a TIFF."""

    frames: Sequence[Picture]
    """One or more; frames of an animation are whole, each composed of all that is to be seen."""
    durations: tuple[float, ...] | None = None
    """Milliseconds of each frame; None where the pictures are no animation."""
    loop: int | None = None
    """How often an animation is shown, 0 for ever; None where the file did not say, which is once."""
    has_cover: bool = False
    """Whether the first picture is no frame, but shown by what cannot animate."""
    warnings: tuple[str, ...] = ()
    """What of the file is not in here."""

    @property
    def first(self) -> Picture:
        """The picture, or the first of them."""
        return self.frames[0]
