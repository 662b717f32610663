"""The page of `rgt compare`: the input and the results of models, under a slider or in a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgt_cli.files import atomic_write, cannot_write, write_text
from rgt_cli.pages.page import (
    data_url,
    files_folder,
    relative_url,
    remove_other_images,
    render,
    slug,
)
from rgt_cli.size import Dimensions


@dataclass(frozen=True, kw_only=True)
class View:
    """One of the images that are compared."""

    name: str
    """What it is called, such as a model."""
    png: bytes
    """The image as PNG."""
    size: Dimensions
    """Its size in pixels."""
    shows_pixels: bool = False
    """Whether it is shown with larger pixels, at the size of the others."""
    is_secondary: bool = False
    """Whether the grid leaves it out at first."""
    is_truth: bool = False
    seconds: float | None = None
    """Time spent computing."""
    psnr: float | None = None
    """PSNR in dB against the ground truth; None if it is unknown, or infinite."""
    ssim: float | None = None
    """SSIM, 0..1."""

    def facts(self) -> dict[str, float]:
        """Return the figures that are known."""
        values = {"seconds": self.seconds, "psnr": self.psnr, "ssim": self.ssim}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One image, or one frame of a video."""

    title: str
    """What distinguishes it from the other scenes."""
    size: Dimensions
    """The size in which all views are shown, in pixels."""
    views: tuple[View, ...]
    left: int
    """Index of the view on the left of the slider at first."""
    right: int

    def as_json(self, sources: list[str]) -> dict[str, Any]:
        """Return what the script of a page shows, given the address of each view."""
        views = [
            {
                "name": view.name,
                "src": source,
                "size": view.size,
                "pixels": view.shows_pixels,
                "hidden": view.is_secondary,
                "isTruth": view.is_truth,
                "facts": view.facts(),
            }
            for view, source in zip(self.views, sources, strict=True)
        ]
        return {
            "title": self.title,
            "width": self.size.width,
            "height": self.size.height,
            "views": views,
            "left": self.left,
            "right": self.right,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared."""

    title: str
    subtitle: str
    scenes: tuple[Scene, ...]


def write_page(comparison: Comparison, page: Path, *, standalone: bool) -> int:
    """Write a page, and unless `standalone` puts the images into it, a folder with them beside it.

    Images of an earlier page of this name are removed. The page is written last.

    Returns:
        The bytes of the page and its images.

    Raises:
        OutputError: A file cannot be written.
    """
    folder, files, scenes = files_folder(page), dict[str, bytes](), []
    digits = max(2, len(str(len(comparison.scenes))))
    for number, scene in enumerate(comparison.scenes, 1):
        sources = []
        for at, view in enumerate(scene.views, 1):
            if standalone:
                sources.append(data_url(view.png))
                continue
            name = f"{number:0{digits}}-{at:02}-{slug(view.name)}.png"
            files[name] = view.png
            sources.append(relative_url(folder / name, page))
        scenes.append(scene.as_json(sources))
    text = render(
        title=comparison.title,
        subtitle=comparison.subtitle,
        bodies=["viewer.html"],
        scripts=["common.js", "viewer.js", "compare.js"],
        data={"scenes": scenes},
    )
    if files:
        _write_files(folder, files)
    write_text(page, text)
    return len(text.encode()) + sum(map(len, files.values()))


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(exist_ok=True)
        remove_other_images(folder, files)
    except OSError as error:
        raise cannot_write(folder, error) from error
    for name, content in files.items():
        with atomic_write(folder / name) as file:
            file.write(content)


def finite(value: float) -> float | None:
    """Return a figure that a page can show; None for an infinite PSNR."""
    return value if math.isfinite(value) else None
