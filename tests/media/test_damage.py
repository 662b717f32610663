"""Damage inside a JPEG is reported, and nothing else is taken for it."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from rgt_cli.media import read_images


def damaged(data: bytes) -> dict[str, bytes]:
    """Return a JPEG as disks and broken downloads damage it."""
    middle = len(data) // 2
    return {
        "zeros": data[:middle] + bytes(500) + data[middle + 500 :],
        "short": data[:-900] + b"\xff\xd9",
    }


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", ["zeros", "short"])
def test_damaged_pixels_are_reported(
    tmp_path: Path, photo: np.ndarray, kind: str, progressive: bool
) -> None:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=90, progressive=progressive)
    source = tmp_path / "in.jpg"
    source.write_bytes(damaged(file.getvalue())[kind])
    images = read_images(source)
    assert [str(source) in warning and "damaged in part" in warning for warning in images.warnings] == [
        True
    ]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (451, 300)])
def test_undamaged_pixels_are_not(
    tmp_path: Path, photo: np.ndarray, mode: str, size: tuple[int, int]
) -> None:
    image = Image.fromarray(photo).resize(size).convert(mode)
    source = tmp_path / "in.jpg"
    for quality in (1, 75, 100):
        for progressive in (False, True):
            for subsampling in (0, 1, 2):
                file = io.BytesIO()
                image.save(
                    file, "JPEG", quality=quality, progressive=progressive, subsampling=subsampling,
                    restart_marker_blocks=3 if quality == 75 else 0,
                )  # fmt: skip
                source.write_bytes(file.getvalue() + bytes(quality))
                assert not any("damaged in part" in warning for warning in read_images(source).warnings)


def test_kinds_that_are_not_checked_are_not_reported(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.jpg"
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG")
    source.write_bytes(file.getvalue().replace(b"\xff\xc0", b"\xff\xc9"))  # which says: arithmetic codes
    frames = read_images(source)
    assert frames.first.size == (451, 300)
    assert frames.warnings == ()
    source.write_bytes(imagecodecs.jpeg8_encode(photo, level=90, colorspace="RGB", outcolorspace="RGB"))
    assert read_images(source).warnings == ()
