"""Evaluate models on datasets, by the protocol of the literature."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import InputError, NoInputError
from rgt_cli.files import atomic_write, cannot_write
from rgt_cli.measure.metrics import SSIM_WINDOW, bicubic_resize, jpeg_roundtrip, luma, psnr, ssim
from rgt_cli.measure.vmaf import vmaf
from rgt_cli.media.identify import no_pixel_limit

Method = Callable[[np.ndarray], np.ndarray]
"""Upscales (h, w) or (h, w, 3) uint8 to `scale` times the sides."""

SCALES = (2, 3, 4)
"""The factors of the benchmarks."""
_PAPER = Path(__file__).with_name("paper.toml")
_USUAL_FOLDERS = ("hr", "gt", "original", "gtmod12")


@dataclass(frozen=True)
class Dataset:
    """Images of ground truth, with their low-resolution inputs if there are any."""

    name: str
    images: tuple[tuple[Path, Path | None], ...]
    """(ground truth, input) of each image. Without an input, it is computed as by MATLAB's bicubic."""


@dataclass(frozen=True)
class Scores:
    """The similarity of a result to the ground truth, without a border of `scale` pixels."""

    psnr: float
    """PSNR in dB on luma (BT.601), as papers report it."""
    ssim: float
    """SSIM on luma, 0..1, as papers report it."""
    psnr_rgb: float
    """PSNR in dB on all channels."""
    ssim_rgb: float
    """SSIM, 0..1, averaged over the channels."""
    vmaf: float | None = None
    """VMAF, 0..100; None if it was not requested."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The scores of one image, upscaled by one method."""

    dataset: str
    method: str
    image: str
    """The file name."""
    scores: Scores
    seconds: float
    megapixels: float
    """Size of the input."""


def find_dataset(high: Path, low: Path | None, scale: int) -> Dataset:
    """Return the dataset of a folder of ground truth, and of a folder of inputs.

    Args:
        high: A folder of PNG images. The dataset has its name, or that of its parent if the folder is
            called HR or the like.
        low: A folder with an input for each image, of the same name or with x2, x3 or x4 after the stem.

    Raises:
        NoInputError: A folder does not exist, there is no PNG image, or an input is missing.
    """
    for folder in (high, low or high):
        if not folder.is_dir():
            raise NoInputError(
                f"{folder}: is not a folder" if folder.exists() else f"{folder}: no such folder"
            )
    name = high.resolve().name
    if name.lower() in _USUAL_FOLDERS:
        name = high.resolve().parent.name
    images: list[tuple[Path, Path | None]] = []
    for path in sorted(high.glob("*.png")):
        if low is None:
            images.append((path, None))
            continue
        candidates = [low / f"{path.stem}{mark}.png" for mark in ("", f"x{scale}")]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            others = [other for other in SCALES if (low / f"{path.stem}x{other}.png").is_file()]
            hint = f"; its images are for -s {others[0]}" if others else ""
            hint = hint or _did_you_mean(low.glob(f"*/{candidates[1].name}"))
            names = f"neither {candidates[0].name} nor {candidates[1].name}"
            raise NoInputError(f"{low}: contains {names}{hint}")
        images.append((path, found))
    if not images:
        raise NoInputError(f"{high}: contains no PNG images{_did_you_mean(high.glob('*/*.png'))}")
    return Dataset(name, tuple(images))


def _did_you_mean(images: Iterator[Path]) -> str:
    """Return a hint with the folder of such images; empty if there are none."""
    folders = sorted({path.parent for path in images})
    usual = [folder for folder in folders if folder.name.lower() in _USUAL_FOLDERS]
    return f"; did you mean {(usual or folders)[0]}?" if folders else ""


