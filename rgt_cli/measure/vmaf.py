"""VMAF, by the library of its makers, within ffmpeg."""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from rgt_cli.errors import UsageError
from rgt_cli.media.video import ffmpeg


def vmaf(result: np.ndarray, truth: np.ndarray) -> float:
    """How people would judge a picture beside the truth, 0..100, by the model vmaf_v0.6.1.

    Args:
        result, truth: (H, W) or (H, W, 3) uint8.

    Raises:
        UsageError: the ffmpeg program has no libvmaf.
    """
    with tempfile.TemporaryDirectory(prefix="rgt-") as folder:
        paths = []
        for name, picture in (("result.png", result), ("truth.png", truth)):
            paths.append(Path(folder, name))
            Image.fromarray(picture).convert("RGB").save(paths[-1])
        log = Path(folder, "log.json")
        same = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p"
        graph = f"[0]{same}[a];[1]{same}[b];[a][b]libvmaf=log_fmt=json:log_path={log}"
        inputs = [part for path in paths for part in ("-i", ffmpeg.url(path))]
        code, _, said = ffmpeg.run(["-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"])
        if code or not log.is_file():
            raise UsageError(f"VMAF needs an ffmpeg with libvmaf: {said.strip()[:200] or code}")
        return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])
