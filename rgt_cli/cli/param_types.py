"""The kinds of values that options accept, for Click; `rgt_cli.values` parses most of them."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import click

from rgt_cli import values
from rgt_cli.errors import UsageError
from rgt_cli.media import format_named
from rgt_cli.size import Crop, Dimensions

Parameter = click.Parameter | None
Context = click.Context | None
Item = TypeVar("Item")


class ParsedType(click.ParamType[Item], Generic[Item]):
    """A kind of value that a function parses. A value that it refuses is a wrong usage of the option."""

    @staticmethod
    @abstractmethod
    def parse(value: Any) -> Item:
        """Return the value of the option.

        Raises:
            UsageError: The value is refused.
        """

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Item:
        """Return the parsed value."""
        try:
            return self.parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class TileType(ParsedType[int | Literal["auto", "none"]]):
    """The side of a tile in pixels, "auto" or "none"."""

    name = "N|auto|none"
    parse = staticmethod(values.parse_tile)


class MemoryType(ParsedType[int]):
    """An amount of memory, in bytes."""

    name = "SIZE"
    parse = staticmethod(values.parse_memory)


class PixelsType(ParsedType[int]):
    """A number of pixels."""

    name = "N"
    parse = staticmethod(values.parse_pixels)


class ScaleType(ParsedType[float]):
    """An upscaling factor."""

    name = "X"
    parse = staticmethod(values.parse_scale)


class FormatType(ParsedType[str]):
    """The name of a format, or one of its suffixes, in any case."""

    name = "NAME"

    @staticmethod
    def parse(value: Any) -> str:
        """Return the name."""
        return format_named(str(value)).name


class BoxType(ParsedType[Dimensions]):
    """A width and a height in pixels."""

    name = "WxH"
    parse = staticmethod(values.parse_box)


class CropType(ParsedType[Crop]):
    """A part of an image."""

    name = "X,Y,W,H"
    parse = staticmethod(values.parse_crop)


class ColorType(ParsedType[tuple[int, int, int]]):
    """A color, as (red, green, blue) of 0..255."""

    name = "COLOR"
    parse = staticmethod(values.parse_color)


class DPIType(ParsedType[float | Literal["keep", "scale"]]):
    """A number of pixels per inch, "keep" or "scale"."""

    name = "N|keep|scale"
    parse = staticmethod(values.parse_dpi)


class TimeType(ParsedType[float]):
    """A time in a video, in seconds."""

    name = "TIME"
    parse = staticmethod(values.parse_time)


class FrameRateType(ParsedType[Fraction]):
    """Frames a second, exact."""

    name = "N"
    parse = staticmethod(values.parse_frame_rate)


class ArgumentsType(ParsedType[tuple[str, ...]]):
    """Arguments for another program, quoted as in a shell."""

    name = "TEXT"
    parse = staticmethod(values.parse_arguments)


class InputType(click.ParamType[Path]):
    """The path of an input, a glob pattern, or -."""

    name = "INPUT"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Path:
        """Return the path."""
        if not str(value):  # which would mean the working folder
            self.fail("an input is empty: is a shell variable unset?", param, ctx)
        return Path(value)


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