def evaluate(
    datasets: list[Dataset],
    methods: Mapping[str, Method],
    scale: int,
    with_vmaf: bool = False,
    jpeg: int | None = None,
    save_to: Path | None = None,
) -> Iterator[Result]:
    """Yield the scores of every method on every image.

    The ground truth is cropped to a multiple of the scale. Results are compared in 8 bits.

    Args:
        jpeg: Compress the inputs first, at this JPEG quality.
        save_to: Write each result as PNG to the place `dataset/method/image` in this folder.

    Raises:
        InputError: An image cannot be read or is too small, or an input has another size than it should.
        UsageError: VMAF is requested, and this ffmpeg does not have it.
        OutputError: A result cannot be written.
    """
    for dataset in datasets:
        for high, low in dataset.images:
            truth = _read(high)
            height, width = (side // scale * scale for side in truth.shape[:2])
            truth = truth[:height, :width]
            if min(height, width) - 2 * scale < SSIM_WINDOW:
                raise InputError(f"{high}: is too small to be measured at x{scale}")
            small = bicubic_resize(truth, 1 / scale) if low is None else _read(low, truth.ndim)
            if small.shape[0] * scale != height or small.shape[1] * scale != width:
                fitting = [s for s in SCALES if small.shape[0] == truth.shape[0] // s]
                hint = f"; use -s {fitting[0]}" if fitting else ""
                raise InputError(f"{low}: its size is not 1/{scale} of that of {high}{hint}")
            if jpeg is not None:
                small = jpeg_roundtrip(small, jpeg)
            for name, method in methods.items():
                started = time.perf_counter()
                result = method(small)
                seconds = time.perf_counter() - started
                if save_to:
                    _save(result, save_to / dataset.name / name.replace("/", "_") / high.name)
                scores = score(result, truth, scale, with_vmaf)
                megapixels = small.shape[0] * small.shape[1] / 1e6
                yield Result(
                    dataset=dataset.name,
                    method=name,
                    image=high.name,
                    scores=scores,
                    seconds=seconds,
                    megapixels=megapixels,
                )


def _save(image: np.ndarray, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            Image.fromarray(image).save(file, "PNG")
    except OSError as error:
        raise cannot_write(path, error) from error


def _read(path: Path, dimensions: int | None = None) -> np.ndarray:
    try:
        with no_pixel_limit(), Image.open(path) as opened:
            gray = opened.mode == "L" if dimensions is None else dimensions == 2
            return np.asarray(opened.convert("L" if gray else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def score(result: np.ndarray, truth: np.ndarray, border: int, with_vmaf: bool = False) -> Scores:
    """Compare images of one shape, (H, W) or (H, W, 3) uint8, without `border` pixels at each edge."""
    inner = slice(border, -border or None)
    a, b = result[inner, inner], truth[inner, inner]
    a_luma, b_luma = luma(a), luma(b)
    a_planes, b_planes = (x[..., None] if x.ndim == 2 else x for x in (a, b))
    by_channel = [ssim(a_planes[..., c], b_planes[..., c]) for c in range(a_planes.shape[2])]
    return Scores(
        psnr=psnr(a_luma, b_luma),
        ssim=ssim(a_luma, b_luma),
        psnr_rgb=psnr(a, b),
        ssim_rgb=float(np.mean(by_channel)),
        vmaf=vmaf(a, b) if with_vmaf else None,
    )


def mean_scores(results: list[Result]) -> Scores:
    """Return the mean of each score over images, as papers report it of a dataset."""
    fields = ("psnr", "ssim", "psnr_rgb", "ssim_rgb")
    means = {name: float(np.mean([getattr(r.scores, name) for r in results])) for name in fields}
    vmafs = [r.scores.vmaf for r in results if r.scores.vmaf is not None]
    return Scores(**means, vmaf=float(np.mean(vmafs)) if vmafs else None)


def baselines(scale: int) -> dict[str, Method]:
    """Return the methods that models are compared with: MATLAB's bicubic, and Pillow's Lanczos."""

    def lanczos(small: np.ndarray) -> np.ndarray:
        size = small.shape[1] * scale, small.shape[0] * scale
        return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.LANCZOS))

    return {"bicubic": lambda small: bicubic_resize(small, scale), "lanczos": lanczos}


def paper_scores(variant: str, dataset: str, scale: int) -> tuple[float, float] | None:
    """Return PSNR and SSIM of a variant (RGT-S, RGT, RGT+) in the paper; None if it has none."""
    paper = tomllib.loads(_PAPER.read_text())
    known = [name.lower() for name in paper["datasets"]]
    row = paper.get(f"x{scale}", {}).get(variant)
    if row is None or dataset.lower() not in known:
        return None
    at = known.index(dataset.lower())
    return row["psnr"][at], row["ssim"][at]
