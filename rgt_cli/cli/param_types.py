"""The kinds of values that options accept."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import click
from PIL import ImageColor

from rgt_cli.errors import UsageError
from rgt_cli.media import format_named
from rgt_cli.size import Dimensions

MIN_TILE = 16
"""The smallest side in pixels that `--tile` accepts."""
MAX_SCALE = 64
MAX_FPS = 1000
_NTSC_ROUNDING = Fraction(1, 200)
"""How far a decimal, such as 29.97 or 23.98, may be from the rate of NTSC that it means."""
_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}

Parameter = click.Parameter | None
Context = click.Context | None
Item = TypeVar("Item")


def _amount(text: str, units: dict[str, int], suffix: str) -> int:
    """Return the value of "1.5G", in units of one; 0 if the text is not an amount."""
    letters = "".join(units)
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([{letters}]?){suffix}", text.strip(), re.IGNORECASE)
    return int(float(found[1]) * units[found[2].upper()]) if found else 0


class TileType(click.ParamType[int | Literal["auto", "none"]]):
    """The side of a tile in pixels, "auto" or "none"."""

    name = "N|auto|none"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int | Literal["auto", "none"]:
        """Return pixels or the word."""
        if value == "auto" or value == "none":
            return value  # type: ignore[no-any-return]
        try:
            side = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a tile size: use a number of pixels, auto or none", param, ctx)
        if side < MIN_TILE:
            self.fail(f"{side} is too small for a tile: use at least {MIN_TILE} pixels", param, ctx)
        return side


class MemoryType(click.ParamType[int]):
    """An amount of memory, "6G" or "1.5 GiB" or "800M", in bytes; K, M, G and T are powers of 1024."""

    name = "SIZE"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        """Return bytes."""
        count = value if isinstance(value, int) else _amount(value, _BINARY, "(?:i?B)?")
        if count < 1:
            self.fail(f"{value!r} is not an amount of memory: use, for example, 6G or 800M", param, ctx)
        return count


class PixelsType(click.ParamType[int]):
    """A number of pixels, "300M" or "1.5G" or "90000"; K, M and G are powers of 1000."""

    name = "N"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        """Return a number of pixels."""
        count = value if isinstance(value, int) else _amount(value, _DECIMAL, "P?")
        if count < 1:
            self.fail(f"{value!r} is not a number of pixels: use, for example, 300M or 1G", param, ctx)
        return count


class InputType(click.ParamType[Path]):
    """The path of an input, a glob pattern, or -."""

    name = "INPUT"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Path:
        """Return the path."""
        if not str(value):  # which would mean the working folder
            self.fail("an input is empty: is a shell variable unset?", param, ctx)
        return Path(value)


class ScaleType(click.ParamType[float]):
    """An upscaling factor, "2" or "1.5" or "2x" or "x2"."""

    name = "X"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> float:
        """Return the factor."""
        found = re.fullmatch(r"[xX]?(\d+(?:\.\d+)?)[xX]?", str(value).strip())
        scale = float(found[1]) if found else 0.0
        if not 0 < scale <= MAX_SCALE:
            self.fail(
                f"{value!r} is not a factor: use a number up to {MAX_SCALE}, like 2 or 1.5", param, ctx
            )
        return scale


class FormatType(click.ParamType[str]):
    """The name of a format, or one of its suffixes, in any case."""

    name = "NAME"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        """Return the name."""
        try:
            return format_named(str(value)).name
        except UsageError as error:
            self.fail(str(error), param, ctx)


class BoxType(click.ParamType[Dimensions]):
    """A width and a height in pixels, "1920x1080"."""

    name = "WxH"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Dimensions:
        """Return the size."""
        found = re.fullmatch(r"([1-9]\d*)[xX\u00d7]([1-9]\d*)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a width and height: use, for example, 1920x1080", param, ctx)
        return Dimensions(int(found[1]), int(found[2]))


class ColorType(click.ParamType[tuple[int, int, int]]):
    """A color, "white" or "#102030", as (red, green, blue) of 0..255."""

    name = "COLOR"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[int, int, int]:
        """Return RGB of 0..255."""
        try:
            red, green, blue = ImageColor.getrgb(value)[:3]
        except ValueError:
            self.fail(f"{value!r} is not a color: use, for example, white or #ffffff", param, ctx)
        return red, green, blue


class DPIType(click.ParamType[float | Literal["keep", "scale"]]):
    """A number of pixels per inch, "keep" or "scale"."""

    name = "N|keep|scale"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> float | Literal["keep", "scale"]:
        """Return pixels per inch or the word."""
        if value == "keep" or value == "scale":
            return value  # type: ignore[no-any-return]
        try:
            dpi = float(value)
        except ValueError:
            dpi = 0.0
        if not 0 < dpi < 1e6:
            self.fail(f"{value!r} is not a resolution: use a number, keep or scale", param, ctx)
        return dpi


class TimeType(click.ParamType[float]):
    """A time in a video, "90" or "1:30" or "0:01:30.5", in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", value.strip()):
            self.fail(f"{value!r} is not a time: use, for example, 90 or 1:30", param, ctx)
        seconds = 0.0
        for part in value.split(":"):
            seconds = seconds * 60 + float(part)
        return seconds


class FrameRateType(click.ParamType[Fraction]):
    """Frames a second, "24" or "23.976" or "24000/1001"."""

    name = "N"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Fraction:
        """Return the exact rate: that of NTSC, such as 24000/1001, for decimals that round it."""
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 0 < rate <= MAX_FPS:
            self.fail(f"{value!r} is not a frame rate: use, for example, 24 or 30000/1001", param, ctx)
        ntsc = Fraction(round(rate) * 1000, 1001)
        return ntsc if rate.denominator > 1 and abs(rate - ntsc) < _NTSC_ROUNDING else rate


class ArgumentsType(click.ParamType[tuple[str, ...]]):
    """Arguments for another program, quoted as in a shell."""

    name = "TEXT"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[str, ...]:
        """Return the arguments, one by one."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            self.fail(f"{value!r} cannot be split into arguments: {error}", param, ctx)


class ListType(click.ParamType[list[Item]], Generic[Item]):
    """Values with commas between them."""

    name = "LIST"

    def __init__(self, item: click.ParamType[Item]) -> None:
        self.item = item

    def convert(self, value: Any, param: Parameter, ctx: Context) -> list[Item]:
        """Return the values."""
        if isinstance(value, list):
            return value
        return [self.item.convert(part.strip(), param, ctx) for part in value.split(",")]
