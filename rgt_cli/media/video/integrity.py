"""Find out whether a file is complete, by the sizes and numbers in its structure.

Decoders report pixels that are damaged. They do not miss what is not there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
"""What AVI files contain in place of a size until they are finished."""

_LONGEST_INDEX = 1 << 20
"""Bytes of an index of fragments: it has at most 65535 entries of 12 bytes."""


def damage_of(path: Path, demuxer: str) -> str | None:
    """Return what is missing in a file, in words; None if nothing is known to be missing.

    Args:
        path: The file.
        demuxer: Name of its format, as ffmpeg names it.
    """
    check = {"avi": _damage_of_avi, "mov,mp4,m4a,3gp,3g2,mj2": _damage_of_fragments}.get(demuxer)
    if not check:
        return None
    with path.open("rb") as file:
        return check(file, os.fstat(file.fileno()).st_size)


def _damage_of_avi(file: BinaryIO, size: int) -> str | None:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in _UNKNOWN_SIZES:
            return None
        at += 8 + length + length % 2
    return _early_end(at - 1, size)  # writers disagree on the byte that makes lengths even


def _early_end(announced: int, size: int) -> str | None:
    missing = announced - size
    return f"the file ends {missing} bytes too early" if missing > 0 else None


class _Box(NamedTuple):
    """A box of ISO base media, such as MP4."""

    name: bytes
    start: int
    """Position of its content."""
    end: int
    """Position of the next box."""


def _damage_of_fragments(file: BinaryIO, size: int) -> str | None:
    """Return what is missing in a fragmented MP4. Others have an index, whose gaps ffmpeg reports."""
    last: int | None = None
    announced = 0
    for box in _boxes(file, size):
        if box.name == b"sidx":
            announced = max(announced, _end_of_fragments(file, box))
        if not box.name.isascii() or not box.name.decode(errors="replace").isprintable():
            return None if last is None else f"there is no fragment at byte {box.start}"
        if box.name != b"moof":
            if box.end > size and last is not None:
                return _early_end(box.end, size)
            continue
        number = _sequence_number(file, box)
        if last is not None and number > last + 1:
            return f"fragments are missing before byte {box.start}"
        last = number
    return _early_end(announced, size)


def _boxes(file: BinaryIO, size: int) -> Iterator[_Box]:
    """Yield the boxes of a file, the last of which may end after it."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        start = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
            start += 8
        end = at + length if length else size
        yield _Box(name, start, end)
        if end < start:
            return
        at = end


def _end_of_fragments(file: BinaryIO, box: _Box) -> int:
    """Return the position after all fragments that an index lists by their sizes."""
    file.seek(box.start)
    content = file.read(min(box.end - box.start, _LONGEST_INDEX))
    wide = content[:1] != b"\0"
    try:
        offset, count = struct.unpack_from(">Q2xH" if wide else ">I2xH", content, 20 if wide else 16)
        first = 32 if wide else 24
        sizes = (struct.unpack_from(">I", content, first + 12 * at)[0] for at in range(count))
        return int(box.end + offset + sum(size & 0x7FFFFFFF for size in sizes))
    except struct.error:
        return 0


def _sequence_number(file: BinaryIO, box: _Box) -> int:
    """Return the number of a fragment, which its first box contains."""
    file.seek(box.start)
    _, name, _, number = struct.unpack(">I4sII", file.read(16).ljust(16, b"\0"))
    return int(number) if name == b"mfhd" else 0
