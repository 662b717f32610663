"""The quality of JPEG files, written by two encoders."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from rgt_cli.media import jpeg_quality


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_quality_is_that_of_the_encoder(
    tmp_path: Path, photo: np.ndarray, quality: int, mode: str
) -> None:
    path = tmp_path / "image.jpg"
    image = Image.fromarray(photo).convert(mode)
    image.save(path, quality=quality)
    assert jpeg_quality(path) == quality
    with Image.open(path) as opened:
        assert jpeg_quality(opened) == quality
    assert jpeg_quality(image) is None
    path.write_bytes(imagecodecs.jpeg8_encode(np.asarray(image), level=quality))
    assert jpeg_quality(path) == quality


def test_other_files_have_none(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "image.webp")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    for name in ("image.webp", "cut.jpg", "missing.jpg"):
        assert jpeg_quality(tmp_path / name) is None
