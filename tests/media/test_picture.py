"""Pictures survive the trip through a file, and nothing is dropped in silence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from rgt_cli.errors import OutputError, PictureError, UsageError
from rgt_cli.media import FORMATS, Format, Picture, format_named, read_picture, write_picture

FORMAT = pytest.mark.parametrize("file_format", FORMATS, ids=lambda f: f.name)


@FORMAT
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_round_trip(tmp_path: Path, photo: np.ndarray, file_format: Format, gray: bool) -> None:
    pixels = photo[..., 1] if gray else photo
    first, second = (tmp_path / f"{i}{file_format.suffixes[0]}" for i in "ab")
    Image.fromarray(pixels).save(first)
    picture = read_picture(first)
    if not file_format.has_quality:
        np.testing.assert_array_equal(picture.pixels, pixels)
    write_picture(picture, second, file_format, quality=100)
    again = read_picture(second)
    if gray and file_format.name == "webp":
        assert again.pixels.shape == (*pixels.shape, 3)  # WebP has no gray
        return
    assert again.pixels.shape == picture.pixels.shape
    error = np.abs(again.pixels.astype(int) - picture.pixels)
    assert error.mean() < (3 if file_format.has_quality else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_is_applied(
    tmp_path: Path, photo: np.ndarray, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "Ann"
    Image.fromarray(photo).save(path, exif=exif)
    turn = {
        1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.swapaxes(0, 1),
        6: np.rot90(photo, -1), 7: photo[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(photo),
    }  # fmt: skip
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, turn[orientation])
    written = tmp_path / "upright.png"
    write_picture(picture, written, format_named("png"))
    with Image.open(written) as opened:
        kept = opened.getexif()
        assert ExifTags.Base.Orientation not in kept
        assert kept[ExifTags.Base.Artist] == "Ann"


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff"])
def test_envelope_is_kept(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    file_format = format_named(name)
    first, second = (tmp_path / f"{i}{file_format.suffixes[0]}" for i in "ab")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 451
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    Image.fromarray(photo).save(first, icc_profile=icc, exif=exif.tobytes())
    picture = read_picture(first)
    write_picture(picture.with_pixels(picture.pixels.repeat(2, 1)), second, file_format)
    with Image.open(second) as opened:
        assert opened.info["icc_profile"] == icc
        kept = opened.getexif()
        assert kept[ExifTags.Base.Make] == "Maker"
        details = kept.get_ifd(ExifTags.IFD.Exif)
        assert details[ExifTags.Base.ExifImageWidth] == 902
        assert details[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"
        assert opened.size == (902, 300)


def make_unsupported(folder: Path) -> dict[str, Path]:
    """Write one file of each kind that would lose something."""
    paths = {name: folder / name for name in (
        "rgba.png", "palette.png", "transparent.png", "deep.png", "gray16.png", "cmyk.jpg",
        "moving.webp", "bilevel.png", "pages.tif", "deep.tif",
    )}  # fmt: skip
    rgb = Image.new("RGB", (8, 8), (9, 8, 7))
    rgb.convert("RGBA").save(paths["rgba.png"])
    rgb.quantize(4).save(paths["palette.png"])
    rgb.save(paths["transparent.png"], transparency=(9, 8, 7))
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(paths["gray16.png"])
    rgb.convert("CMYK").save(paths["cmyk.jpg"])
    rgb.save(paths["moving.webp"], save_all=True, append_images=[Image.new("RGB", (8, 8))])
    rgb.convert("1").save(paths["bilevel.png"])
    rgb.save(paths["pages.tif"], save_all=True, append_images=[rgb])
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(paths["deep.tif"])
    paths["deep.png"].write_bytes(png_of_16_bit_rgb())
    return paths


def png_of_16_bit_rgb() -> bytes:
    """A 2 x 1 PNG of 16 bits a channel, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + struct.pack(">6H", 1, 2, 3, 40000, 50000, 60000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_unsupported_kinds_say_so(tmp_path: Path) -> None:
    for name, path in make_unsupported(tmp_path).items():
        with pytest.raises(UsageError, match="not supported yet") as caught:
            read_picture(path)
        assert name in str(caught.value)


def test_damaged(tmp_path: Path, photo: np.ndarray) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(photo).save(good)
    text, cut = tmp_path / "text.png", tmp_path / "cut.png"
    text.write_text("not a picture")
    cut.write_bytes(good.read_bytes()[:50_000])
    for path in (text, cut):
        with pytest.raises(PictureError, match=path.name):
            read_picture(path)


def test_failed_write_leaves_the_old_target(tmp_path: Path, photo: np.ndarray) -> None:
    target = tmp_path / "out.webp"
    target.write_text("precious")
    picture = Picture(photo.repeat(40, 1))
    with pytest.raises(OutputError, match=r"out\.webp"):
        write_picture(picture, target, format_named("webp"))
    assert target.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["out.webp"]
