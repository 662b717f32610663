"""Headers reveal what a file contains, and that it is truncated, before any pixel is decoded."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media import (
    FORMATS,
    MAX_PIXELS,
    Encoding,
    ImageSequence,
    Picture,
    jpeg_quality,
    open_rows,
    read_images,
    write_images,
)
from rgt_cli.media.header import decoded_bytes, frames_in, read_header
from tests.helpers.images import (
    animation,
    empty_jpeg,
    png_chunk,
    sample,
    tiny_webp,
    write_dpx,
    write_pam,
)

MODES = ("L", "LA", "RGB", "RGBA")
FORMS = [(f.name, mode, bits) for f in FORMATS for mode in f.modes for bits in (8, 16)[: 1 + f.is_deep]]


@pytest.mark.parametrize(("name", "mode", "bits"), FORMS)
def test_header_is_what_is_decoded(
    tmp_path: Path, photo: np.ndarray, name: str, mode: str, bits: int
) -> None:
    file_format = next(f for f in FORMATS if f.name == name)
    path = tmp_path / "any-name"
    pixels = sample(photo, mode)
    alpha = pixels[..., -1] if mode.endswith("A") else None
    colors = pixels[..., : 3 if mode.startswith("RGB") else 1] if pixels.ndim == 3 else pixels
    picture = Picture(colors.squeeze(), alpha).with_bits(bits)
    write_images(ImageSequence([picture]), path, file_format, Encoding())
    header, decoded = read_header(path), read_images(path).first
    assert (header.format, header.size, header.frames) == (name, decoded.size, 1)
    assert (header.bits, header.has_alpha) == (decoded.bits, decoded.alpha is not None)
    assert header.channels >= len(decoded.mode), "it is the most that can be decoded"
    assert header.pixels == 31 * 41
    if name in ("png", "tiff", "jpeg"):
        assert header.decoded_bytes == decoded.channels().nbytes


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif", ".tif"])
def test_frames_and_pages(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (30, 20), (i, 255 - i, 0)) for i in range(0, 200, 40)]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    header = read_header(path)
    assert (header.frames, header.size, header.pixels) == (5, (30, 20), 5 * 600)
    assert header.is_animation == (suffix != ".tif")
    assert decoded_bytes(path) == 5 * 600 * header.channels
    assert str(header).startswith("5 pages of" if suffix == ".tif" else "5 frames of 30 x 20")


@pytest.mark.parametrize(
    "options",
    [
        {}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_blocks": 1},
        {"quality": 1, "optimize": True}, {"quality": 1, "optimize": True, "progressive": True},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_smallest_jpegs_are_not_refused(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    path = tmp_path / "in.jpg"
    for size in ((1, 1), (200, 137), (2000, 17)):
        Image.new(mode, size).save(path, "JPEG", **options)
        assert read_header(path).size == read_images(path).first.size == size


@pytest.mark.parametrize(
    ("channels", "bits"), [(1, 8), (3, 8), (4, 8), (3, 16), (1, 16)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("size", [(8, 8), (31, 24), (640, 480), (3000, 2000)], ids=str)
def test_jpeg_xl_of_another_encoder(
    tmp_path: Path, channels: int, bits: int, size: tuple[int, int]
) -> None:
    shape = (size[1], size[0], channels)[: 2 if channels == 1 else 3]
    path = tmp_path / "a.jxl"
    pixels = np.zeros(shape, f"u{bits // 8}")
    path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=size == (8, 8)))
    header = read_header(path)
    assert (header.size, header.channels, header.bits) == (size, channels, bits)


def test_input_only_formats(tmp_path: Path, photo: np.ndarray) -> None:
    part = np.ascontiguousarray(photo[:20, :30])
    write_pam(tmp_path / "a.pam", part.astype(np.uint16) * 257, "RGB")
    write_dpx(tmp_path / "a.dpx", part, "rgb24")
    (tmp_path / "a.ppm").write_bytes(b"P6 30 20 255\n" + part.tobytes())
    (tmp_path / "a.pgm").write_bytes(b"P2 2 2 65535\n1 2 3 4\n")
    (tmp_path / "a.pbm").write_bytes(b"P4 30 20\n" + bytes(80))
    found = {path.name: read_header(path) for path in tmp_path.iterdir()}
    kinds = {name: (*header.size, header.channels, header.bits) for name, header in found.items()}
    assert kinds == {
        "a.pam": (30, 20, 3, 16), "a.dpx": (30, 20, 3, 8), "a.ppm": (30, 20, 3, 8),
        "a.pgm": (2, 2, 1, 16), "a.pbm": (30, 20, 1, 8),
    }  # fmt: skip
    for name in ("a.pam", "a.dpx", "a.ppm"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(InputError, match="truncated"):
            read_header(path)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif", ".avif", ".heic"])
def test_cut_file_is_refused_by_its_header(
    tmp_path: Path, photo: np.ndarray, suffix: str, part: float
) -> None:
    path = tmp_path / f"in{suffix}"
    Image.fromarray(photo).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match="damaged image"):
        read_header(path)


def big_png() -> bytes:
    """Return a PNG whose header has 17000 x 17000, with pixels for a few rows."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 17_000, 17_000, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", b"x\x9c" + bytes(500))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


