"""Streamed images: pixels and metadata as in memory, without the memory."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rgt_cli.errors import InputError, OutputError, UsageError
from rgt_cli.media import (
    MAX_PIXELS,
    STREAMABLE,
    Encoding,
    ImageSequence,
    Metadata,
    Picture,
    decoded_bytes,
    format_named,
    open_rows,
    png,
    read_images,
    write_images,
)
from tests.helpers.images import (
    convert,
    decoded,
    deep_png,
    deep_sample,
    doubled,
    image_format_of,
    png_chunk,
    stream,
    with_chunks,
)

EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x06\0\0\0\x1a\0\0\0\0Maker\0"
"""A camera maker."""
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:ImageWidth="451"/></rdf:RDF></x:xmpmeta>"""


def save(picture: Picture, path: Path) -> None:
    """Write one image."""
    write_images(ImageSequence([picture]), path, image_format_of(path), Encoding())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("name", ["in.tif", "in.png"])
def test_streamed_images_equal_whole_ones(
    tmp_path: Path, photo: np.ndarray, dtype: type[np.generic], gray: bool, name: str, suffix: str
) -> None:
    factor = np.asarray(257 if dtype is np.uint16 else 1, dtype)
    pixels = (photo[..., 1] if gray else photo).astype(dtype) * factor
    source, target = tmp_path / name, tmp_path / f"out{suffix}"
    if name == "in.tif":
        tifffile.imwrite(source, pixels, photometric="minisblack" if gray else "rgb", compression="lzw")
    else:
        save(Picture(pixels), source)
    stream(source, target)
    np.testing.assert_array_equal(decoded(target), doubled(pixels))
    assert {path.name for path in tmp_path.iterdir()} == {name, target.name}


