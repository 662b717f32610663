"""How the pixels of an AVIF or HEIF are encoded, which their decoders do not reveal.

Source: ISO/IEC 23008-12 (HEIF), clauses 6.5 and 9.3; ITU-T H.273 for the codes of colors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rgt_cli.media.jxl import boxes

_LONGEST_META = 16 << 20
_FULL_BOX = 4
"""Bytes of the version and the flags of a box."""


class Coding(NamedTuple):
    """How the pixels of an image are encoded."""

    primaries: int = 2
    """The code of the primary colors; 2 is unspecified."""
    transfer: int = 2
    """The code of the transfer function."""
    bits: int = 8
    """Bits per channel."""


def read_coding(path: Path) -> Coding:
    """Return how the main image of a file is encoded, as far as the file says."""
    with path.open("rb") as file:
        for kind, start, end in boxes(file):
            if kind == b"meta":
                file.seek(start + _FULL_BOX)
                content = file.read(min(end - start - _FULL_BOX, _LONGEST_META))
                return _coding(dict(_children(content)))
    return Coding()


def _coding(meta: dict[bytes, bytes]) -> Coding:
    coding = Coding()
    try:
        for kind, content in _properties(meta):
            if kind == b"colr" and content.startswith(b"nclx"):
                primaries, transfer = struct.unpack_from(">HH", content, 4)
                coding = coding._replace(primaries=primaries, transfer=transfer)
            elif kind == b"pixi" and len(content) > _FULL_BOX + 1:
                coding = coding._replace(bits=max(content[_FULL_BOX + 1 :]))
    except (struct.error, IndexError, KeyError):  # a box is damaged or missing: the decoder has its say
        return Coding()
    return coding


def _properties(meta: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the content of each property of the main image."""
    main = meta[b"pitm"]
    number = int.from_bytes(main[_FULL_BOX : _FULL_BOX + (4 if main[0] else 2)], "big")
    below = dict(_children(meta[b"iprp"]))
    properties = list(_children(below[b"ipco"]))
    entries = below[b"ipma"]
    is_long, is_wide = entries[0] > 0, entries[3] & 1
    (count,) = struct.unpack_from(">L", entries, _FULL_BOX)
    position = _FULL_BOX + 4
    for _ in range(count):
        (item,) = struct.unpack_from(">L" if is_long else ">H", entries, position)
        position += 4 if is_long else 2
        most = entries[position]
        position += 1
        for _ in range(most):
            (index,) = struct.unpack_from(">H" if is_wide else ">B", entries, position)
            position += 2 if is_wide else 1
            index &= 0x7FFF if is_wide else 0x7F  # without the bit that says whether it is essential
            if item == number and index:
                yield properties[index - 1]


def _children(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the content of each box in another one."""
    position = 0
    while position + 8 <= len(content):
        size, kind = struct.unpack_from(">L4s", content, position)
        if size < 8:
            return
        yield kind, content[position + 8 : position + size]
        position += size
