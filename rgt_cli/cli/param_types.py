"""The types of values that options accept, for Click; `rgt_cli.values` parses them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from rgt_cli import values
from rgt_cli.errors import UsageError
from rgt_cli.media import format_named

Parameter = click.Parameter | None
Context = click.Context | None
Item = TypeVar("Item")


class ParsedType(click.ParamType[Item], Generic[Item]):
    """A type of value that a function parses. A value that the function refuses is wrong usage.

    Args:
        name: The placeholder of the value in `--help`.
        parse: Returns the value of the option, or raises `UsageError`.
    """

    def __init__(self, name: str, parse: Callable[[Any], Item]) -> None:
        self.name, self.parse = name, parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the placeholder as it is, not in upper case."""
        return self.name

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Item:
        """Return the parsed value."""
        try:
            return self.parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


TILE = ParsedType("N|auto|none", values.parse_tile)
MEMORY = ParsedType("SIZE", values.parse_memory)
PIXELS = ParsedType("N", values.parse_pixels)
SCALE = ParsedType("X", values.parse_scale)
FORMAT = ParsedType("NAME", lambda value: format_named(str(value)).name)
BOX = ParsedType("WxH", values.parse_box)
CROP = ParsedType("X,Y,W,H", values.parse_crop)
COLOR = ParsedType("COLOR", values.parse_color)
DPI = ParsedType("N|keep|scale", values.parse_dpi)
TIME = ParsedType("TIME", values.parse_time)
FRAME_RATE = ParsedType("N", values.parse_frame_rate)
ARGUMENTS = ParsedType("TEXT", values.parse_arguments)
NUMBER = ParsedType("X", values.parse_number)


def whole_number(least: int, most: int | None = None) -> ParsedType[int]:
    """Return the type of whole numbers from `least` to `most`."""
    return ParsedType("N", functools.partial(values.parse_whole_number, least=least, most=most))


def number(least: float) -> ParsedType[float]:
    """Return the type of numbers from `least` on."""
    return ParsedType("X", functools.partial(values.parse_number, least=least))


class ChoiceType(click.Choice[str]):
    """One of several words."""

    def get_invalid_choice_message(self, value: Any, ctx: Context) -> str:
        """Return the message of `parse_choice`."""
        try:
            values.parse_choice(value, self.choices)
        except UsageError as error:
            return str(error)
        raise AssertionError(value)

    def get_missing_message(self, param: Parameter, ctx: Context | None) -> str:
        """Add nothing to the message: the metavar of the argument shows the words."""
        return ""


class InputType(click.ParamType[Path]):
    """The path of an input, a glob pattern, or -."""

    name = "INPUT"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Path:
        """Return the path."""
        if not str(value):  # which would mean the working folder
            self.fail("an input is empty: is a shell variable unset?", param, ctx)
        return Path(value)


class ListType(click.ParamType[list[Item]], Generic[Item]):
    """Values separated by commas."""

    name = "LIST"

    def __init__(self, item: click.ParamType[Item]) -> None:
        self.item = item

    def convert(self, value: Any, param: Parameter, ctx: Context) -> list[Item]:
        """Return the values."""
        if isinstance(value, list):
            return value
        return [self.item.convert(part.strip(), param, ctx) for part in value.split(",")]
