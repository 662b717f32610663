"""The chunks of a PNG that describe the light of HDR, from and to the notation of x265.

Source: the PNG specification, third edition, sections 11.3.2.7 and 11.3.2.8.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import replace

from rgt_cli.media.png import Chunk
from rgt_cli.media.video.probe import Color

_MASTERING = struct.Struct(">8H2I")
"""mDCV: red, green, blue, white, each x and y in 1/50000; brightest and darkest, in 1/10000 cd/m2."""
_LIGHT = struct.Struct(">2I")
"""cLLI: MaxCLL and MaxFALL, in 1/10000 cd/m2."""
_SCALE = 10_000


def light_chunks(color: Color) -> tuple[Chunk, ...]:
    """Return the chunks mDCV and cLLI of a color space, as far as it has them."""
    chunks = list[Chunk]()
    if color.mastering_display:
        numbers = [int(number) for number in re.findall(r"\d+", color.mastering_display)]
        green, blue, red, rest = numbers[0:2], numbers[2:4], numbers[4:6], numbers[6:]
        chunks.append((b"mDCV", _MASTERING.pack(*red, *green, *blue, *rest)))
    if color.content_light:
        light = [int(number) * _SCALE for number in color.content_light.split(",")]
        chunks.append((b"cLLI", _LIGHT.pack(*light)))
    return tuple(chunks)


def with_light(color: Color, chunks: Iterable[Chunk]) -> Color:
    """Return a color space with what the chunks mDCV and cLLI of a PNG describe."""
    for kind, data in chunks:
        if kind == b"mDCV" and len(data) == _MASTERING.size:
            *points, brightest, darkest = _MASTERING.unpack(data)
            red, green, blue, white = (
                ",".join(map(str, points[at : at + 2])) for at in range(0, len(points), 2)
            )
            shown = f"G({green})B({blue})R({red})WP({white})L({brightest},{darkest})"
            color = replace(color, mastering_display=shown)
        if kind == b"cLLI" and len(data) == _LIGHT.size:
            light = ",".join(str(round(value / _SCALE)) for value in _LIGHT.unpack(data))
            color = replace(color, content_light=light)
    return color
