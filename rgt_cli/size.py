"""Sizes of images: actual ones and requested ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Dimensions(NamedTuple):
    """The size of an image in pixels, as shown."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


class Crop(NamedTuple):
    """A rectangular part of an image, in pixels from its left and upper edge."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return ",".join(map(str, self))


@dataclass(frozen=True)
class Size:
    """The requested size of outputs: either a factor, or a number of pixels."""

    scale: float | None = None
    """Factor of both sides. If it is set, the other fields are not."""
    width: int | None = None
    """Pixels. With `height` and without `fit`, both are met, whatever the proportions."""
    height: int | None = None
    """Pixels."""
    fit: bool = False
    """Keep the proportions and stay within `width` and `height`."""

    def of(self, source: Dimensions) -> Dimensions:
        """Return the size of the output for an input of size `source`."""
        width, height = source
        if self.scale is not None:
            factor = self.scale
        elif self.width and self.height:
            if not self.fit:
                return Dimensions(self.width, self.height)
            factor = min(self.width / width, self.height / height)
        elif self.width:
            return Dimensions(self.width, max(1, round(height * self.width / width)))
        else:
            assert self.height
            return Dimensions(max(1, round(width * self.height / height)), self.height)
        return Dimensions(max(1, round(width * factor)), max(1, round(height * factor)))

    def __str__(self) -> str:
        if self.scale is not None:
            return f"x{self.scale:g}"
        sides = [str(side) for side in (self.width, self.height) if side]
        return "x".join(sides) if len(sides) == 2 else ("w" if self.width else "h") + sides[0]