@pytest.mark.parametrize("name", ["in.jpg", "in.webp", "in.bmp"])
def test_other_formats_are_decoded_as_a_whole(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    source, target = tmp_path / name, tmp_path / "out.png"
    Image.fromarray(photo).save(source)
    stream(source, target)
    np.testing.assert_array_equal(decoded(target), doubled(decoded(source)))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_opaque_alpha_is_dropped(tmp_path: Path, photo: np.ndarray, gray: bool, bits: int) -> None:
    pixels = (photo[..., 1] if gray else photo).astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    save(Picture(pixels, np.full(pixels.shape[:2], 2**bits - 1, pixels.dtype)), tmp_path / "in.png")
    stream(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(decoded(tmp_path / "out.png"), doubled(pixels))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as on Linux")
@pytest.mark.parametrize(
    ("name", "target"),
    [("in.tif", "out.tif"), ("in.tif", "out.png"), ("in.png", "out.png"), ("deep.png", "out.tif")],
)
def test_memory(tmp_path: Path, name: str, target: str) -> None:
    """The pixels of the input have 72 MB, those of the output four times as many."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    pixels = coarse.repeat(100, 0).repeat(100, 1)
    if name == "deep.png":
        pixels = pixels[::2].astype(np.uint16)
    source = tmp_path / name
    if name == "in.tif":
        tifffile.imwrite(source, pixels, photometric="rgb", compression="zlib")
    else:
        save(Picture(pixels), source)
    script = Path(__file__).parents[1] / "scripts" / "stream_image.py"
    root = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, str(script), str(source), str(tmp_path / target), "90"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with open_rows(tmp_path / target, 10**9, tmp_path) as rows:
        for top in range(0, pixels.shape[0], 500):
            np.testing.assert_array_equal(
                rows[2 * top : 2 * top + 1000], doubled(pixels[top : top + 500])
            )


def files_with_metadata(folder: Path, photo: np.ndarray) -> dict[str, Path]:
    """Write files whose metadata is at unusual places, or damaged."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = io.BytesIO()
    Image.fromarray(photo).save(plain, "PNG", icc_profile=srgb, dpi=(300, 150))
    chunks = png_chunk(b"eXIf", EXIF) + png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    chunks += png_chunk(b"tEXt", b"Title\0A cat")
    contents = {
        "before.png": with_chunks(plain.getvalue(), before=chunks),
        "after.png": with_chunks(plain.getvalue(), after=chunks),
        "deep.png": deep_png(deep_sample(photo, "RGB"), after=chunks),
        "damaged-exif.png": with_chunks(plain.getvalue(), before=png_chunk(b"eXIf", b"nonsense")),
    }
    paths = {name: folder / name for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    exif = Image.Exif()
    exif.load(EXIF)
    options: dict[str, dict[str, Any]] = {
        "a.jpg": {"exif": exif, "xmp": XMP, "comment": "hello"},
        "a.webp": {"exif": exif, "xmp": XMP, "lossless": True},
        "a.tif": {"exif": exif, "tiffinfo": {700: XMP}},
    }
    for name, extra in options.items():
        paths[name] = folder / name
        Image.fromarray(photo).save(paths[name], icc_profile=srgb, dpi=(300, 150), **extra)
    for name, bits in (("bad-icc.png", 8), ("bad-icc.tif", 8), ("deep-bad-icc.tif", 16)):
        paths[name] = folder / name
        save(Picture(photo, None, Metadata(icc=b"not a profile")).with_bits(bits), paths[name])
    paths["deep.tif"] = folder / "deep.tif"
    metadata = Metadata(icc=srgb, exif=exif.tobytes(), xmp=XMP, dpi=(300, 150))
    save(Picture(photo, None, metadata).with_bits(16), paths["deep.tif"])
    return paths


def test_metadata_is_that_in_memory(tmp_path: Path, photo: np.ndarray) -> None:
    for name, path in files_with_metadata(tmp_path, photo).items():
        images = read_images(path)
        with open_rows(path, MAX_PIXELS, tmp_path) as rows:
            assert rows.metadata == images.first.metadata, name
            assert rows.warnings == images.warnings, name
        for target in ("out.png", "out.tif"):
            warnings = convert(path, tmp_path / target)
            whole = read_images(tmp_path / target).first.metadata
            assert stream(path, tmp_path / target) == warnings, name
            assert read_images(tmp_path / target).first.metadata == whole, name
            if name in ("before.png", "after.png", "deep.png", "deep.tif", "a.jpg", "a.webp", "a.tif"):
                assert whole.exif, name
                assert b'ImageWidth="902"' in (whole.xmp or b"") or "deep.png" in name, name


def test_flaws_of_metadata_are_reported(tmp_path: Path, photo: np.ndarray) -> None:
    paths = files_with_metadata(tmp_path, photo)
    for name, part in (
        ("bad-icc.png", "ICC"),
        ("deep-bad-icc.tif", "ICC"),
        ("damaged-exif.png", "EXIF"),
    ):
        (warning,) = stream(paths[name], tmp_path / "out.png")
        assert part in warning
    (warning,) = stream(paths["after.png"], tmp_path / "out.tif")
    assert "text chunks of a PNG" in warning


@pytest.mark.parametrize("part", [0.1, 0.5, 0.98])
def test_png_that_ends_early(tmp_path: Path, photo: np.ndarray, part: float) -> None:
    height, width = photo.shape[:2]
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in photo))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", rows[: int(len(rows) * part)])
    (tmp_path / "in.png").write_bytes(png.SIGNATURE + header + pixels + png_chunk(b"IEND", b""))
    with pytest.raises(InputError, match="damaged image: it ends after"):
        stream(tmp_path / "in.png", tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_png_with_a_wrong_byte(tmp_path: Path, photo: np.ndarray) -> None:
    whole = io.BytesIO()
    Image.fromarray(photo).save(whole, "PNG")
    damaged = bytearray(whole.getvalue())
    damaged[len(damaged) // 2] ^= 0x55
    (tmp_path / "in.png").write_bytes(damaged)
    with pytest.raises(InputError, match="damaged image"):
        stream(tmp_path / "in.png", tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
@pytest.mark.parametrize("name", ["in.tif", "in.png"])
def test_no_room_for_the_decoded_rows(tmp_path: Path, name: str) -> None:
    import resource

    flat = np.zeros((300, 450, 3), np.uint8)
    if name == "in.tif":
        tifffile.imwrite(tmp_path / name, flat, photometric="rgb", compression="zlib")
    else:
        Image.fromarray(flat).save(tmp_path / name)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match="no room"):
            stream(tmp_path / name, tmp_path / "out.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "kind",
    [
        "half-transparent",
        "transparent color",
        "palette",
        "turned",
        "two pages",
        "interlaced, deep",
        "float",
    ],
)
def test_what_cannot_be_streamed(tmp_path: Path, photo: np.ndarray, kind: str) -> None:
    source = tmp_path / ("in.tif" if kind in ("two pages", "float") else "in.png")
    image = Image.fromarray(photo)
    if kind == "half-transparent":
        image.putalpha(Image.new("L", image.size, 255))
        image.putpixel((450, 299), (1, 2, 3, 254))
        image.save(source)
    elif kind == "transparent color":
        image.save(source, transparency=(1, 2, 3))
    elif kind == "palette":
        image.quantize(16).save(source)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(source, exif=exif)
    elif kind == "two pages":
        image.save(source, save_all=True, append_images=[image])
    elif kind == "float":
        tifffile.imwrite(source, photo[..., 0].astype(np.float32), photometric="minisblack")
    else:
        save(Picture(photo * np.uint16(257)), source)
        content = bytearray(source.read_bytes())
        content[28] = 1
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        source.write_bytes(content)
    with pytest.raises(InputError, match="cannot be streamed"):
        stream(source, tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_too_many_pixels(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    with pytest.raises(InputError, match="--max-pixels"), open_rows(tmp_path / "in.png", 9, tmp_path):
        pass


def test_failed_rows_leave_the_old_target(
    tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(photo).save(source)
    target.write_text("precious")

    def fail(*arguments: object) -> None:
        raise ValueError("refused")

    monkeypatch.setattr(png, "write_rows", fail)
    with pytest.raises(UsageError, match=r"out\.png: the encoder refuses it: refused"):
        stream(source, target)
    assert target.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"in.png", "out.png"}


@pytest.mark.parametrize(
    ("mode", "bits", "suffix"),
    [("L", 8, ".png"), ("RGB", 8, ".jpg"), ("RGBA", 8, ".webp"), ("RGB", 16, ".png"), ("L", 16, ".tif")],
)
def test_decoded_bytes(tmp_path: Path, photo: np.ndarray, mode: str, bits: int, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    alpha = photo[..., 0] if mode == "RGBA" else None
    save(Picture(photo[..., 1] if mode == "L" else photo, alpha).with_bits(bits), path)
    assert decoded_bytes(path) == 300 * 451 * len(mode) * bits // 8


def test_errors_of_the_block_are_not_errors_of_the_file(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    with pytest.raises(ZeroDivisionError), open_rows(tmp_path / "in.png", MAX_PIXELS, tmp_path):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_decoded_bytes_of_other_files(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (10, 10), (i, 0, 0)) for i in (0, 100, 200)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert decoded_bytes(tmp_path / "a.tif") == 3 * 300
    (tmp_path / "text.png").write_text("not an image")
    for path in (tmp_path / "text.png", tmp_path / "none.png", tmp_path):
        assert decoded_bytes(path) == 0


def test_streamable_formats_are_formats() -> None:
    assert [format_named(name).name for name in STREAMABLE] == list(STREAMABLE)
