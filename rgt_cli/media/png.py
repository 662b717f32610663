"""PNG where Pillow is not enough: 16 bits per channel, a few rows at a time, and unchanged chunks.

Source: the PNG specification, third edition.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from rgt_cli.media.layout import DEFLATE_RATIO, Header, bytes_in, one_image, require
from rgt_cli.size import Dimensions

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK_BYTES = 4 << 20
"""Bytes of the rows that are filtered or decoded at a time; each byte is copied several times."""
Chunk = tuple[bytes, bytes]
"""(type, data)."""

_HEADER = struct.Struct(">LLBBBBB")
"""IHDR: width, height, bits per channel, color type, compression, filter method, interlacing."""
_HEADER_END = len(SIGNATURE) + 8 + _HEADER.size + 4
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Number of channels -> color type."""
_PALETTE = 3
_PIXEL_CHANNELS = {0: 1, 2: 3, _PALETTE: 3, 4: 2, 6: 4}
"""Color type -> number of channels when decoded."""
_CHANNELS = {color_type: channels for channels, color_type in _COLOR_TYPES.items()}
_INFLATED_AT_ONCE = 1 << 16
"""Compressed bytes that are read at a time."""
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
"""The seven interlaced images in a PNG: first column, first row, step of columns, step of rows."""


class _Header(NamedTuple):
    width: int
    height: int
    bits: int
    color_type: int
    is_interlaced: bool


def read_layout(file: BinaryIO) -> Header:
    """Read the header of a PNG, count its frames, and compare the bytes of its pixels with its size.

    Raises:
        ValueError: The file is damaged, truncated, or has too little data for its size.
    """
    length = bytes_in(file)
    require(length, _HEADER_END, "its header is incomplete")
    header = _header(file)
    size, channels = Dimensions(header.width, header.height), _PIXEL_CHANNELS.get(header.color_type)
    if channels is None or header.bits not in (1, 2, 4, 8, 16):
        raise ValueError("its header is damaged")
    data, promised, controls, cover = 0, 0, 0, 0
    for kind, count in chunk_heads(file):
        require(length, file.tell() + count + 4, f"a chunk of {count} bytes is incomplete")
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            data += count
        elif kind == b"tRNS":
            channels = 4 if channels == 3 else 2
        elif kind == b"acTL" and not data:
            promised = int.from_bytes(file.read(4), "big")
        elif kind == b"fcTL":
            cover += not controls and data > 0  # the first image is not a frame
            controls += 1
    stored = 1 if header.color_type == _PALETTE else _PIXEL_CHANNELS[header.color_type]
    needed = math.prod(size) * stored * header.bits / 8 / DEFLATE_RATIO
    require(data, needed, f"{data} bytes are too few for {size} pixels")
    require(controls, promised, f"it has {controls} of {promised} frames")
    frames = promised + cover if promised else 1
    return one_image("png", size, channels, 16 if header.bits == 16 else 8, frames)


def depth(file: BinaryIO) -> int:
    """Return the bits per channel of a PNG."""
    return _header(file).bits


