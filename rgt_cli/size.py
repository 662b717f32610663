"""How large a result is to be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How large results are: by a factor, or as many pixels. Exactly one way is set."""

    scale: float | None = None
    """The factor of both sides."""
    width: int | None = None
    """Pixels; with `height` and without `fit`, both are met, whatever the proportions."""
    height: int | None = None
    """Pixels."""
    fit: bool = False
    """Keep the proportions, within `width` and `height`."""

    def of(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result from those of a source, in pixels."""
        if self.scale is not None:
            factor = self.scale
        elif self.width and self.height:
            if not self.fit:
                return self.width, self.height
            factor = min(self.width / width, self.height / height)
        elif self.width:
            return self.width, max(1, round(height * self.width / width))
        else:
            assert self.height
            return max(1, round(width * self.height / height)), self.height
        return max(1, round(width * factor)), max(1, round(height * factor))

    def __str__(self) -> str:
        if self.scale is not None:
            return f"x{self.scale:g}"
        sides = [str(side) for side in (self.width, self.height) if side]
        return "x".join(sides) if len(sides) == 2 else ("w" if self.width else "h") + sides[0]
