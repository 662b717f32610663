"""The decoded content of an image file: pixels, and the metadata that is written with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rgt_cli.files import FileStamp
from rgt_cli.media.xmp import upright_xmp
from rgt_cli.size import Dimensions


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file contains besides pixels. A field is None or empty if the file does not contain it."""

    icc: bytes | None = None
    """The ICC profile, which defines the colors of the pixels."""
    exif: bytes | None = None
    """EXIF, as Pillow writes it, without a thumbnail and without an orientation."""
    has_thumbnail: bool = False
    """Whether the EXIF of the file contains a thumbnail, so that the output should contain one too."""
    xmp: bytes | None = None
    """An XMP packet."""
    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution in pixels per inch."""
    comment: bytes | None = None
    """The comment of a JPEG or a GIF."""
    iptc: bytes | None = None
    """The Photoshop block of a JPEG or a TIFF, which contains IPTC records."""
    png: tuple[tuple[bytes, bytes], ...] = ()
    """The chunks, (type, data), that only PNG supports: text, gamma, primaries."""

    def turned(self, orientation: int) -> Metadata:
        """Return the metadata after an EXIF orientation, 1..8, of the pixels has been undone."""
        dpi = self.dpi[::-1] if self.dpi and orientation >= 5 else self.dpi
        return replace(self, dpi=dpi, xmp=upright_xmp(self.xmp) if self.xmp else None)


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright."""

    pixels: np.ndarray
    """(H, W) gray or (H, W, 3) RGB, uint8 or uint16."""
    alpha: np.ndarray | None = None
    """(H, W) of the same type, 0 for transparent; None if the file has no alpha channel."""
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def size(self) -> Dimensions:
        """Width and height in pixels."""
        return Dimensions(self.pixels.shape[1], self.pixels.shape[0])

    @property
    def bits(self) -> int:
        """Bits per channel, 8 or 16."""
        return self.pixels.dtype.itemsize * 8

    @property
    def mode(self) -> str:
        """L, LA, RGB or RGBA, as Pillow names it, independent of the bits per channel."""
        return ("L" if self.pixels.ndim == 2 else "RGB") + ("A" if self.alpha is not None else "")

    @property
    def is_opaque(self) -> bool:
        """Whether no pixel is transparent."""
        return self.alpha is None or bool((self.alpha == np.iinfo(self.alpha.dtype).max).all())

    def channels(self) -> np.ndarray:
        """Return pixels and alpha in one array: (H, W), or (H, W, C) with 2 to 4 channels."""
        return self.pixels if self.alpha is None else np.dstack((self.pixels, self.alpha))

    def with_bits(self, bits: int) -> Picture:
        """Return the same image with 8 or 16 bits per channel."""
        if bits == self.bits:
            return self
        alpha = None if self.alpha is None else _with_bits(self.alpha, bits)
        return replace(self, pixels=_with_bits(self.pixels, bits), alpha=alpha)

    def upright(self, orientation: int) -> Picture:
        """Return the image with an EXIF orientation, 1..8, undone."""
        metadata = self.metadata if orientation == 1 else self.metadata.turned(orientation)
        alpha = None if self.alpha is None else _turned(self.alpha, orientation)
        return Picture(_turned(self.pixels, orientation), alpha, metadata)


def with_same_mode(pictures: Sequence[Picture]) -> list[Picture]:
    """Return images of 8 bits in one mode: all with alpha if any has it, all in color if any is."""
    color = any(picture.pixels.ndim == 3 for picture in pictures)
    alpha = any(picture.alpha is not None for picture in pictures)

    def widened(picture: Picture) -> Picture:
        if color and picture.pixels.ndim == 2:
            picture = replace(picture, pixels=np.repeat(picture.pixels[..., None], 3, axis=2))
        if alpha and picture.alpha is None:
            picture = replace(picture, alpha=np.full(picture.pixels.shape[:2], 255, np.uint8))
        return picture

    return [widened(picture) for picture in pictures]


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _with_bits(array: np.ndarray, bits: int) -> np.ndarray:
    if bits == 16:
        return array.astype(np.uint16) * 257
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True)
class ImageSequence:
    """The images of one file: usually one, or the frames of an animation, or the pages of a TIFF."""

    frames: Sequence[Picture]
    """At least one. The frames of an animation are complete images, not differences."""
    durations: tuple[float, ...] | None = None
    """Milliseconds that each frame is shown; None if the file is not an animation."""
    loop: int | None = None
    """How many times an animation is played, 0 for endlessly; None if the file does not specify it, so
    that it is played once."""
    has_cover: bool = False
    """Whether the first image is not a frame, but shown by programs that do not support animation."""
    warnings: tuple[str, ...] = ()
    """What the file contains that is left out here."""
    stamp: FileStamp | None = None
    """The state of the file before it was read; None if the images are not from a file."""

    @property
    def first(self) -> Picture:
        """The image, or the first of several."""
        return self.frames[0]
