"""ICC profiles of color spaces that a file describes by numbers: codes of video, or chunks of a PNG.

Sources: ICC.1:2022; ITU-T H.273, tables 2 and 3; the PNG specification, third edition, section 11.3.2;
Lindbloom, "RGB/XYZ Matrices" and "Chromatic Adaptation", for the matrices.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

from rgt_cli.media.png import Chunk

_Point = tuple[float, float]
_D65: _Point = (0.3127, 0.3290)
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_PRIMARIES: dict[int, tuple[_Point, _Point, _Point, _Point]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
"""Code of primaries -> red, green, blue and white."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
"""Code of a transfer function -> its exponent. Others but those of HDR are shown like that of sRGB."""
_HDR = {16: "PQ", 18: "HLG"}
_SRGB_GAMMA = 2.2
"""The exponent that resembles the function of sRGB; PNG files of sRGB name it."""
_NEAR = 0.003
"""Differences between points that are only rounding."""


class ColorSpace(NamedTuple):
    """A color space of red, green and blue."""

    red: _Point
    green: _Point
    blue: _Point
    white: _Point
    gamma: float | None = None
    """The exponent of its transfer function; None is the function of sRGB."""

    @property
    def is_plausible(self) -> bool:
        """Whether it is a color space at all: a file may contain any numbers."""
        x, y = np.array(self[:4]).T
        red, green, blue = self[:3]
        area = np.linalg.det([(*red, 1), (*green, 1), (*blue, 1)])
        return bool((y > _NEAR).all() and (x + y < 1.2).all() and abs(area) > 0.01) and (
            self.gamma is None or 0.2 < self.gamma < 10
        )

    @property
    def is_srgb(self) -> bool:
        """Whether images of it look the same in sRGB."""
        points = np.abs(np.array(self[:4]) - np.array(_PRIMARIES[1]))
        return bool(points.max() < _NEAR) and abs((self.gamma or _SRGB_GAMMA) - _SRGB_GAMMA) < 0.05


def hdr_name(transfer: int) -> str | None:
    """Return the name of a transfer function of HDR, for which there is no usual profile; else None."""
    return _HDR.get(transfer)


def coded_profile(primaries: int, transfer: int) -> bytes | None:
    """Return the profile for codes of ITU-T H.273; None for sRGB, HDR and codes that are unspecified."""
    if transfer in _HDR:
        return None
    points = _PRIMARIES.get(primaries, _PRIMARIES[1])
    return _profile_unless_srgb(ColorSpace(*points, gamma=_GAMMAS.get(transfer)), True)


def hdr_of_png(chunks: Iterable[Chunk]) -> str | None:
    """Return the name of the transfer function of HDR that chunks of a PNG describe, or None."""
    codes = dict(chunks).get(b"cICP", b"")
    return hdr_name(codes[1]) if len(codes) == 4 else None


def png_profile(chunks: Iterable[Chunk], *, has_color: bool) -> bytes | None:
    """Return the profile for the colors that chunks of a PNG describe; None for sRGB and HDR."""
    found = dict(chunks)
    codes = found.get(b"cICP", b"")
    if len(codes) == 4:
        return coded_profile(*codes[:2]) if has_color else None
    if b"sRGB" in found or not (b"gAMA" in found or b"cHRM" in found):
        return None
    points = _PRIMARIES[1]
    gamma: float | None = None
    if len(data := found.get(b"cHRM", b"")) == 32:
        numbers = [number / 100_000 for number in struct.unpack(">8L", data)]
        white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
        points = (red, green, blue, white)
    if len(data := found.get(b"gAMA", b"")) == 4 and any(data):
        gamma = 100_000 / int.from_bytes(data, "big")
    space = ColorSpace(*points, gamma=gamma)
    return _profile_unless_srgb(space, has_color) if space.is_plausible else None


def _profile_unless_srgb(space: ColorSpace, has_color: bool) -> bytes | None:
    if not has_color:
        space = ColorSpace(*_PRIMARIES[1], gamma=space.gamma)
    return None if space.is_srgb else _profile(space, has_color)


@cache
def _profile(space: ColorSpace, has_color: bool) -> bytes:
    """Return a profile of version 4 for color or for gray."""
    tags = {
        b"desc": _text("Color space of the image"),
        b"cprt": _text("No copyright"),
        b"wtpt": _xyz(_D50),
    }
    curve = _curve(space.gamma)
    if has_color:
        adaptation = _adaptation(_xyz_of(space.white))
        columns = adaptation @ _matrix(space)
        numbers = struct.pack(">9l", *(round(v * 65536) for v in adaptation.flat))
        tags |= {b"chad": b"sf32" + bytes(4) + numbers}
        tags |= {
            name + b"XYZ": _xyz(column)
            for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True)
        }
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    else:
        tags |= {b"kTRC": curve}
    table, content = struct.pack(">L", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sLL", name, start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    length = start + len(content)
    head = struct.pack(
        ">L4x4s4s4s4s", length, b"\4\x30\0\0", b"mntr", b"RGB " if has_color else b"GRAY", b"XYZ "
    )
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + content


def _text(text: str) -> bytes:
    return (
        b"mluc" + struct.pack(">4xLL4sLL", 1, 12, b"enUS", 2 * len(text), 28) + text.encode("utf-16-be")
    )


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + struct.pack(">4x3l", *(round(float(v) * 65536) for v in values))


def _curve(gamma: float | None) -> bytes:
    """Return a parametric curve: an exponent, or the function of sRGB."""
    numbers = (gamma,) if gamma else (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    encoded = struct.pack(f">{len(numbers)}l", *(round(number * 65536) for number in numbers))
    return b"para" + struct.pack(">4xHxx", 0 if gamma else 3) + encoded


def _xyz_of(point: _Point) -> np.ndarray:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _matrix(space: ColorSpace) -> np.ndarray:
    """Return the matrix from linear RGB to XYZ."""
    columns = np.stack([_xyz_of(point) for point in (space.red, space.green, space.blue)], axis=1)
    matrix: np.ndarray = columns * np.linalg.solve(columns, _xyz_of(space.white))
    return matrix


def _adaptation(white: np.ndarray) -> np.ndarray:
    """Return the matrix that adapts colors to D50."""
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    matrix: np.ndarray = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD
    return matrix
