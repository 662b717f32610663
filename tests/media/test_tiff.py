"""TIFF of many kinds, written by tifffile and Pillow, and read back by FFmpeg."""

import io
import struct
import subprocess
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
    convert,
    converted,
    decoded,
    deep_sample,
    doubled,
    exiftool,
    image_format_of,
    sample,
)
from tests.helpers.process import NEEDS_EXIFTOOL

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
    ("dtype", "photometric"), [(np.float32, "rgb"), (np.int16, "minisblack"), (np.float16, "rgb")]
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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_extra_channel_is_not_always_transparency(
    tmp_path: Path, photo: np.ndarray, dtype: type[np.generic]
) -> None:
    """Scanners for film store infrared as a fourth channel."""
    colors = sample(photo, "RGB").astype(dtype)
    stored = np.dstack((colors, colors[..., :1] // 2, colors[..., :1] // 3))
    source = tmp_path / "in.tif"
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "contig"}
    tifffile.imwrite(source, stored[..., :4], extrasamples=["unspecified"], **options)
    picture = read_images(source).first
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.pixels, colors)
    tifffile.imwrite(source, stored, extrasamples=["unspecified", "unassalpha"], **options)
    if dtype == np.uint16:
        np.testing.assert_array_equal(read_images(source).first.alpha, stored[..., 4])


@pytest.mark.parametrize("compression", ["lerc", "webp", "png", "jpegxl", "jpeg2000"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_compressions_that_pillow_lacks(
    tmp_path: Path, photo: np.ndarray, compression: str, mode: str
) -> None:
    if compression == "webp" and mode == "L":
        mode = "RGB"
    array = sample(photo, mode)
    source = tmp_path / "in.tif"
    alpha: dict[str, Any] = {"extrasamples": ["unassalpha"]} if mode == "RGBA" else {}
    photometric = "minisblack" if mode == "L" else "rgb"
    tifffile.imwrite(source, array, photometric=photometric, compression=compression, **alpha)
    picture = read_images(source).first
    assert (picture.mode, picture.bits) == (mode, 8)
    visible = np.s_[...] if mode != "RGBA" else array[..., 3] > 0
    tolerance = 40 if compression in ("webp", "jpegxl", "jpeg2000") else 0  # which are lossy
    difference = np.abs(picture.channels()[visible].astype(int) - array[visible])
    assert difference.max() <= tolerance
    assert difference.mean() <= tolerance / 8


def test_pages_of_several_depths_have_the_largest(tmp_path: Path, photo: np.ndarray) -> None:
    eight, sixteen = sample(photo, "RGB"), deep_sample(photo, "RGB")
    for order in ([eight, sixteen], [sixteen, eight]):
        with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
            for array in order:
                writer.write(array, photometric="rgb", metadata=None)
        target = converted(tmp_path / "in.tif", "out.tif")
        with tifffile.TiffFile(target) as written:
            for page, array in zip(written.pages, order, strict=True):
                expected = array.astype(np.uint16) * (257 if array.dtype == np.uint8 else 1)
                np.testing.assert_array_equal(page.asarray(), doubled(expected))


@pytest.mark.parametrize("name", ["photo.dng", "photo.tif"])
def test_raw_photos_are_refused(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    """The first image of a raw photo is a small preview: an output would look right, and be useless."""
    source = tmp_path / name
    sensor: dict[str, Any] = {"photometric": "cfa", "metadata": None}
    with tifffile.TiffWriter(source) as writer:
        writer.write(sample(photo, "RGB"), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        writer.write(deep_sample(photo, "L"), **sensor)
    with pytest.raises(InputError, match="is a raw photo: develop it first"):
        read_images(source)
    version = [(50706, 1, 4, (1, 4, 0, 0), True)]
    tifffile.imwrite(source, sample(photo, "RGB"), photometric="rgb", extratags=version, metadata=None)
    with pytest.raises(InputError, match="is a raw photo"):
        read_images(source)
    tifffile.imwrite(source, deep_sample(photo, "L"), **sensor)
    with pytest.raises(InputError, match="is a raw photo"):
        read_images(source)
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "TIFF")
    data = bytearray(file.getvalue())
    moved = data[8 : 10 + 12 * data[8] + 4]  # its directory, whose place Canon uses
    struct.pack_into("<L4s", data, 4, len(data), b"CR\2\0")
    source.write_bytes(data + moved)
    with pytest.raises(InputError, match="is a raw photo"):
        read_images(source)


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_iptc_is_copied(tmp_path: Path, photo: np.ndarray, dtype: type[np.generic]) -> None:
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, sample(photo, "RGB").astype(dtype), photometric="rgb", metadata=None)
    tags = ("-IPTC:Keywords=cat", "-IPTC:City=Paris", "-Photoshop:URL=https://example.org")
    subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, source], check=True)
    for target in (converted(source, "out.tif"), converted(source, "out.jpg")):
        found = exiftool(target)
        assert (found["IPTC:Keywords"], found["IPTC:City"]) == ("cat", "Paris")
        assert found["Photoshop:URL"] == "https://example.org"
    back = exiftool(converted(tmp_path / "out.jpg", "back.tif"))
    assert (back["IPTC:Keywords"], back["Photoshop:URL"]) == ("cat", "https://example.org")
    warnings = convert(source, tmp_path / "out.webp")
    assert any("webp does not support IPTC" in warning for warning in warnings)