def big_tiff() -> bytes:
    """Return a TIFF whose header has 17000 x 17000, deflated to a few bytes."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((70, 50), np.uint8), compression="zlib", metadata=None)
    data = bytearray(file.getvalue())
    for tag, old in ((0x100, 50), (0x101, 70)):
        at = data.index(struct.pack("<HHLL", tag, 4, 1, old))
        struct.pack_into("<L", data, at + 8, 17_000)
    return bytes(data)


def big_gif() -> bytes:
    """Return a GIF whose header has 17000 x 17000, with a few bytes."""
    head = b"GIF89a" + struct.pack("<HHBBB", 17_000, 17_000, 0x80, 0, 0) + bytes(6)
    return head + struct.pack("<BHHHHB", 0x2C, 0, 0, 17_000, 17_000, 0) + b"\x02\x03\x84\x51\x05\0;"


@pytest.mark.parametrize(
    "data",
    [
        empty_jpeg(17_000, 17_000), empty_jpeg(17_000, 17_000, end=True),
        empty_jpeg(17_000, 17_000, progressive=True, end=True), big_png(), big_tiff(), big_gif(),
        b"BM" + struct.pack("<LLLLllHHLLllLL", 333, 0, 54, 40, 17_000, 17_000, 1, 24, *[0] * 6),
        b"P6 17000 17000 255\n" + bytes(300),
    ],
    ids=["jpeg", "jpeg with an end", "progressive", "png", "tiff", "gif", "bmp", "ppm"],
)  # fmt: skip
def test_too_little_data_is_refused_at_once(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "small"
    path.write_bytes(data)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"damaged image: .*truncated"):
        read_images(path)
    assert time.monotonic() - started < 1


def test_promised_frames_are_missing(tmp_path: Path) -> None:
    data = animation("png", 4)
    at = data.index(b"acTL") - 4
    promise = png_chunk(b"acTL", struct.pack(">II", 60_000, 0))
    (tmp_path / "a.png").write_bytes(data[:at] + promise + data[at + 20 :])
    with pytest.raises(InputError, match="4 of 60000 frames"):
        read_header(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_many_frames_are_counted_fast(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(animation(suffix, 20_000))
    started = time.monotonic()
    assert frames_in(path) == 20_000
    assert time.monotonic() - started < 2


def test_large_image_in_few_bytes(tmp_path: Path) -> None:
    """A WebP of one color needs no bytes for its pixels, so that this file is whole."""
    path = tmp_path / "a.webp"
    path.write_bytes(tiny_webp(16_383, 16_383))
    assert path.stat().st_size < 40
    assert read_header(path).decoded_bytes == 3 * 16_383**2
    path.write_bytes(tiny_webp(40, 30))
    assert read_images(path).first.size == read_header(path).size == (40, 30)


def test_limit_of_pillow_stays_that_of_the_host(
    tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these files is larger than Pillow would allow."""
    imported = "from PIL import Image; before = Image.MAX_IMAGE_PIXELS; import rgt_cli.media; "
    check = imported + "assert before == Image.MAX_IMAGE_PIXELS > 0"
    subprocess.run([sys.executable, "-c", check], check=True)
    paths = [tmp_path / f"a{suffix}" for suffix in (".png", ".gif", ".webp", ".tif", ".jpg", ".avif")]
    for path in paths:
        Image.fromarray(photo).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(read_images, paths * 4):
            assert images.first.size == (451, 300)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with open_rows(tmp_path / "a.jpg", MAX_PIXELS, tmp_path) as rows:
        assert rows[0:300].shape == photo.shape
        assert jpeg_quality(tmp_path / "a.jpg") == 75
        with pytest.raises(Image.DecompressionBombError):
            Image.open(tmp_path / "a.jpg")


def test_header_is_read_again_after_a_change(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "a.png"
    for side in (8, 9):
        Image.fromarray(photo[:side, :side]).save(path)
        assert read_header(path).size == (side, side)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_reading_reports_its_frames(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a").write_bytes(animation(suffix, 3))
    calls: list[tuple[int, int]] = []
    read_images(tmp_path / "a", on_frame=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
