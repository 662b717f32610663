"""PNG in 16 bits, and its rows in turn, against other readers and writers."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media import Encoding, ImageSequence, png, read_images, write_images
from rgt_cli.size import Dimensions
from tests.helpers.images import (
    assert_visibly_equal,
    converted,
    decoded,
    deep_png,
    deep_sample,
    doubled,
    image_format_of,
    png_chunk,
)

_PIXEL_FORMATS = {(1, 8): "gray", (3, 8): "rgb24", (1, 16): "gray16be", (3, 16): "rgb48be"}


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_sixteen_bits(tmp_path: Path, photo: np.ndarray, mode: str, interlaced: bool) -> None:
    deep = deep_sample(photo, mode)
    source = tmp_path / "in.png"
    source.write_bytes(deep_png(deep, interlaced=interlaced))
    picture = read_images(source).first
    assert picture.mode == mode
    np.testing.assert_array_equal(picture.channels(), deep)
    for target in ("out.png", "out.tif"):
        assert_visibly_equal(decoded(converted(source, target)), doubled(deep))
    eight = decoded(converted(source, "eight.png", finish=lambda large: large.with_bits(8)))
    assert_visibly_equal(eight, ((doubled(deep).astype(np.uint32) + 128) // 257).astype(np.uint8))


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_color_in_sixteen_bits(
    tmp_path: Path, photo: np.ndarray, mode: str, interlaced: bool
) -> None:
    """All 16 bits must match; FFmpeg is the oracle."""
    deep = deep_sample(photo, mode)
    deep[5, 6] = deep[7, 8]
    deep[9, 10] = deep[7, 8] ^ 1
    key = png_chunk(b"tRNS", np.atleast_1d(deep[7, 8]).astype(">u2").tobytes())
    source = tmp_path / "in.png"
    source.write_bytes(deep_png(deep, before=key, interlaced=interlaced))
    picture = read_images(source).first
    assert picture.alpha is not None
    assert picture.alpha[5, 6] == picture.alpha[7, 8] == 0
    assert picture.alpha[9, 10] == 65535
    np.testing.assert_array_equal(picture.pixels, deep)
    oracle = imageio.imread(source, plugin="pyav", index=0, format=None)
    np.testing.assert_array_equal(picture.channels(), oracle.astype(np.uint16))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 1), (8, 8)])
def test_small_interlaced_images(tmp_path: Path, size: tuple[int, int]) -> None:
    """Some of the seven interlaced images are empty."""
    deep = np.random.default_rng(0).integers(0, 65536, (*size, 3), np.uint16)
    (tmp_path / "in.png").write_bytes(deep_png(deep, interlaced=True))
    np.testing.assert_array_equal(read_images(tmp_path / "in.png").first.pixels, deep)


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
def test_deep_png_that_ends_early(tmp_path: Path, photo: np.ndarray, interlaced: bool) -> None:
    whole = deep_png(deep_sample(photo, "RGB"), interlaced=interlaced)
    for part in (0.1, 0.5, 0.97):
        (tmp_path / "in.png").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match=r"in\.png: damaged image"):
            read_images(tmp_path / "in.png")


def test_flaws_of_other_chunks_are_not_reported_on_stderr(
    tmp_path: Path, photo: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    """libpng would print its warnings."""
    flawed = png_chunk(b"gAMA", b"\0\0\0\0") + png_chunk(b"sBIT", b"\0\0\0") + png_chunk(b"pHYs", b"")
    (tmp_path / "in.png").write_bytes(deep_png(deep_sample(photo, "RGB"), before=flawed))
    (tmp_path / "interlaced.png").write_bytes(deep_png(deep_sample(photo, "RGB"), interlaced=True))
    with pytest.raises(InputError, match="pHYs"):  # found by Pillow
        read_images(tmp_path / "in.png")
    read_images(tmp_path / "interlaced.png")
    with (tmp_path / "in.png").open("rb") as file:
        png.read_deep(file)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("filter_type", range(6))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_with_every_filter(
    photo: np.ndarray, filter_type: int, bits: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg writes the PNG, with one filter for all rows, or (5) the best one for each."""
    pixels = (photo[:41] * np.uint16(251)) if bits == 16 else photo[:41]
    pixels = pixels if channels == 3 else pixels[..., 1]
    frame = av.VideoFrame.from_ndarray(pixels, format=_PIXEL_FORMATS[channels, bits])
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.time_base = 451, 41, Fraction(1, 25)
    encoder.pix_fmt = frame.format.name
    names = ("none", "sub", "up", "avg", "paeth", "mixed")
    encoder.options = {"pred": names[filter_type]}
    written = io.BytesIO(b"".join(map(bytes, (*encoder.encode(frame), *encoder.encode(None)))))
    assert png.rows_layout(written) == ((41, 451, channels), np.dtype(f"u{bits // 8}"))
    monkeypatch.setattr(png, "BLOCK_BYTES", 7 * 451)
    blocks = list(png.read_rows(written))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), pixels)


@pytest.mark.parametrize("block", [1, 5000, 1 << 22])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_rows_written_in_any_blocks(
    photo: np.ndarray, mode: str, bits: int, block: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pixels = deep_sample(photo, mode)
    pixels = pixels if bits == 16 else (pixels >> 8).astype(np.uint8)
    monkeypatch.setattr(png, "BLOCK_BYTES", block)
    strips = [pixels[:1], pixels[1:20], pixels[20:20], pixels[20:]]
    with (tmp_path / "out.png").open("w+b") as file:
        size = Dimensions(pixels.shape[1], pixels.shape[0])
        png.write_rows(file, size, len(mode), bits, strips, [(b"tEXt", b"Title\0cat")])
        np.testing.assert_array_equal(np.concatenate(list(png.read_rows(file))), pixels)
    np.testing.assert_array_equal(decoded(tmp_path / "out.png"), pixels)
    if not (bits == 16 and mode != "L"):  # which Pillow does not decode
        with Image.open(tmp_path / "out.png") as opened:
            assert opened.info["Title"] == "cat"
            np.testing.assert_array_equal(np.asarray(opened), pixels)


def test_rows_are_not_read_from_other_kinds(photo: np.ndarray) -> None:
    for image in (Image.fromarray(photo).quantize(16), Image.fromarray(photo).convert("1")):
        file = io.BytesIO()
        image.save(file, "PNG")
        assert png.rows_layout(file) is None
        with pytest.raises(ValueError, match="palette"):
            next(png.read_rows(file))
    interlaced = io.BytesIO(deep_png(deep_sample(photo, "RGB"), interlaced=True))
    assert png.rows_layout(interlaced) is None


def test_written_chunks_are_in_order(tmp_path: Path, photo: np.ndarray) -> None:
    """Both encoders, for 8 and for 16 bits, write the same chunks of metadata."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    source = tmp_path / "in.png"
    Image.fromarray(photo[:9, :9]).save(source, exif=exif, dpi=(300, 300))
    picture = read_images(source).first
    found = {}
    for bits in (8, 16):
        target = tmp_path / f"out{bits}.png"
        images = ImageSequence([picture.with_bits(bits)])
        write_images(images, target, image_format_of(target), Encoding())
        with target.open("rb") as file:
            found[bits] = list(dict.fromkeys(kind for kind, _ in png.chunk_heads(file)))
        data = target.read_bytes()
        assert struct.pack(">LLB", 11811, 11811, 1) in data
    assert found[8] == found[16] == [b"IHDR", b"pHYs", b"eXIf", b"IDAT", b"IEND"]
