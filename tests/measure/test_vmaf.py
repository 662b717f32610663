"""VMAF, where ffmpeg has it."""

import numpy as np
import pytest

from rgt_cli.errors import UsageError
from rgt_cli.measure.vmaf import vmaf
from rgt_cli.media.video import ffmpeg

needs_libvmaf = pytest.mark.skipif(
    "libvmaf" not in ffmpeg.run(["-filters"])[1], reason="needs an ffmpeg with libvmaf"
)


@needs_libvmaf
def test_worse_images_score_lower(photo: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(-40, 41, photo.shape)
    noisy = np.clip(photo.astype(int) + noise, 0, 255).astype(np.uint8)
    assert vmaf(photo, photo) > 95
    assert 0 <= vmaf(noisy, photo) < 80


@needs_libvmaf
def test_gray_images(photo: np.ndarray) -> None:
    gray = photo[..., 1]
    assert vmaf(gray, gray) > 95
    assert vmaf(255 - gray, gray) < 50


def test_ffmpeg_without_libvmaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "run", lambda arguments: (1, "", "No such filter: 'libvmaf'"))
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UsageError, match="No such filter"):
        vmaf(image, image)
