"""PNG where Pillow does not do: chunks as they are, 16 bits a channel, and rows one after another."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT_CHUNKS = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tEXt", b"zTXt", b"iTXt"}
"""Chunks that stay true of an enlarged picture and that only a PNG can hold."""
_HEADER = struct.Struct(">LLBBBBB")
"""IHDR: width, height, bits a channel, color type, compression, filtering, interlacing."""
_XMP = b"XML:com.adobe.xmp"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels -> color type."""
_PIECE = 4 << 20
"""Bytes of the rows that are filtered, or the filters of which are undone, at a time."""
_READ = 1 << 16
"""Bytes that are inflated at a time."""
_LARGEST_TEXT = 1 << 20
"""Bytes of a text that is kept; what is larger is an attack or a mistake."""


def depth(file: BinaryIO) -> int:
    """Bits a channel of a PNG."""
    file.seek(0)
    return file.read(25)[24]  # signature, then IHDR: length, name, width, height, bit depth


def rows_layout(file: BinaryIO) -> tuple[tuple[int, int, int], np.dtype] | None:
    """(H, W, C) and the dtype of what `read_rows` reads; None if it does not.

    It reads what is not interlaced, has no palette, and 8 or 16 bits a channel.
    """
    width, height, bits, color_type, interlace = _header(file)
    channels = {number: count for count, number in _COLOR_TYPES.items()}.get(color_type)
    if channels is None or bits not in (8, 16) or interlace:
        return None
    return (height, width, channels), np.dtype(f"u{bits // 8}")


def read_rows(file: BinaryIO) -> Iterator[np.ndarray]:
    """Read a PNG from top to bottom, holding a few format_bytes of it at a time.

    Each piece is decoded as a small PNG of its own: the last row before it, which its filters refer to,
    and its rows as they are filtered.

    Returns:
        (rows, W), or (rows, W, C) where there are more channels than one, uint8 or uint16.

    Raises:
        ValueError, zlib.error: it is damaged.

    Source: the PNG specification, third edition, sections 5, 9 and 10.
    """
    import imagecodecs  # which is seldom needed

    layout = rows_layout(file)
    if layout is None:
        raise ValueError("it has a palette, is interlaced, or has fewer than 8 bits a channel")
    (height, width, channels), dtype = layout
    bits, color_type = dtype.itemsize * 8, _COLOR_TYPES[channels]
    row = width * channels * dtype.itemsize
    count, done = max(1, _PIECE // row), 0
    before = bytes(row)
    for piece in _regrouped(_inflated(file), (1 + row) * count):
        rows = min(len(piece) // (1 + row), height - done)
        if not rows:
            continue
        small = io.BytesIO()
        small.write(SIGNATURE)
        _write_chunk(small, b"IHDR", _HEADER.pack(width, rows + 1, bits, color_type, 0, 0, 0))
        _write_chunk(small, b"IDAT", zlib.compress(b"\0" + before + piece[: rows * (1 + row)], 0))
        _write_chunk(small, b"IEND", b"")
        decoded = imagecodecs.png_decode(small.getvalue())[1:]
        before = decoded[-1].astype(dtype.newbyteorder(">")).tobytes()
        done += rows
        yield decoded
    if done < height:
        raise ValueError(f"it ends after {done} of {height} rows")


def _header(file: BinaryIO) -> tuple[int, int, int, int, int]:
    """Width, height, bits a channel, color type, and whether it is interlaced."""
    file.seek(len(SIGNATURE) + 8)
    width, height, bits, color_type, _, _, interlace = _HEADER.unpack(file.read(_HEADER.size))
    return width, height, bits, color_type, interlace


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """What the IDAT chunks of a PNG hold, in pieces of a bounded size."""
    inflater = zlib.decompressobj()
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        left, kind = struct.unpack(">L4s", head)
        if kind != b"IDAT":
            file.seek(left + 4, 1)
            continue
        while left and (data := file.read(min(left, _READ))):
            left -= len(data)
            while data and not inflater.eof:
                yield inflater.decompress(data, _PIECE)
                data = inflater.unconsumed_tail
        file.seek(4, 1)


def _regrouped(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    yield bytes(waiting)


def kept_chunks(file: BinaryIO) -> tuple[tuple[bytes, bytes], ...]:
    """The chunks of a PNG that go on, (type, data); a damaged rest is passed over."""
    found = []
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">L4s", head)
        if kind in KEPT_CHUNKS and length <= _LARGEST_TEXT:
            data = file.read(length)
            if len(data) == length and not (kind == b"iTXt" and data.startswith(_XMP)):
                found.append((kind, data))
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    return tuple(found)


def write_rows(
    file: BinaryIO,
    size: tuple[int, int],
    channels: int,
    bits: int,
    strips: Iterable[np.ndarray],
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Write a PNG from top to bottom, holding one strip at a time.

    Args:
        size: width and height in pixels.
        bits: of a channel, 8 or 16.
        strips: (rows, W) or (rows, W, channels) uint8 or uint16.
        chunks: (type, data), to stand before the pixels.

    Source: the PNG specification, third edition, sections 5 and 9.
    """
    file.write(SIGNATURE)
    _write_chunk(file, b"IHDR", _HEADER.pack(*size, bits, _COLOR_TYPES[channels], 0, 0, 0))
    for kind, data in chunks:
        _write_chunk(file, kind, data)
    compressor = zlib.compressobj(4)
    step = channels * bits // 8
    before = np.zeros((1, size[0] * step), np.uint8)
    for strip in _pieces(strips, size[0] * step):
        rows = strip.astype(f">u{bits // 8}").reshape(len(strip), -1).view(np.uint8)
        filtered = _filtered(rows, np.concatenate((before, rows[:-1])), step)
        before = rows[-1:]
        if data := compressor.compress(filtered.tobytes()):
            _write_chunk(file, b"IDAT", data)
    _write_chunk(file, b"IDAT", compressor.flush())
    _write_chunk(file, b"IEND", b"")


def _pieces(strips: Iterable[np.ndarray], row: int) -> Iterator[np.ndarray]:
    """The same rows, no more at a time than a few format_bytes: each is held many times while filtered."""
    count = max(1, _PIECE // row)
    for strip in strips:
        yield from (strip[top : top + count] for top in range(0, len(strip), count))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Each row by the filter with the least sum of differences, its number in front."""
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
    """Each byte's counterpart in the pixel to the left."""
    out = np.zeros_like(rows)
    out[:, step:] = rows[:, :-step]
    return out


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    a, b, c = (x.astype(np.int16) for x in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">L", len(data)) + kind + data)
    file.write(struct.pack(">L", zlib.crc32(kind + data)))


def metadata_chunks(
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None,
    others: Iterable[tuple[bytes, bytes]],
) -> Iterator[tuple[bytes, bytes]]:
    """The chunks that carry an metadata, in the order that PNG asks for."""
    if icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)
    for kind, data in others:
        if not (icc and kind == b"sRGB"):  # there may be one of the two
            yield kind, data
    if dpi:
        yield b"pHYs", struct.pack(">LLB", *(round(d / 0.0254) for d in dpi), 1)
    if xmp:
        yield b"iTXt", _XMP + b"\0\0\0\0\0" + xmp
    if exif:
        yield b"eXIf", exif.removeprefix(b"Exif\0\0")
