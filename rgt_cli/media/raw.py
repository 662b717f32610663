"""Recognize raw photos: most are TIFF files whose first image is only a small preview.

Sources: the Adobe Digital Negative specification; TIFF/EP, ISO 12234-2.
"""

from __future__ import annotations

from typing import BinaryIO

import tifffile

_SENSOR = frozenset([32803, 34892])
"""Photometric interpretations of the values of a sensor: color filter array, and linear raw."""
_DNG_VERSION = 50706
_CANON = b"CR\2"
"""What a raw photo of Canon contains after its first offset."""
DEVELOP = "is a raw photo: develop it first, for example to a TIFF of 16 bits"
"""Why raw photos are refused, and what to do."""


def is_raw(file: tifffile.TiffFile, head: BinaryIO) -> bool:
    """Return whether a TIFF is a raw photo.

    Args:
        file: The file as tifffile opens it.
        head: The same file, at its start.
    """
    if head.read(11)[8:] == _CANON:
        return True
    first = file.pages.first
    if not isinstance(first, tifffile.TiffPage):
        return False
    if _DNG_VERSION in first.tags or _is_of_sensor(first):
        return True
    below = first.pages or () if first.subifds else ()
    return any(isinstance(page, tifffile.TiffPage) and _is_of_sensor(page) for page in below)


def _is_of_sensor(page: tifffile.TiffPage) -> bool:
    return int(page.photometric or 0) in _SENSOR
