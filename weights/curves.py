"""Draw the curves that train.py wrote, one panel each: the PSNR on held-out images over the steps.

\b
Example:
  python weights/curves.py weights/curves/*.csv > weights/curves.svg
"""

from __future__ import annotations

import csv
from pathlib import Path

import click

WIDTH, HEIGHT, MARGIN = 260, 150, 42
"""Size of a panel and the space to the left of its axis, in pixels."""


def panel(path: Path, left: int) -> str:
    """Return one curve as SVG. The ends of its axes are labeled."""
    with path.open() as file:
        steps, values = zip(*((float(s), float(psnr)) for s, _, psnr in csv.reader(file)), strict=True)
    low, high = min(values), max(values)

    def place(step: float, value: float) -> str:
        x = left + MARGIN + step / steps[-1] * (WIDTH - MARGIN - 12)
        y = HEIGHT - 24 - (value - low) / (high - low or 1) * (HEIGHT - 56)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(map(place, steps, values))
    labels = [
        (WIDTH / 2, 14, "middle", path.stem),
        (MARGIN - 6, HEIGHT - 22, "end", f"{low:.2f}"),
        (MARGIN - 6, 36, "end", f"{high:.2f}"),
        (MARGIN, HEIGHT - 6, "start", "0"),
        (WIDTH - 12, HEIGHT - 6, "end", f"{steps[-1]:.0f} steps"),
    ]
    axes = f"M{left + MARGIN},28 V{HEIGHT - 20} H{left + WIDTH - 12}"
    return "\n".join(
        [
            f'<path d="{axes}" fill="none" stroke="#999"/>',
            f'<polyline points="{line}" fill="none" stroke="#06c" stroke-width="1.5"/>',
            *(
                f'<text x="{left + x}" y="{y}" text-anchor="{at}">{label}</text>'
                for x, y, at, label in labels
            ),
        ]
    )


@click.command(help=__doc__)
@click.argument("curves", nargs=-1, type=click.Path(exists=True, path_type=Path))
def draw(curves: tuple[Path, ...]) -> None:
    """Run the command."""
    panels = [panel(path, index * WIDTH) for index, path in enumerate(sorted(curves))]
    click.echo(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11" fill="#555">'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    click.echo("\n".join(panels))
    click.echo("</svg>")


if __name__ == "__main__":
    draw()
