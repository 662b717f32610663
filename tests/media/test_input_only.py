"""netpbm and DPX, written by hand, by Pillow and by FFmpeg."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media import READABLE, format_inside, read_images
from tests.helpers.images import (
    TUPLE_TYPES,
    converted,
    decoded,
    deep_sample,
    doubled,
    sample,
    write_dpx,
    write_pam,
)


@pytest.mark.parametrize("mode", TUPLE_TYPES)
@pytest.mark.parametrize("bits", [8, 16])
def test_pam(tmp_path: Path, photo: np.ndarray, mode: str, bits: int) -> None:
    pixels = sample(photo, mode) if bits == 8 else deep_sample(photo, mode)
    write_pam(tmp_path / "in.pam", pixels, mode)
    picture = read_images(tmp_path / "in.pam").first
    assert (picture.mode, picture.bits) == (mode, bits)
    np.testing.assert_array_equal(picture.channels(), pixels)
    np.testing.assert_array_equal(decoded(converted(tmp_path / "in.pam", "out.png")), doubled(pixels))


@pytest.mark.parametrize("largest", [255, 1023, 4095, 65535])
def test_pgm_is_scaled(tmp_path: Path, largest: int) -> None:
    values = np.arange(0, largest + 1, 7).astype(np.uint16)
    stored = values.astype("u1" if largest == 255 else ">u2").tobytes()
    (tmp_path / "in.pgm").write_bytes(f"P5 # width\n{len(values)} 1\n{largest}\n".encode() + stored)
    pixels = read_images(tmp_path / "in.pgm").first.pixels
    scale = 1 if largest == 255 else 65535 / largest
    assert pixels.dtype == (np.uint8 if largest == 255 else np.uint16)
    np.testing.assert_allclose(pixels[0], values * scale, atol=1)
    assert pixels[0, -1] == pytest.approx(values[-1] * scale, abs=1)


@pytest.mark.parametrize("suffix", [".ppm", ".pgm", ".pbm"])
def test_files_of_pillow(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    image = Image.fromarray(photo).convert({".ppm": "RGB", ".pgm": "L", ".pbm": "1"}[suffix])
    image.save(tmp_path / f"in{suffix}")
    expected = np.asarray(image.convert("L") if suffix == ".pbm" else image)
    np.testing.assert_array_equal(read_images(tmp_path / f"in{suffix}").first.pixels, expected)


def test_plain_text(tmp_path: Path) -> None:
    (tmp_path / "in.ppm").write_text("P3\n# by hand\n2 1\n255\n1 2 3\n250 251 252\n")
    np.testing.assert_array_equal(
        read_images(tmp_path / "in.ppm").first.pixels, [[[1, 2, 3], [250, 251, 252]]]
    )


@pytest.mark.parametrize("form", ["gbrp10le", "gbrp10be", "gbrp12le", "rgb48le", "rgb48be", "rgb24"])
def test_dpx(tmp_path: Path, form: str) -> None:
    bits = {"gbrp10": 10, "gbrp12": 12, "rgb48l": 16, "rgb48b": 16, "rgb24": 8}[form[:6]]
    values = np.linspace(0, (1 << bits) - 1, 32 * 20 * 3)
    array: np.ndarray = np.rint(values).reshape(20, 32, 3).astype(np.uint8 if bits == 8 else np.uint16)
    write_dpx(tmp_path / "in.dpx", array, form)
    pixels = read_images(tmp_path / "in.dpx").first.pixels
    assert pixels.dtype == array.dtype
    scale = 1 if bits == 8 else 65535 / ((1 << bits) - 1)
    np.testing.assert_allclose(pixels, array.astype(float) * scale, atol=1)


def test_dpx_header_is_not_copied_silently(tmp_path: Path) -> None:
    write_dpx(tmp_path / "in.dpx", np.zeros((20, 32, 3), np.uint8), "rgb24")
    assert any("DPX" in warning for warning in read_images(tmp_path / "in.dpx").warnings)


@pytest.mark.parametrize(
    "content",
    [
        b"P6 40000 40000 255\nabc", b"P5 8 8 255\n1234", b"P3 4 4 255\n1 2 3 4 5", b"P6 0 4 255\n",
        b"P7\nWIDTH 9\nHEIGHT 9\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\nabc", b"SDPX", b"P6",
        b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 2\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE_ALPHA\nENDHDR\n\0\1",
    ],
)  # fmt: skip
def test_damaged_and_unsupported_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.ppm").write_bytes(content)
    with pytest.raises(InputError, match=r"in\.ppm: "):
        read_images(tmp_path / "in.ppm")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_dpx_that_ends_early(tmp_path: Path, photo: np.ndarray, part: float) -> None:
    write_dpx(tmp_path / "in.dpx", photo[:64, :96].copy(), "rgb24")
    whole = (tmp_path / "in.dpx").read_bytes()
    (tmp_path / "in.dpx").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match=r"in\.dpx: damaged"):
        read_images(tmp_path / "in.dpx")


def test_size_is_checked_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "in.pgm").write_bytes(b"P5 100 100 255\n" + bytes(10_000))
    with pytest.raises(InputError, match=r"100 x 100.*--max-pixels"):
        read_images(tmp_path / "in.pgm", max_pixels=9999)


def test_inputs_of_folders_include_them() -> None:
    assert {".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".dpx"} <= READABLE


def test_format_inside_is_one_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "in.pgm").write_bytes(b"P5 1 1 255\n\7")
    assert format_inside(tmp_path / "in.pgm") == "png"
