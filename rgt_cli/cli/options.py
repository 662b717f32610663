"""Options that several commands share, and what a person may write for them."""

import re

import click

SMALLEST_TILE = 16
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
        if side < SMALLEST_TILE:
            self.fail(f"a tile has at least {SMALLEST_TILE} pixels a side, not {side}", param, ctx)
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


model = click.option("-m", "--model", default="auto", show_default=True, help="A name, or a checkpoint.")
device = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cuda|cuda:N|mps|cpu",
    help="Where to compute.",
)  # fmt: skip
threads = click.option(
    "--threads", type=click.IntRange(min=1), help="Default: the processors this process may use."
)
