"""GIF: its header, and images reduced to its palette."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from rgt_cli.media.layout import LZW_RATIO, Header, bytes_in, one_image, require
from rgt_cli.size import Dimensions

_PALETTE_COLORS = 256
_EXTENSION, _IMAGE = 0x21, 0x2C
_CONTROL = b"\xf9"
"""The extension that contains the transparency of a frame."""
_HEAD_BYTES = 13


def read_layout(file: BinaryIO) -> Header:
    """Read the header of a GIF, count its frames, and compare the bytes of each with its size.

    Raises:
        ValueError: The file is damaged or truncated, or a frame has too little data for its size.

    Source: the GIF89a specification, sections 18 to 26.
    """
    require(bytes_in(file), _HEAD_BYTES, "its header is incomplete")
    data = file.read()
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = _HEAD_BYTES + _table_bytes(flags)
    frames = 0
    has_alpha = False
    while position < len(data) and data[position] in (_EXTENSION, _IMAGE):
        if data[position] == _EXTENSION:
            if data[position + 1 : position + 2] == _CONTROL:
                has_alpha |= data[position + 3 : position + 4] > b"" and bool(data[position + 3] & 1)
            position = _after_blocks(data, position + 2)[0]
            continue
        require(len(data), position + 11, "a frame is incomplete")
        left, top, across, down, flags = struct.unpack_from("<4HB", data, position + 1)
        position, stored = _after_blocks(data, position + 11 + _table_bytes(flags))
        width, height = max(width, left + across), max(height, top + down)
        require(
            stored * LZW_RATIO, across * down, f"{stored} bytes are too few for {across} x {down} pixels"
        )
        frames += 1
    require(frames, 1, "it contains no image")
    return one_image("gif", Dimensions(width, height), 4 if has_alpha else 3, frames=frames)


def _table_bytes(flags: int) -> int:
    """Return the bytes of the color table that the flags of a screen or a frame announce."""
    return 3 * 2 ** (1 + (flags & 7)) if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> tuple[int, int]:
    """Return where a sequence of blocks ends, and the bytes in them.

    Raises:
        ValueError: It does not end.
    """
    stored = 0
    while position < len(data):
        if not (count := data[position]):
            return position + 1, stored
        stored += count
        position += 1 + count
    raise ValueError("the file is truncated: a frame is incomplete")


def to_palette(image: Image.Image) -> Image.Image:
    """Return an image of mode P with at most 256 colors, one of them transparent if any pixel is.

    The colors are exact if there are few enough, else the nearest ones, dithered. A pixel that is less
    than half opaque becomes transparent, and any other one opaque.

    Args:
        image: An image of mode L, LA, RGB or RGBA.
    """
    array = np.asarray(image.convert("RGBA"))
    visible = array[..., 3] >= 128
    colors = array[..., :3][visible]
    has_transparent = not visible.all()
    available = _PALETTE_COLORS - has_transparent
    out = np.full(visible.shape, available if has_transparent else 0, np.uint8)
    codes = (colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)).astype(np.uint32)
    distinct, indices = np.unique(codes, return_inverse=True)
    if len(distinct) <= available:
        palette = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1)
        out[visible] = indices
    else:
        best = Image.fromarray(colors[None]).quantize(available, Image.Quantize.MEDIANCUT)
        dithered = image.convert("RGB").quantize(palette=best, dither=Image.Dither.FLOYDSTEINBERG)
        palette = np.frombuffer(bytes(best.getpalette() or []), np.uint8).reshape(-1, 3)[:available]
        out[visible] = np.minimum(np.asarray(dithered), available - 1)[visible]
    flat = np.zeros((_PALETTE_COLORS, 3), np.uint8)
    flat[: len(palette)] = palette
    result = Image.frombytes("P", image.size, out.tobytes())
    result.putpalette(flat.tobytes())
    if has_transparent:
        result.info["transparency"] = available
    return result
