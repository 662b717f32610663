"""Thumbnails show what the file shows: upright, in sRGB, without what is transparent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from rgt_cli.errors import InputError
from rgt_cli.media.thumbnail import read_thumbnail
from tests.helpers.images import animation, deep_png, deep_sample, tiny_webp


def test_a_large_jpeg_is_upright_and_small(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).resize((1804, 1200)).save(path, exif=exif, quality=95)
    thumbnail = read_thumbnail(path, 200)
    assert thumbnail.size == (133, 200)
    expected = Image.fromarray(np.rot90(photo, -1)).resize((133, 200), Image.Resampling.BOX)
    difference = thumbnail.pixels.astype(int) - np.asarray(expected).astype(int)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_16_bits_become_8(tmp_path: Path, photo: np.ndarray, mode: str) -> None:
    path = tmp_path / "deep.png"
    array = deep_sample(photo, mode)
    path.write_bytes(deep_png(array))
    thumbnail = read_thumbnail(path, 100)
    assert thumbnail.mode == mode
    np.testing.assert_allclose(thumbnail.channels(), array / 257, atol=1)


def test_colors_are_converted(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("LAB", (8, 8), (128, 128, 128)).save(tmp_path / "lab.tif", icc_profile=lab)
    thumbnail = read_thumbnail(tmp_path / "lab.tif", 4)
    assert thumbnail.metadata.icc is None
    assert np.ptp(thumbnail.pixels) <= 2, "gray"


def test_the_first_frame_of_an_animation_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "many.gif"
    path.write_bytes(animation("gif", 20_000))
    assert read_thumbnail(path, 100).size == (2, 2)


def test_what_is_too_large_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.webp"
    path.write_bytes(tiny_webp(16_383, 16_383))
    with pytest.raises(InputError, match="16383 x 16383"):
        read_thumbnail(path, 100)
