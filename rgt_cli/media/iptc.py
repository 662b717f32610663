"""The Photoshop block of a JPEG or a TIFF, which contains IPTC records: copy it without the place.

Sources: the Adobe Photoshop file format specification (image resource blocks) and the IPTC Information
Interchange Model, version 4.2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rgt_cli.media.location import has_coordinates
from rgt_cli.media.xmp import strip_xmp_gps

PHOTOSHOP = b"Photoshop 3.0\0"
"""The start of the block in an APP13 segment."""
_IPTC = 0x0404
_EXIF = (0x0422, 0x0423)
_XMP = 0x0424
_DIGEST = 0x0425
"""The MD5 sum of the IPTC records."""
_PLACES = frozenset([26, 27, 90, 92, 95, 100, 101])
"""Datasets of record 2: content location code and name, city, sublocation, province or state, country
code and country name."""
_TEXTS = 2
"""The record with the description of the image."""
_LONGEST_PART = 65_500
"""The most bytes of a block in one segment."""
_MARKER = 0x1C
"""The first byte of a dataset."""


class _Resource(NamedTuple):
    """An image resource block."""

    number: int
    head: bytes
    """Its signature, number and name, as stored."""
    data: bytes


def joined_photoshop(segments: Iterable[bytes]) -> bytes | None:
    """Return the Photoshop block in the APP13 segments of a JPEG, which may be divided among them."""
    parts = [s.removeprefix(PHOTOSHOP) for s in segments if s.startswith(PHOTOSHOP)]
    return PHOTOSHOP + b"".join(parts) if parts else None


def photoshop_segments(block: bytes) -> Iterator[bytes]:
    """Yield a Photoshop block as the content of APP13 segments of a JPEG."""
    resources = block.removeprefix(PHOTOSHOP)
    for start in range(0, len(resources), _LONGEST_PART):
        yield PHOTOSHOP + resources[start : start + _LONGEST_PART]


def photoshop_of_tiff(resources: bytes, records: bytes) -> bytes | None:
    """Return the Photoshop block of the resources and the IPTC records in a TIFF; empty for none."""
    if records and b"8BIM\x04\x04" not in resources:
        head = b"8BIM" + struct.pack(">H", _IPTC) + bytes(2)
        resources += _packed(_Resource(_IPTC, head, records))
    return PHOTOSHOP + resources if resources else None


def tiff_of_photoshop(block: bytes) -> tuple[bytes, bytes]:
    """Return a Photoshop block as a TIFF stores it: the IPTC records, and the resources without them."""
    resources = block.removeprefix(PHOTOSHOP)
    try:
        found = list(_resources(resources))
    except ValueError:
        return b"", resources
    records = b"".join(resource.data for resource in found if resource.number == _IPTC)
    return records, b"".join(_packed(resource) for resource in found if resource.number != _IPTC)


def strip_photoshop_gps(block: bytes) -> bytes | None:
    """Return a Photoshop block without the place where the image was taken, or None if nothing is left.

    This removes the places among the IPTC records and text with coordinates, and cleans embedded
    XMP. It removes embedded EXIF, which repeats that of the file. A block that is damaged is removed.

    Args:
        block: The content of an APP13 segment, or the resource blocks alone.
    """
    start = len(PHOTOSHOP) if block.startswith(PHOTOSHOP) else 0
    try:
        resources = list(_resources(block[start:]))
        retained = [cleaned for resource in resources if (cleaned := _cleaned(resource))]
    except ValueError:
        return None
    if not retained:
        return None
    return block[:start] + b"".join(_packed(resource) for resource in retained)


def strip_iptc_gps(records: bytes) -> bytes:
    """Return IPTC records without the places and the text with coordinates.

    Raises:
        ValueError: The records are damaged.
    """
    retained = []
    for record, dataset, whole, value in _datasets(records):
        is_place = record == _TEXTS and dataset in _PLACES
        if not is_place and not has_coordinates(value.decode("utf-8", "replace")):
            retained.append(whole)
    return b"".join(retained)


def _cleaned(resource: _Resource) -> _Resource | None:
    if resource.number in (*_EXIF, _DIGEST):
        return None
    if resource.number == _IPTC:
        data = strip_iptc_gps(resource.data)
        return resource._replace(data=data) if data else None
    if resource.number == _XMP:
        packet = strip_xmp_gps(resource.data)
        return resource._replace(data=packet) if packet else None
    return resource


def _resources(blocks: bytes) -> Iterator[_Resource]:
    """Yield the resources.

    Raises:
        ValueError: They are damaged.
    """
    position = 0
    while position < len(blocks):
        if not re.match(rb"8BIM|MeSa|PHUT|AgHg|DCSR", blocks[position : position + 4]):
            if any(blocks[position:]):
                raise ValueError("not an image resource")
            return  # padding
        if position + 12 > len(blocks):
            raise ValueError("a resource ends early")
        (number,) = struct.unpack_from(">H", blocks, position + 4)
        name_length = blocks[position + 6] + 1
        start = position + 6 + name_length + name_length % 2
        if start + 4 > len(blocks):
            raise ValueError("a resource ends early")
        (length,) = struct.unpack_from(">L", blocks, start)
        end = start + 4 + length
        if end > len(blocks):
            raise ValueError("a resource ends early")
        yield _Resource(number, blocks[position:start], blocks[start + 4 : end])
        position = end + length % 2


def _packed(resource: _Resource) -> bytes:
    padding = b"\0" * (len(resource.data) % 2)
    return resource.head + struct.pack(">L", len(resource.data)) + resource.data + padding


def _datasets(records: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yield (record, dataset, the dataset with its head, its value) of IPTC records.

    Raises:
        ValueError: They are damaged.
    """
    position = 0
    while position + 5 <= len(records) and records[position] == _MARKER:
        record, dataset, length = struct.unpack_from(">BBH", records, position + 1)
        start = position + 5
        if length & 0x8000:  # the length of the length
            extended = length & 0x7FFF
            length = int.from_bytes(records[start : start + extended], "big")
            start += extended
        end = start + length
        if end > len(records):
            raise ValueError("a dataset ends early")
        yield record, dataset, records[position:end], records[start:end]
        position = end
    if any(records[position:]):
        raise ValueError("not a dataset")
