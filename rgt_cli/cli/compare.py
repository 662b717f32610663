"""`rgt compare`: the input and the results of several models beside each other, in one page."""

from __future__ import annotations

import dataclasses
import math
import os
import time
import webbrowser
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from PIL import Image

from rgt_cli.cli import candidates, options
from rgt_cli.cli.command import Command, common, group, section
from rgt_cli.cli.console import Console, format_bytes
from rgt_cli.cli.param_types import CROP, SCALE, TIME
from rgt_cli.errors import InputError, UsageError
from rgt_cli.files import exclusive
from rgt_cli.jobs import ModelOptions
from rgt_cli.jobs.automatic import AutomaticModels
from rgt_cli.jobs.inputs import ComparedInput, cropped, read_inputs, read_truth
from rgt_cli.jobs.models import ModelLoader
from rgt_cli.jobs.plan import check_folder
from rgt_cli.measure.evaluate import Scores, score
from rgt_cli.measure.metrics import SSIM_WINDOW
from rgt_cli.media import (
    Encoding,
    ImageFormat,
    ImageSequence,
    Picture,
    encode_png,
    format_of,
    write_images,
)
from rgt_cli.media.modes import split_alpha
from rgt_cli.pages.comparison import Comparison, Scene, View, finite, write_page
from rgt_cli.pages.page import files_folder, is_page
from rgt_cli.pages.sheet import contact_sheet
from rgt_cli.size import Crop, Dimensions, Size

if TYPE_CHECKING:
    from rgt_cli.inference import MultiPassUpscaler


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What is compared."""

    hr: Path | None
    """The ground truth."""
    crop: Crop | None
    """The part of the input that is upscaled; None for all of it."""
    at: tuple[float, ...]
    """Times of frames of a video, in seconds."""
    max_pixels: int


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What is written."""

    target: Path | None
    standalone: bool
    overwrite: bool
    show: bool
    """Open the result in the browser."""

    def output_for(self, source: Path) -> Path:
        """Return the output for an input.

        Raises:
            UsageError: It exists, or its suffix is not that of a page or an image.
            OutputError: Its folder does not exist or cannot be written.
        """
        target = self.target or source.parent
        if target.is_dir():
            target /= f"{source.stem}_compare.html"
        if not is_page(target):
            if not isinstance(_format_of(target), ImageFormat):
                raise UsageError(f"{target}: a comparison is a page (.html) or an image, not a video")
            if self.standalone:
                raise UsageError(f"{target}: --standalone is for pages: use -o {target.stem}.html")
        written = [target]
        if is_page(target) and not self.standalone:
            written.append(files_folder(target))
        for path in written:
            if os.path.lexists(path) and not self.overwrite:
                raise UsageError(f"{path}: already exists; replace it with --overwrite")
        check_folder(target.parent)
        return target


def _format_of(target: Path) -> object:
    try:
        return format_of(target)
    except UsageError as error:
        raise UsageError(f"{error}, or .html") from error


input_group = group(
    "Input", "inputs", InputOptions,
    click.option(
        "--hr", type=click.Path(path_type=Path), metavar="FILE",
        help="Show the ground truth FILE too, with PSNR and SSIM of each image.",
    ),
    click.option(
        "--crop", type=CROP,
        help="Upscale only this part of the input: left, top, width and height in pixels.",
    ),
    click.option(
        "--at", type=TIME, multiple=True,
        help="Compare the frame of a video at this time, like 90 or 1:30. Repeatable. "
        "[default: the middle]",
    ),
    options.max_pixels,
)  # fmt: skip

page_group = group(
    "Output", "page", PageOptions,
    click.option(
        "-o", "--output", "target", type=click.Path(path_type=Path), metavar="PATH",
        help="The page, its folder, or an image like sheet.png for a contact sheet. "
        "[default: photo_compare.html for photo.png]",
    ),
    click.option(
        "--standalone", is_flag=True,
        help="Put the images into the page, instead of a folder beside it.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an existing output."),
    click.option("--open", "show", is_flag=True, help="Open the result in the browser."),
)  # fmt: skip


