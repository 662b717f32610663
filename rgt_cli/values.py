"""Parse the values of options: the command and the Python API accept the same ones."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Literal

from PIL import ImageColor

from rgt_cli.errors import UsageError
from rgt_cli.size import Crop, Dimensions, Size

MIN_TILE = 16
"""The smallest side of a tile in pixels that can be requested."""
MAX_SCALE = 64
MAX_FPS = 1000
GPUS_WITH_NUMBERS = ("cuda", "xpu")
"""Kinds of GPUs that have their own memory, and of which a machine may have several: "cuda" for NVIDIA
and AMD, "xpu" for Intel."""
_NTSC_ROUNDING = Fraction(1, 200)
"""How far a decimal, such as 29.97 or 23.98, may be from the rate of NTSC that it means."""
_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def parse_scale(value: Any) -> float:
    """Return an upscaling factor, given as a number or as "2", "1.5", "2x" or "x2".

    Raises:
        UsageError: It is not a factor.
    """
    found = re.fullmatch(r"[xX]?(\d+(?:\.\d+)?)[xX]?", str(value).strip())
    scale = float(found[1]) if found else 0.0
    if not 0 < scale <= MAX_SCALE:
        raise UsageError(f"{value!r} is not a factor: use a number up to {MAX_SCALE}, like 2 or 1.5")
    return scale


def parse_device(name: str) -> tuple[str, int | None]:
    """Return the kind of a device, "cuda", "xpu", "mps" or "cpu", and its number if it has one.

    Raises:
        UsageError: It is not the name of a device.
    """
    kind, colon, number = name.partition(":")
    is_numbered = kind in GPUS_WITH_NUMBERS and number.isdecimal()
    if kind not in (*GPUS_WITH_NUMBERS, "mps", "cpu") or (colon and not is_numbered):
        raise UsageError(f"{name!r} is not a device: use auto, cuda, cuda:N, xpu, xpu:N, mps or cpu")
    return kind, int(number) if number else None


def parse_tile(value: Any) -> int | Literal["auto", "none"]:
    """Return the side of a tile in pixels, "auto" or "none".

    Raises:
        UsageError: It is none of these, or too small.
    """
    if value in ("auto", "none"):
        return value  # type: ignore[no-any-return]
    try:
        side = int(str(value))  # which refuses 16.5 and True, unlike int(value)
    except ValueError as error:
        raise UsageError(
            f"{value!r} is not a tile size: use a number of pixels, auto or none"
        ) from error
    if side < MIN_TILE:
        raise UsageError(f"{side} is too small for a tile: use at least {MIN_TILE} pixels")
    return side


def parse_memory(value: Any) -> int:
    """Return bytes, given as a number or as "6G", "1.5 GiB" or "800M", with powers of 1024.

    Raises:
        UsageError: It is not an amount of memory.
    """
    count = _amount(value, _BINARY, "(?:i?B)?")
    if count < 1:
        raise UsageError(f"{value!r} is not an amount of memory: use, for example, 6G or 800M")
    return count


def parse_pixels(value: Any) -> int:
    """Return a number of pixels, given as a number or as "300M" or "1.5G", with powers of 1000.

    Raises:
        UsageError: It is not a number of pixels.
    """
    count = _amount(value, _DECIMAL, "P?")
    if count < 1:
        raise UsageError(f"{value!r} is not a number of pixels: use, for example, 300M or 1G")
    return count


def _amount(value: Any, units: dict[str, int], suffix: str) -> int:
    """Return the value of "1.5G", in units of one; 0 if it is not an amount."""
    letters = "".join(units)
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([{letters}]?){suffix}", str(value).strip(), re.IGNORECASE)
    return int(float(found[1]) * units[found[2].upper()]) if found else 0


def parse_box(value: Any) -> Dimensions:
    """Return a width and a height in pixels, given as "1920x1080" or as two numbers.

    Raises:
        UsageError: It is not a width and height.
    """
    text = "x".join(str(side) for side in value) if isinstance(value, (tuple, list)) else str(value)
    found = re.fullmatch(r"([1-9]\d*)[xX\u00d7]([1-9]\d*)", text.strip())
    if found is None:
        raise UsageError(f"{value!r} is not a width and height: use, for example, 1920x1080")
    return Dimensions(int(found[1]), int(found[2]))


def parse_crop(value: Any) -> Crop:
    """Return a part of an image, given as "X,Y,WIDTH,HEIGHT" in pixels.

    Raises:
        UsageError: It is not a part of an image.
    """
    found = re.fullmatch(r"(\d+),(\d+),([1-9]\d*),([1-9]\d*)", re.sub(r"\s", "", str(value)))
    if found is None:
        raise UsageError(f"{value!r} is not a part of an image: use X,Y,WIDTH,HEIGHT, like 100,50,64,64")
    return Crop(*map(int, found.groups()))


def parse_color(value: Any) -> tuple[int, int, int]:
    """Return RGB of 0..255, given as "white", as "#102030" or as three numbers.

    Raises:
        UsageError: It is not a color.
    """
    if isinstance(value, (tuple, list)) and len(value) == 3 and all(v in range(256) for v in value):
        return int(value[0]), int(value[1]), int(value[2])
    try:
        red, green, blue = ImageColor.getrgb(str(value))[:3]
    except ValueError as error:
        raise UsageError(f"{value!r} is not a color: use, for example, white or #ffffff") from error
    return red, green, blue


def parse_dpi(value: Any) -> float | Literal["keep", "scale"]:
    """Return pixels per inch, "keep" or "scale".

    Raises:
        UsageError: It is none of these.
    """
    if value in ("keep", "scale"):
        return value  # type: ignore[no-any-return]
    dpi = _number(value)
    if not 0 < dpi < 1e6:
        raise UsageError(f"{value!r} is not a resolution: use a number, keep or scale")
    return dpi


def parse_time(value: Any) -> float:
    """Return seconds, given as a number or as "90", "1:30" or "0:01:30.5".

    Raises:
        UsageError: It is not a time.
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", str(value).strip()):
        raise UsageError(f"{value!r} is not a time: use, for example, 90 or 1:30")
    seconds = 0.0
    for part in str(value).split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def parse_frame_rate(value: Any) -> Fraction:
    """Return frames per second, given as 24, "23.976" or "24000/1001".

    A decimal that rounds a rate of NTSC, such as 23.976, means that rate.

    Raises:
        UsageError: It is not a rate up to 1000.
    """
    try:
        rate = Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_FPS:
        raise UsageError(f"{value!r} is not a frame rate: use, for example, 24 or 30000/1001")
    ntsc = Fraction(round(rate) * 1000, 1001)
    return ntsc if rate.denominator > 1 and abs(rate - ntsc) < _NTSC_ROUNDING else rate


