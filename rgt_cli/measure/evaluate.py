"""The score of a model on a benchmark, as papers report it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import NoInputError
from rgt_cli.inference import Upscaler
from rgt_cli.measure.quality import bicubic_resize, psnr_luma


@dataclass(frozen=True)
class Score:
    """PSNR of one picture, in dB on luma, `scale` pixels of border left out."""

    name: str
    model: float
    bicubic: float


def evaluate(folder: Path, upscaler: Upscaler) -> list[Score]:
    """Score `upscaler` on every picture of a folder of ground truth.

    The low-resolution input is MATLAB's bicubic reduction of each picture, cropped to a multiple of
    the scale: what the papers' benchmarks hold.

    Raises:
        NoInputError: the folder holds no PNG.
    """
    scores = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as opened:
            truth = np.asarray(opened if opened.mode == "L" else opened.convert("RGB"))
        scale = upscaler.scale
        height, width = (side // scale * scale for side in truth.shape[:2])
        truth = truth[:height, :width]
        low = bicubic_resize(truth, 1 / scale)
        by_model, by_bicubic = upscaler.upscale(low), bicubic_resize(low, scale)
        scores.append(Score(path.name, *(psnr_luma(r, truth, scale) for r in (by_model, by_bicubic))))
    if not scores:
        raise NoInputError(f"{folder}: no PNG pictures in it")
    return scores