@click.command(cls=Command)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@input_group
@page_group
@section(
    "Model and performance",
    click.option(
        "-s", "--scale", type=SCALE,
        help="Upscaling factor, like 2 or 1.5. [default: 4, or that of the first model]",
    ),
)  # fmt: skip
@options.model_group(
    click.option(
        "-m", "--model", default="tiny,tiny-photo", show_default=True, metavar="A,B,C",
        shell_complete=candidates.listed(candidates.models),
        help="Models to compare, separated by commas, each as for `rgt upscale -m`.",
    ),
    options.self_ensemble, options.device, options.precision, options.tile, options.memory,
    options.threads,
)  # fmt: skip
@common
@click.pass_obj
def compare(
    console: Console,
    source: Path,
    inputs: InputOptions,
    page: PageOptions,
    scale: float | None,
    model: ModelOptions,
) -> None:
    """Compare models on an image or on frames of a video.

    \b
    Examples:
      rgt compare photo.jpg -m tiny,tiny-photo,rgt-s    write photo_compare.html
      rgt compare photo.jpg --crop 100,50,64,64 --open  a part of it, in the browser
      rgt compare small.png --hr large.png -s 4         with PSNR and SSIM
      rgt compare clip.mkv --at 0:10 --at 1:30 -s 2     two frames of a video
      rgt compare photo.jpg -o sheet.png                a contact sheet

    The page shows the input, interpolated, and the result of each model: two of them under a slider, or
    all in a grid. It works without a network, in any browser.
    """
    names = options.split_names(model.model)
    if not names:
        raise UsageError("--model: give at least one model")
    target = page.output_for(source)
    sources = read_inputs(source, inputs.at, inputs.crop, inputs.max_pixels)
    truth = read_truth(inputs.hr, inputs.max_pixels) if inputs.hr else None
    with exclusive(target):
        models = [dataclasses.replace(model, model=name) for name in names]
        comparer = _Comparer.load(console, models, Size(scale=scale) if scale else None)
        comparison = comparer.compare(source, sources, inputs, truth)
        written = _write(comparison, target, page)
    counts = f"{len(models)} model{'s' * (len(models) > 1)}"
    frames = f", {len(sources)} frames" if len(sources) > 1 else ""
    console.info(f"{target}: {counts}{frames}, {format_bytes(written)}")
    if page.show and not webbrowser.open(target.absolute().as_uri()):
        console.warn(f"no browser was found: open {target} in one")


def _write(comparison: Comparison, target: Path, page: PageOptions) -> int:
    """Write a comparison, and return its size in bytes."""
    if is_page(target):
        return write_page(comparison, target, standalone=page.standalone)
    file_format = format_of(target)
    assert isinstance(file_format, ImageFormat)
    write_images(ImageSequence([contact_sheet(comparison)]), target, file_format, Encoding())
    return target.stat().st_size


@dataclass(frozen=True)
class _Truth:
    """The ground truth of the results."""

    picture: Picture
    border: int
    """Pixels at each edge that are not compared."""

    @classmethod
    def of(
        cls, source: ComparedInput, size: Size, inputs: InputOptions, whole: Picture | None
    ) -> _Truth | None:
        """Return the part of the ground truth that the results of an input are compared with.

        Raises:
            InputError: The ground truth has another size than the result of the whole input.
        """
        if whole is None:
            return None
        expected, part = size.of(source.whole), size.of(source.source.size)
        factor = expected.width / source.whole.width
        rest = whole.size.width - expected.width, whole.size.height - expected.height
        if not all(0 <= pixels < max(factor, 1) for pixels in rest):
            raise InputError(f"{inputs.hr}: has {whole.size} pixels, but the results have {expected}")
        left, top = (round(factor * side) for side in (inputs.crop or (0, 0))[:2])
        return cls(cropped(whole, Crop(left, top, *part), f"{inputs.hr}"), math.ceil(factor))

    def scores(self, picture: Picture) -> Scores | None:
        """Return the scores of an image by the protocol of papers; None if it is too small for SSIM."""
        ours, truth = picture.with_bits(8).pixels, self.picture.pixels
        if ours.ndim != truth.ndim:
            ours, truth = (np.dstack([x] * 3) if x.ndim == 2 else x for x in (ours, truth))
        if min(ours.shape[:2]) - 2 * self.border < SSIM_WINDOW:
            return None
        return score(ours, truth, self.border)


Choose = Callable[[Path], "MultiPassUpscaler"]
"""Returns the upscaler of a model for an input file; only that of an automatic model depends on it."""


