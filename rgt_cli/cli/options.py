"""What a person may write for options, and those that several commands share."""

import re

import click
from PIL import ImageColor

MIN_TILE = 16
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class TileType(click.ParamType):
    """A side in pixels, or one of the words."""

    name = "N|auto|none"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int:
        if value in ("auto", "none"):
            return value
        try:
            side = int(value)
        except ValueError:
            self.fail(f"{value!r} is no number of pixels, nor auto or none", param, ctx)
        if side < MIN_TILE:
            self.fail(f"a tile has at least {MIN_TILE} pixels a side, not {side}", param, ctx)
        return side


class SizeType(click.ParamType):
    """An amount of memory, "6G" or "1.5 GiB" or "800M"; K, M, G and T are powers of 1024."""

    name = "SIZE"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", value.strip(), re.IGNORECASE)
        size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
        if size < 1:
            self.fail(f"{value!r} is no amount of memory; write 6G or 800M", param, ctx)
        return size


class PixelsType(click.ParamType):
    """A number of pixels, "300M" or "1.5G" or "90000"; K, M and G are powers of 1000."""

    name = "PIXELS"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)P?", value.strip(), re.IGNORECASE)
        count = int(float(found[1]) * 1000 ** " KMG".index(found[2].upper() or " ")) if found else 0
        if count < 1:
            self.fail(f"{value!r} is no number of pixels; write 300M or 1G", param, ctx)
        return count


class BoxType(click.ParamType):
    """A width and a height in pixels, "1920x1080"."""

    name = "WxH"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9]\d*)[xX\u00d7]([1-9]\d*)", value.strip())
        if found is None:
            self.fail(f"{value!r} is no width and height; write 1920x1080", param, ctx)
        return int(found[1]), int(found[2])


class ColorType(click.ParamType):
    """A color, "white" or "#102030", as (red, green, blue) of 0..255."""

    name = "COLOR"

    def convert(
        self, value: str | tuple, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        try:
            red, green, blue = ImageColor.getrgb(value)[:3]
        except ValueError:
            self.fail(f"{value!r} is no color; write white or #ffffff", param, ctx)
        return red, green, blue


class DPIType(click.ParamType):
    """One of the words, or a number of pixels an inch."""

    name = "keep|scale|N"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | float:
        if value in ("keep", "scale"):
            return value
        try:
            dpi = float(value)
        except ValueError:
            dpi = 0.0
        if not 0 < dpi < 1e6:
            self.fail(f"{value!r} is neither keep nor scale nor a number of pixels an inch", param, ctx)
        return dpi


class TimeType(click.ParamType):
    """A time in a film, "90" or "1:30" or "0:01:30.5", in seconds."""

    name = "TIME"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", value.strip()):
            self.fail(f"{value!r} is no time; write 90 or 1:30", param, ctx)
        seconds = 0.0
        for part in value.split(":"):
            seconds = seconds * 60 + float(part)
        return seconds


model = click.option("-m", "--model", default="auto", show_default=True, help="A name, or a checkpoint.")
device = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cuda|cuda:N|mps|cpu",
    help="Where to compute.",
)  # fmt: skip
threads = click.option(
    "--threads", type=click.IntRange(min=1), help="Default: the processors this process may use."
)