def parse_arguments(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return the arguments for another program, given one by one or quoted as in a shell.

    Raises:
        UsageError: A quote is not closed.
    """
    if not isinstance(value, str):
        return tuple(str(argument) for argument in value)
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise UsageError(f"{value!r} cannot be split into arguments: {error}") from error


def parse_whole_number(value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number.

    Args:
        value: A number, or its digits.
        least: The smallest that is allowed.
        most: The largest that is allowed.

    Raises:
        UsageError: It is not a whole number, or outside of the range.
    """
    try:
        number = int(str(value))
    except ValueError as error:
        raise UsageError(f"{value!r} is not a whole number") from error
    if number < least or (most is not None and number > most):
        allowed = f"at least {least}" if most is None else f"{least} to {most}"
        raise UsageError(f"{number} is out of range: use {allowed}")
    return number


def parse_number(value: Any, least: float = -math.inf) -> float:
    """Return a finite number.

    Raises:
        UsageError: It is not a number, or below `least`.
    """
    number = _number(value)
    if not math.isfinite(number):
        raise UsageError(f"{value!r} is not a number")
    if number < least:
        raise UsageError(f"{value!r} is out of range: use at least {least:g}")
    return number


def _number(value: Any) -> float:
    """Return a number; NaN if it is none."""
    try:
        return float(str(value))  # which refuses True, unlike float(value)
    except ValueError:
        return math.nan


def parse_choice(value: Any, choices: Iterable[Any]) -> Any:
    """Return a value that is one of `choices`.

    Raises:
        UsageError: It is not.
    """
    choices = list(choices)
    if isinstance(value, bool) or value not in choices:
        *others, last = (str(choice) for choice in choices)
        raise UsageError(f"{value!r} is not supported: use {', '.join(others)} or {last}")
    return value


def requested_size(
    *,
    scale: float | None,
    width: int | None,
    height: int | None,
    fit: Dimensions | None,
    prefix: str = "",
) -> Size | None:
    """Return the size that is requested in one of three ways; None if none is used.

    Args:
        scale: A factor.
        width: Pixels.
        height: Pixels.
        fit: A box in pixels.
        prefix: What precedes the names of the options in an error.

    Raises:
        UsageError: Several ways are used.
    """
    has_sides = width is not None or height is not None
    ways = {"scale": scale is not None, f"width/{prefix}height": has_sides, "fit": fit is not None}
    reject_several([prefix + name for name, given in ways.items() if given])
    if fit:
        return Size(width=fit.width, height=fit.height, fit=True)
    if has_sides:
        return Size(width=width, height=height)
    return None if scale is None else Size(scale=scale)


def reject_several(given: Sequence[str]) -> None:
    """Refuse options that cannot be used together.

    Raises:
        UsageError: More than one of them is given.
    """
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be used together: choose one of them")
