"""VMAF, computed by the library of its authors inside ffmpeg."""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import UsageError
from rgt_cli.media.video import ffmpeg


def vmaf(result: np.ndarray, truth: np.ndarray) -> float:
    """Return how similar people would judge two images, 0..100, by the model vmaf_v0.6.1.

    Args:
        result: (H, W) or (H, W, 3) uint8.
        truth: The original, of the same shape and dtype.

    Raises:
        UsageError: The ffmpeg program lacks libvmaf.
    """
    with tempfile.TemporaryDirectory(prefix="rgt-") as folder:
        paths = []
        for name, image in (("result.png", result), ("truth.png", truth)):
            paths.append(Path(folder, name))
            Image.fromarray(image).convert("RGB").save(paths[-1])
        log = Path(folder, "log.json")
        to_yuv = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p"
        graph = f"[0]{to_yuv}[a];[1]{to_yuv}[b];[a][b]libvmaf=log_fmt=json:log_path={log}"
        inputs = [part for path in paths for part in ("-i", ffmpeg.url(path))]
        code, _, stderr = ffmpeg.run(["-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"])
        if code or not log.is_file():
            reason = stderr.strip()[:200] or f"ffmpeg ended with {code}"
            raise UsageError(f"VMAF needs an ffmpeg program with libvmaf: {reason}")
        return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])
