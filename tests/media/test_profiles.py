"""Colors that a file describes by numbers stay the same in formats that need a profile."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from rgt_cli.media import read_images, strip_metadata
from rgt_cli.media.color import pixels_to_srgb, space_of, srgb_profile
from rgt_cli.media.profiles import coded_profile, png_profile
from tests.helpers.images import convert, converted, doubled, png_chunk, with_chunks

P3, BT2020, SRGB, PQ = 12, 9, 13, 16
POINTS = struct.pack(">8L", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
"""White, red, green and blue of Display P3."""


def with_colors(array: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return with_chunks(file.getvalue(), before=b"".join(png_chunk(*chunk) for chunk in chunks))


def shown(path: Path) -> np.ndarray:
    """Return an image in sRGB, as a program that applies profiles shows it."""
    with Image.open(path) as opened:
        profile = opened.info.get("icc_profile") or srgb_profile()
        return pixels_to_srgb(np.asarray(opened), profile).astype(int)


def to_linear(values: np.ndarray) -> np.ndarray:
    curve: np.ndarray = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return curve


def from_linear(values: np.ndarray) -> np.ndarray:
    values = np.clip(values, 0, 1)
    curve: np.ndarray = np.where(
        values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055
    )
    return curve


def p3_in_srgb(array: np.ndarray) -> np.ndarray:
    """Convert Display P3 to sRGB by the matrix of CSS Color 4, section 17."""
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    result: np.ndarray = np.rint(255 * from_linear(to_linear(array / 255) @ matrix.T)).astype(int)
    return result


def test_profile_of_display_p3(photo: np.ndarray) -> None:
    profile = coded_profile(P3, SRGB)
    assert profile is not None
    assert space_of(profile) == "RGB"
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    difference = np.abs(pixels_to_srgb(photo, profile) - p3_in_srgb(photo))
    assert difference.mean() < 0.5
    assert np.abs(photo - p3_in_srgb(photo)).mean() > 3


@pytest.mark.parametrize("codes", [(1, 13), (1, 1), (2, 2), (1, 6), (BT2020, PQ)])
def test_colors_without_a_profile(codes: tuple[int, int]) -> None:
    assert coded_profile(*codes) is None


@pytest.mark.parametrize("target", ["out.jpg", "out.tif", "out.webp", "out.avif"])
@pytest.mark.parametrize(
    "chunk",
    [(b"cICP", bytes([P3, SRGB, 0, 1])), (b"cHRM", POINTS)],
    ids=lambda chunk: chunk[0].decode(),
)
def test_colors_of_a_png(
    tmp_path: Path, photo: np.ndarray, target: str, chunk: tuple[bytes, bytes]
) -> None:
    source = tmp_path / "in.png"
    source.write_bytes(with_colors(photo, chunk))
    assert np.abs(shown(converted(source, target)) - doubled(p3_in_srgb(photo))).mean() < 2
    copied = converted(source, "out.png").read_bytes()
    assert png_chunk(*chunk) in copied
    assert b"iCCP" not in copied


@pytest.mark.parametrize("has_color", [True, False])
def test_linear_light_of_a_png(tmp_path: Path, photo: np.ndarray, has_color: bool) -> None:
    array = photo if has_color else np.ascontiguousarray(photo[..., 1])
    source = tmp_path / "in.png"
    source.write_bytes(with_colors(array, (b"gAMA", struct.pack(">L", 100_000))))
    expected = np.rint(255 * from_linear(array / 255)).astype(int)
    expected = expected if has_color else expected[..., None].repeat(3, axis=2)
    assert np.abs(shown(converted(source, "out.tif")) - doubled(expected)).mean() < 1
    stripped = strip_metadata(read_images(source).first)
    pixels = stripped.pixels if has_color else stripped.pixels[..., None]
    assert np.abs(pixels - expected).mean() < 1


@pytest.mark.parametrize(
    "chunks",
    [
        {b"gAMA": struct.pack(">L", 45_455)},
        {b"sRGB": b"\0", b"gAMA": struct.pack(">L", 100_000)},
        {b"gAMA": bytes(4)},
        {b"gAMA": b"\0"},
        {b"cHRM": bytes(32)},
        {b"cHRM": b"\xff" * 32},
        {b"cICP": b"\x0c"},
    ],
)
def test_usual_and_damaged_colors_of_a_png_need_no_profile(chunks: dict[bytes, bytes]) -> None:
    assert png_profile(chunks.items(), has_color=True) is None
    assert png_profile(chunks.items(), has_color=False) is None


def test_codes_of_an_avif(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.avif"
    source.write_bytes(imagecodecs.avif_encode(photo, level=95, primaries=P3, transfer=SRGB, matrix=1))
    images = read_images(source)
    assert images.warnings == ()
    for target in ("out.avif", "out.jpg"):
        assert np.abs(shown(converted(source, target)) - doubled(p3_in_srgb(photo))).mean() < 4


def test_hdr_stays_hdr_in_a_png_and_is_reported_elsewhere(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.avif"
    deep = photo.astype(np.uint16) * 4
    encoded = imagecodecs.avif_encode(
        deep, level=95, bitspersample=10, primaries=BT2020, transfer=PQ, matrix=9
    )
    source.write_bytes(encoded)
    assert convert(source, tmp_path / "out.png") == (
        f"{source}: has 10 bits per channel, of which 8 are used",
    )
    assert png_chunk(b"cICP", bytes([BT2020, PQ, 0, 1])) in (tmp_path / "out.png").read_bytes()
    warnings = convert(source, tmp_path / "out.avif")
    assert any("avif does not support HDR (PQ)" in warning for warning in warnings)


def test_bits_that_are_not_used_are_reported(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.jxl"
    source.write_bytes(imagecodecs.jpegxl_encode(photo.astype(np.uint16) * 257, lossless=True))
    assert "has more than 8 bits per channel" in " ".join(read_images(source).warnings)
