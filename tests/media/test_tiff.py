"""TIFF of many kinds, written by tifffile and Pillow, and read back by FFmpeg."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media import Encoding, ImageSequence, Metadata, Picture, read_images, write_images
from tests.helpers.images import (
    assert_visibly_equal,
    converted,
    decoded,
    deep_sample,
    doubled,
    image_format_of,
)

KINDS: dict[str, dict[str, Any]] = {
    "lzw": {"compression": "lzw", "predictor": True},
    "packbits": {"compression": "packbits"},
    "tiled": {"tile": (32, 32), "compression": "zlib"},
    "planar": {"planarconfig": "separate"},
    "big": {"bigtiff": True},
    "motorola": {"byteorder": ">"},
    "zstd": {"compression": "zstd"},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(tmp_path: Path, photo: np.ndarray, kind: str, dtype: type[np.generic]) -> None:
    part = photo[:70, :90]
    array = part.astype(dtype) * np.asarray(257 if dtype is np.uint16 else 1, dtype)
    stored = np.moveaxis(array, 2, 0) if kind == "planar" else array
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, stored, photometric="rgb", **KINDS[kind])
    assert_visibly_equal(decoded(converted(source, "out.png")), doubled(array))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_sixteen_bits(tmp_path: Path, photo: np.ndarray, mode: str) -> None:
    deep = deep_sample(photo, mode)
    options: dict[str, Any] = {"planarconfig": "contig"} if deep.ndim == 3 else {}
    if mode.endswith("A"):
        options["extrasamples"] = ["unassalpha"]
    source = tmp_path / "in.tif"
    photometric = "rgb" if mode.startswith("RGB") else "minisblack"
    tifffile.imwrite(source, deep, photometric=photometric, compression="lzw", **options)
    for target in ("out.png", "out.tif"):
        assert_visibly_equal(decoded(converted(source, target)), doubled(deep))


def test_white_is_zero(tmp_path: Path, photo: np.ndarray) -> None:
    gray = photo[:70, :90, 0].astype(np.uint16) * 257
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, gray, photometric="miniswhite")
    assert_visibly_equal(decoded(converted(source, "out.png")), 65535 - doubled(gray))


@pytest.mark.parametrize("bits", [10, 12, 14, 32])
def test_other_depths_are_scaled_to_sixteen_bits(tmp_path: Path, bits: int) -> None:
    values = np.linspace(0, (1 << bits) - 1, 600).astype(np.uint32 if bits == 32 else np.uint16)
    array = values.reshape(20, 30)
    options: dict[str, Any] = {} if bits == 32 else {"bitspersample": bits}
    tifffile.imwrite(tmp_path / "in.tif", array, photometric="minisblack", **options)
    pixels = read_images(tmp_path / "in.tif").first.pixels
    expected = np.rint(array.astype(float) * 65535 / ((1 << bits) - 1))
    np.testing.assert_array_equal(pixels, expected.astype(np.uint16))


def test_premultiplied_alpha(tmp_path: Path) -> None:
    stored = np.array([[[10_000, 20_000, 0, 32_768], [7, 7, 7, 0]]], np.uint16)
    tifffile.imwrite(
        tmp_path / "in.tif",
        stored,
        photometric="rgb",
        extrasamples=["assocalpha"],
        planarconfig="contig",
    )
    picture = read_images(tmp_path / "in.tif").first
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[32_768, 0]]
    np.testing.assert_allclose(picture.pixels[0, 0], [20_000, 40_000, 0], atol=1)


@pytest.mark.parametrize(
    ("dtype", "photometric"), [(np.float32, "rgb"), (np.int16, "minisblack"), (np.uint16, "cfa")]
)
def test_unsupported_numbers_are_input_errors(
    tmp_path: Path, photo: np.ndarray, dtype: type[np.generic], photometric: str
) -> None:
    array = photo[:70, :90].astype(dtype)
    source = tmp_path / "in.tif"
    stored = array if photometric == "rgb" else array[..., 0]
    tifffile.imwrite(source, stored, photometric=photometric)
    with pytest.raises(InputError, match=r"in\.tif: .*not supported"):
        read_images(source)


def test_reduced_copies_of_a_page_are_left_out(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.tif"
    with tifffile.TiffWriter(source) as writer:
        writer.write(photo, photometric="rgb")
        writer.write(photo[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(photo[:50], photometric="rgb")
    images = read_images(source)
    assert [picture.size for picture in images.frames] == [(451, 300), (451, 50)]
    assert any("reduced copy" in warning for warning in images.warnings)


def test_pages_keep_their_own_metadata(tmp_path: Path, photo: np.ndarray) -> None:
    pages = []
    for name, dpi in (("first", (72.0, 72.0)), ("second", (300.0, 150.0))):
        exif = Image.Exif()
        exif[0x010E] = name
        exif.get_ifd(0x8769)[36867] = "2026:01:01 00:00:00"
        pages.append(Picture(photo, None, Metadata(exif=exif.tobytes(), dpi=dpi)))
    target = tmp_path / "out.tif"
    write_images(ImageSequence(pages), target, image_format_of(target), Encoding())
    for before, after in zip(pages, read_images(target).frames, strict=True):
        assert after.metadata.dpi == before.metadata.dpi
        assert after.metadata.exif
        retained = Image.Exif()
        retained.load(after.metadata.exif)
        assert retained[0x010E] == ("first" if before is pages[0] else "second")
        assert retained.get_ifd(0x8769)[36867] == "2026:01:01 00:00:00"
