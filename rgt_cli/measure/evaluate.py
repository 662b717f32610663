"""The scores of models on benchmarks, by the protocol of the papers."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import InputError, NoInputError
from rgt_cli.measure.metrics import bicubic_resize, jpeg_roundtrip, luma, psnr, ssim
from rgt_cli.measure.vmaf import vmaf

Method = Callable[[np.ndarray], np.ndarray]
"""(h, w) or (h, w, 3) uint8 -> the same, `scale` times as large."""

_PAPER = Path(__file__).with_name("paper.toml")
_USUAL_FOLDERS = ("hr", "gt", "original", "gtmod12")


@dataclass(frozen=True)
class Dataset:
    """Pictures of ground truth, and where they are given, their reductions."""

    name: str
    pictures: tuple[tuple[Path, Path | None], ...]
    """Ground truth, and its low-resolution input; None has it made by MATLAB's bicubic."""


@dataclass(frozen=True)
class Scores:
    """How near one result is to the truth, `scale` pixels of border left out."""

    psnr: float
    """In dB, on luma (BT.601): what papers report."""
    ssim: float
    """On luma, 0..1: what papers report."""
    psnr_rgb: float
    """In dB, on all channels."""
    ssim_rgb: float
    """The mean over the channels."""
    vmaf: float | None = None
    """0..100; None if it was not asked for."""


@dataclass(frozen=True)
class Result:
    """One picture of a benchmark, enlarged by one method."""

    benchmark: str
    method: str
    picture: str
    scores: Scores
    seconds: float
    megapixels: float
    """Of the input."""


def find_dataset(high: Path, low: Path | None, scale: int) -> Dataset:
    """The pictures of a folder of ground truth, each with its reduction from another folder.

    Args:
        high: a folder of PNG pictures; the benchmark is called like it, or like the folder around
            a folder called HR.
        low: a folder with a picture for each, called alike or with x2, x3, x4 after the stem.

    Raises:
        NoInputError: the folder holds no PNG, or a reduction is missing.
    """
    name = high.resolve().name
    if name.lower() in _USUAL_FOLDERS:
        name = high.resolve().parent.name
    pictures: list[tuple[Path, Path | None]] = []
    for path in sorted(high.glob("*.png")):
        if low is None:
            pictures.append((path, None))
            continue
        candidates = [low / f"{path.stem}{mark}.png" for mark in ("", f"x{scale}")]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            raise NoInputError(f"{low}: neither {candidates[0].name} nor {candidates[1].name} in it")
        pictures.append((path, found))
    if not pictures:
        raise NoInputError(f"{high}: no PNG pictures in it")
    return Dataset(name, tuple(pictures))


def evaluate(
    benchmarks: list[Dataset],
    methods: Mapping[str, Method],
    scale: int,
    with_vmaf: bool = False,
    jpeg: int | None = None,
) -> Iterator[Result]:
    """Score every method on every picture.

    The truth is cropped to a multiple of the scale. Results are compared in 8 bits.

    Args:
        jpeg: the quality that reductions are jpeg_roundtrip with first, as photos on the web are; None
            leaves them as they are.

    Raises:
        InputError: a picture cannot be read, or its reduction is of another size.
        UsageError: VMAF is asked for, and this ffmpeg has none.
    """
    for benchmark in benchmarks:
        for high, low in benchmark.pictures:
            truth = _read(high)
            height, width = (side // scale * scale for side in truth.shape[:2])
            truth = truth[:height, :width]
            small = bicubic_resize(truth, 1 / scale) if low is None else _read(low, truth.ndim)
            if small.shape[0] * scale != height or small.shape[1] * scale != width:
                raise InputError(f"{low}: is not the x{scale} reduction of {high}, by its size")
            if jpeg is not None:
                small = jpeg_roundtrip(small, jpeg)
            for name, method in methods.items():
                started = time.perf_counter()
                result = method(small)
                seconds = time.perf_counter() - started
                scores = score(result, truth, scale, with_vmaf)
                megapixels = small.shape[0] * small.shape[1] / 1e6
                yield Result(benchmark.name, name, high.name, scores, seconds, megapixels)


def _read(path: Path, dimensions: int | None = None) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            gray = opened.mode == "L" if dimensions is None else dimensions == 2
            return np.asarray(opened.convert("L" if gray else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def score(result: np.ndarray, truth: np.ndarray, border: int, with_vmaf: bool = False) -> Scores:
    """Compare two pictures of one shape, (H, W) or (H, W, 3) uint8, leaving out a border."""
    inner = slice(border, -border or None)
    a, b = result[inner, inner], truth[inner, inner]
    a_luma, b_luma = luma(a), luma(b)
    a_planes, b_planes = (x[..., None] if x.ndim == 2 else x for x in (a, b))
    by_channel = [ssim(a_planes[..., c], b_planes[..., c]) for c in range(a_planes.shape[2])]
    return Scores(
        psnr(a_luma, b_luma),
        ssim(a_luma, b_luma),
        psnr(a, b),
        float(np.mean(by_channel)),
        vmaf(a, b) if with_vmaf else None,
    )


def mean_scores(results: list[Result]) -> Scores:
    """The mean of each measure over pictures: what papers report of a benchmark."""
    fields = ("psnr", "ssim", "psnr_rgb", "ssim_rgb")
    means = {name: float(np.mean([getattr(r.scores, name) for r in results])) for name in fields}
    of_vmaf = [r.scores.vmaf for r in results if r.scores.vmaf is not None]
    return Scores(**means, vmaf=float(np.mean(of_vmaf)) if of_vmaf else None)


def baselines(scale: int) -> dict[str, Method]:
    """What every model is measured against: bicubic as MATLAB has it, and Lanczos as Pillow has it."""

    def lanczos(small: np.ndarray) -> np.ndarray:
        size = small.shape[1] * scale, small.shape[0] * scale
        return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.LANCZOS))

    return {"bicubic": lambda small: bicubic_resize(small, scale), "lanczos": lanczos}


def reported(variant: str, benchmark: str, scale: int) -> tuple[float, float] | None:
    """PSNR and SSIM that the paper reports of a variant (RGT-S, RGT, RGT+); None if it does not."""
    paper = tomllib.loads(_PAPER.read_text())
    known = [name.lower() for name in paper["datasets"]]
    row = paper.get(f"x{scale}", {}).get(variant)
    if row is None or benchmark.lower() not in known:
        return None
    at = known.index(benchmark.lower())
    return row["psnr"][at], row["ssim"][at]