def scale_transparent_gray(opened: Image.Image, bits: int) -> None:
    """Scale the transparent gray of a PNG that Pillow has decoded to its pixels, which have 8 bits.

    Args:
        opened: The image.
        bits: Bits per channel in the file.
    """
    gray = opened.info.get("transparency")
    if opened.mode == "L" and isinstance(gray, int) and bits in (2, 4):
        opened.info["transparency"] = gray * (255 // ((1 << bits) - 1))


def rows_layout(file: BinaryIO) -> tuple[tuple[int, int, int], np.dtype] | None:
    """Return the shape (H, W, C) and the dtype of what `read_rows` reads; None if it cannot read it.

    It reads PNGs that are not interlaced, have no palette, and have 8 or 16 bits per channel.
    """
    header = _header(file)
    channels = _CHANNELS.get(header.color_type)
    if channels is None or header.bits not in (8, 16) or header.is_interlaced:
        return None
    return (header.height, header.width, channels), np.dtype(f"u{header.bits // 8}")


def read_rows(file: BinaryIO) -> Iterator[np.ndarray]:
    """Read a PNG from top to bottom, about `BLOCK_BYTES` of its pixels at a time.

    Each block is decoded as a small PNG of its own. It begins with the last row of the block before,
    since the filters of a row refer to the row above it.

    Yields:
        (rows, W), or (rows, W, C) if there are several channels, uint8 or uint16.

    Raises:
        ValueError, zlib.error: The file is damaged, or is not one that `rows_layout` describes.

    Source: the PNG specification, sections 5, 9 and 10.
    """
    layout = rows_layout(file)
    if layout is None:
        raise ValueError("it has a palette, is interlaced, or has fewer than 8 bits per channel")
    (height, width, channels), dtype = layout
    header = _header(file)
    row = width * channels * dtype.itemsize
    count, done = max(1, BLOCK_BYTES // row), 0
    before = bytes(row)
    for block in _regrouped(_inflated(file), (1 + row) * count):
        rows = min(len(block) // (1 + row), height - done)
        if not rows:
            continue
        filtered = b"\0" + before + block[: rows * (1 + row)]
        decoded = _decode(header._replace(height=rows + 1), filtered)[1:]
        before = decoded[-1].astype(dtype.newbyteorder(">")).tobytes()
        done += rows
        yield decoded
    if done < height:
        raise ValueError(f"it ends after {done} of {height} rows")


def read_deep(file: BinaryIO) -> np.ndarray:
    """Decode a PNG of 16 bits per channel.

    Returns:
        (H, W), or (H, W, C) if there are several channels, uint16. A transparent color becomes an alpha
        channel.

    Raises:
        ValueError, RuntimeError, zlib.error: The file is damaged.
    """
    import imagecodecs  # slow to import, rarely needed

    header = _header(file)
    key = b"".join(file.read(length) for kind, length in chunk_heads(file) if kind == b"tRNS")
    if header.is_interlaced:
        return _read_interlaced(file, header, key)
    essential = io.BytesIO()  # libpng reports flaws of other chunks on stderr
    _write_head(essential, header, key)
    for kind, length in chunk_heads(file):
        if kind == b"IDAT":
            essential.write(struct.pack(">L4s", length, kind) + file.read(length + 4))
    _write_chunk(essential, b"IEND", b"")
    return _array(imagecodecs.png_decode(essential.getvalue()))


def _read_interlaced(file: BinaryIO, header: _Header, key: bytes) -> np.ndarray:
    """Decode each of the seven images of an interlaced PNG as a PNG of its own."""
    pixel = _CHANNELS[header.color_type] * header.bits // 8
    parts = []
    for left, top, across, down in _ADAM7:
        width, height = (header.width - left - 1) // across + 1, (header.height - top - 1) // down + 1
        if width > 0 and height > 0:
            parts.append((header._replace(width=width, height=height, is_interlaced=False),
                          (1 + width * pixel) * height, np.s_[top::down, left::across]))  # fmt: skip
    data = io.BytesIO(next(_regrouped(_inflated(file), sum(length for _, length, _ in parts))))
    out: np.ndarray | None = None
    for part, length, place in parts:
        decoded = _decode(part, data.read(length), key)
        if out is None:
            out = np.empty((header.height, header.width, *decoded.shape[2:]), decoded.dtype)
        out[place] = decoded
    assert out is not None  # the first of the seven is never empty
    return out


def _decode(header: _Header, filtered: bytes, key: bytes = b"") -> np.ndarray:
    """Decode filtered rows, each with the number of its filter in front."""
    import imagecodecs

    small = io.BytesIO()
    _write_head(small, header, key)
    _write_chunk(small, b"IDAT", zlib.compress(filtered, 0))
    _write_chunk(small, b"IEND", b"")
    return _array(imagecodecs.png_decode(small.getvalue()))


def _array(decoded: np.ndarray | None) -> np.ndarray:
    assert decoded is not None
    return decoded


def _header(file: BinaryIO) -> _Header:
    file.seek(len(SIGNATURE) + 8)
    width, height, bits, color_type, _, _, interlace = _HEADER.unpack(file.read(_HEADER.size))
    return _Header(width, height, bits, color_type, bool(interlace))


def chunk_heads(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield the type and length of each chunk, with the file at the start of its data."""
    position = len(SIGNATURE)
    file.seek(position)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">L4s", head)
        yield kind, length
        position += 12 + length
        file.seek(position)


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of the IDAT chunks, decompressed, in parts of a bounded size."""
    inflater = zlib.decompressobj()
    for kind, left in chunk_heads(file):
        if kind != b"IDAT":
            continue
        while left and (data := file.read(min(left, _INFLATED_AT_ONCE))):
            left -= len(data)
            while data and not inflater.eof:
                yield inflater.decompress(data, BLOCK_BYTES)
                data = inflater.unconsumed_tail


def _regrouped(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in parts of `size`; the last one is shorter."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    yield bytes(waiting)


def write_with_chunks(file: BinaryIO, encoded: memoryview, chunks: Iterable[Chunk]) -> None:
    """Write a PNG from another encoder, with more chunks before its pixels."""
    file.write(encoded[:_HEADER_END])
    for kind, data in chunks:
        _write_chunk(file, kind, data)
    file.write(encoded[_HEADER_END:])


def write_rows(
    file: BinaryIO,
    size: Dimensions,
    channels: int,
    bits: int,
    strips: Iterable[np.ndarray],
    chunks: Iterable[Chunk] = (),
) -> None:
    """Write a PNG from top to bottom, one strip at a time.

    Args:
        size: Width and height in pixels.
        channels: 1 to 4.
        bits: Bits per channel, 8 or 16.
        strips: (rows, W) or (rows, W, channels) uint8 or uint16.
        chunks: The chunks before the pixels.

    Source: the PNG specification, sections 5 and 9.
    """
    _write_head(file, _Header(size.width, size.height, bits, _COLOR_TYPES[channels], False))
    for kind, data in chunks:
        _write_chunk(file, kind, data)
    compressor = zlib.compressobj(4)
    step = channels * bits // 8
    before = np.zeros((1, size.width * step), np.uint8)
    for strip in _blocks(strips, size.width * step):
        rows = strip.astype(f">u{bits // 8}").reshape(len(strip), -1).view(np.uint8)
        filtered = _filtered(rows, np.concatenate((before, rows[:-1])), step)
        before = rows[-1:]
        if data := compressor.compress(filtered.tobytes()):
            _write_chunk(file, b"IDAT", data)
    _write_chunk(file, b"IDAT", compressor.flush())
    _write_chunk(file, b"IEND", b"")


def _blocks(strips: Iterable[np.ndarray], row: int) -> Iterator[np.ndarray]:
    """Yield the same rows, about `BLOCK_BYTES` at a time."""
    count = max(1, BLOCK_BYTES // row)
    for strip in strips:
        yield from (strip[top : top + count] for top in range(0, len(strip), count))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Filter each row by the filter with the least sum of differences, its number in front."""
    left, corner = _shifted(rows, step), _shifted(above, step)
    candidates = [(1, rows - left), (2, rows - above), (4, rows - _paeth(left, above, corner))]
    # As signed bytes: 255 is a difference of one.
    costs = [np.abs(c.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64) for _, c in candidates]
    best = np.argmin(costs, axis=0)
    out = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    for index, (number, candidate) in enumerate(candidates):
        out[best == index, 0] = number
        out[best == index, 1:] = candidate[best == index]
    return out


def _shifted(rows: np.ndarray, step: int) -> np.ndarray:
    """Return for each byte its counterpart in the pixel to the left."""
    out = np.zeros_like(rows)
    out[:, step:] = rows[:, :-step]
    return out


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    a, b, c = (x.astype(np.int16) for x in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)


def _write_head(file: BinaryIO, header: _Header, key: bytes = b"") -> None:
    """Write all that comes before other chunks; `key` is the content of tRNS, the transparent color."""
    file.write(SIGNATURE)
    width, height, bits, color_type, is_interlaced = header
    _write_chunk(file, b"IHDR", _HEADER.pack(width, height, bits, color_type, 0, 0, int(is_interlaced)))
    if key:
        _write_chunk(file, b"tRNS", key)


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">L", len(data)) + kind + data)
    file.write(struct.pack(">L", zlib.crc32(kind + data)))
