"""PIL images in memory: every mode, and the metadata that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from rgt_cli.errors import InputError
from rgt_cli.media import Picture, from_pillow, to_pillow
from tests.helpers.images import sample

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(image: Image.Image) -> tuple[Picture, list[str]]:
    """Return an image as it is read, and the warnings."""
    warnings: list[str] = []
    return from_pillow(image, warnings.append), warnings


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", "L"),
        ("L", "L"),
        ("LA", "LA"),
        ("La", "LA"),
        ("P", "RGB"),
        ("RGB", "RGB"),
        ("RGBX", "RGB"),
        ("YCbCr", "RGB"),
        ("HSV", "RGB"),
        ("RGBA", "RGBA"),
        ("RGBa", "RGBA"),
    ],
)
def test_modes_of_8_bits_show_the_same(photo: np.ndarray, mode: str, expected: str) -> None:
    between = "LA" if mode == "La" else "RGBA" if mode == "RGBa" else "RGB"
    image = Image.fromarray(sample(photo, between)).convert(mode)
    picture, warnings = read(image)
    result = to_pillow(picture)
    assert (result.mode, result.size, warnings) == (expected, image.size, [])
    np.testing.assert_array_equal(np.asarray(result), np.asarray(image.convert(expected)))


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_other_color_spaces_become_srgb(mode: str) -> None:
    picture, warnings = read(Image.new(mode, (4, 3)))
    assert (to_pillow(picture).mode, warnings) == ("RGB", [f"{mode} is converted to sRGB"])


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16L", "I;16B"])
def test_16_bits_are_preserved(mode: str) -> None:
    values = np.array([[0, 1, 257], [40_000, 65_534, 65_535]])
    dtype = {"I": "i4", "I;16B": ">u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (3, 2), values.astype(dtype).tobytes())
    result = to_pillow(read(image)[0])
    assert result.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(result), values)


def test_floating_point_is_preserved() -> None:
    values = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    result = to_pillow(read(Image.fromarray(values))[0])
    assert result.mode == "F"
    np.testing.assert_array_equal(np.asarray(result), values)


def test_a_transparent_color_becomes_alpha() -> None:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.putpixel((0, 0), 0)
    image.info["transparency"] = 0
    result = to_pillow(read(image)[0])
    assert result.mode == "RGBA"
    assert (result.getpixel((0, 0)), result.getpixel((1, 0))) == ((9, 9, 9, 0), (200, 100, 50, 255))


def test_color_of_16_bits_gets_8() -> None:
    large = Picture(np.full((2, 3, 3), 65_535, np.uint16), np.full((2, 3), 257, np.uint16))
    result = to_pillow(large)
    assert (result.mode, result.getpixel((0, 0))) == ("RGBA", (255, 255, 255, 1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("is_copied", [False, True])
def test_metadata_of_opened_files(
    photo: np.ndarray, tmp_path: Path, suffix: str, is_copied: bool
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "someone"
    exif[ExifTags.Base.Orientation] = 3
    path = tmp_path / f"in.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(photo[:20, :30]).save(
        path, exif=exif, icc_profile=PROFILE, dpi=(300, 300), **options
    )
    with Image.open(path) as opened:
        picture, warnings = read(opened.copy() if is_copied and suffix != "tiff" else opened)
        expected = np.asarray(opened)
    assert warnings == []
    result = to_pillow(picture)
    assert result.getexif()[ExifTags.Base.Artist] == "someone"
    assert ExifTags.Base.Orientation not in result.getexif()
    assert result.info["icc_profile"] == PROFILE
    assert suffix == "webp" or result.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    upright = expected if suffix == "tiff" else expected[::-1, ::-1]  # Pillow turns a TIFF itself
    np.testing.assert_array_equal(np.asarray(result), upright)


def test_metadata_that_is_damaged_or_of_another_color_space_is_left_out() -> None:
    image = Image.new("RGB", (4, 3))
    image.info |= {"exif": b"Exif\0\0II*\0\xff\xff\xff\xff", "icc_profile": b"profile", "dpi": (0, "x")}
    picture, warnings = read(image)
    assert picture.metadata.icc is None
    assert picture.metadata.dpi is None
    assert "the ICC profile is damaged and is left out" in warnings


def test_images_that_cannot_be_used_are_refused(tmp_path: Path, photo: np.ndarray) -> None:
    for value in (-1, 65_536):
        with pytest.raises(InputError, match=f"values of {value} to {value} is not supported"):
            read(Image.new("I", (2, 2), value))
    with pytest.raises(InputError, match="without pixels"):
        read(Image.new("RGB", (0, 4)))
    path = tmp_path / "in.png"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as opened, pytest.raises(InputError, match="damaged image: "):
        read(opened)