@dataclass(frozen=True)
class _Comparer:
    """Upscales inputs by each model, and measures the results."""

    console: Console
    size: Size
    models: list[Choose]

    @classmethod
    def load(cls, console: Console, models: list[ModelOptions], size: Size | None) -> _Comparer:
        """Load the models.

        Args:
            console: Shows notes and downloads.
            models: The models.
            size: The size of results; None is that of the first model.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        chosen = list[Choose]()
        size = size or models[0].default_size
        for model in models:
            upscaler, chooser = ModelLoader(
                options=model,
                size=size,
                alpha_by_network=True,
                note=console.warn,
                downloads=console.downloads,
            ).load()
            size = upscaler.size
            chosen.append(_automatic(chooser) if chooser else _always(upscaler))
        assert size
        return cls(console, size, chosen)

    def compare(
        self, path: Path, sources: list[ComparedInput], inputs: InputOptions, truth: Picture | None
    ) -> Comparison:
        """Upscale all inputs, which are from one file, and return what is shown of them.

        Raises:
            InputError: The ground truth has another size than the results.
            UsageError, OutOfMemoryError, CheckpointError: As `NetworkUpscaler.upscale`.
        """
        scenes, total = list[Scene](), len(sources) * len(self.models)
        with self.console.counting("comparing", "results") as on_progress:
            for source in sources:
                done = len(scenes) * len(self.models)
                part = _Truth.of(source, self.size, inputs, truth)
                views = self._interpolated(source, part)
                for number, choose in enumerate(self.models, 1):
                    views.append(self._result(choose(path), source, part))
                    on_progress(done + number, total)
                scenes.append(self._scene(source, views, part))
        where = f", part {inputs.crop}" if inputs.crop else ""
        return Comparison(
            title=path.name,
            subtitle=f"{sources[0].source.size} pixels{where}, upscaled to {scenes[0].views[1].size}",
            scenes=tuple(scenes),
        )

    def _interpolated(self, source: ComparedInput, truth: _Truth | None) -> list[View]:
        """Return the input with larger pixels, and interpolated."""
        original = source.finish(source.source)
        size = self.size.of(original.size)
        repeated = _resized(original, size, Image.Resampling.NEAREST)
        nearest = _view("input, nearest", repeated, truth, is_secondary=True)
        nearest = dataclasses.replace(
            nearest, png=encode_png(original), size=original.size, shows_pixels=True
        )
        bicubic = _resized(original, size, Image.Resampling.BICUBIC)
        lanczos = _resized(original, size, Image.Resampling.LANCZOS)
        return [
            nearest,
            _view("input, bicubic", bicubic, truth),
            _view("input, Lanczos", lanczos, truth, is_secondary=True),
        ]

    def _result(self, upscaler: MultiPassUpscaler, source: ComparedInput, truth: _Truth | None) -> View:
        """Upscale an input by one model."""
        started = time.perf_counter()
        pixels, alpha = upscaler.upscale(source.source.pixels, source.source.alpha)
        seconds = time.perf_counter() - started
        return _view(upscaler.name, source.upscaled(pixels, alpha), truth, seconds=seconds)

    def _scene(self, source: ComparedInput, views: list[View], truth: _Truth | None) -> Scene:
        last = len(views) - 1
        size = self.size.of(source.source.size)
        if truth:
            png = encode_png(truth.picture)
            views.append(View(name="ground truth", png=png, size=size, is_truth=True))
        counts = Counter[str]()
        for at, view in enumerate(views):
            counts[view.name] += 1
            if (count := counts[view.name]) > 1:
                views[at] = dataclasses.replace(view, name=f"{view.name} ({count})")
        shown = Dimensions(max(1, round(size.width * source.aspect)), size.height)
        return Scene(title=source.title, size=shown, views=tuple(views), left=1, right=last)


def _always(upscaler: MultiPassUpscaler) -> Choose:
    return lambda path: upscaler


def _automatic(chooser: AutomaticModels) -> Choose:
    return lambda path: chooser.upscaler_for_image(str(path), path)


def _resized(picture: Picture, size: Dimensions, resampling: Image.Resampling) -> Picture:
    """Return an image in another size, with 8 bits per channel."""
    resized = Image.fromarray(picture.with_bits(8).channels()).resize(size, resampling)
    pixels, alpha = split_alpha(resized)
    return Picture(pixels, alpha, picture.metadata)


def _view(
    name: str,
    picture: Picture,
    truth: _Truth | None,
    *,
    seconds: float | None = None,
    is_secondary: bool = False,
) -> View:
    """Return an image as it is shown, with its scores if there is a ground truth."""
    scores = truth.scores(picture) if truth else None
    return View(
        name=name,
        png=encode_png(picture),
        size=picture.size,
        is_secondary=is_secondary,
        seconds=seconds,
        psnr=finite(scores.psnr) if scores else None,
        ssim=scores.ssim if scores else None,
    )
