"""Files of every kind are read as upright gray or RGB images, or refused with one line."""

import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from rgt_cli.errors import InputError, RGTError
from rgt_cli.media import (
    FORMATS,
    Encoding,
    ImageFormat,
    ImageSequence,
    Metadata,
    Picture,
    format_inside,
    read_images,
    shown_size,
    write_images,
)
from tests.helpers.images import (
    assert_visibly_equal,
    convert,
    converted,
    decoded,
    doubled,
    image_format_of,
    png_chunk,
    with_chunks,
)

ANY_FORMAT = pytest.mark.parametrize("file_format", FORMATS, ids=lambda f: f.name)


def test_palettes_and_bilevel_images(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo[:40, :50])
    indexed = image.quantize(16)
    indexed.save(tmp_path / "p.png")
    expected = doubled(np.asarray(indexed.convert("RGB")))
    np.testing.assert_array_equal(decoded(converted(tmp_path / "p.png", "p_out.png")), expected)
    indexed.save(tmp_path / "t.png", transparency=bytes([255, 0, 128] + [255] * 13))
    with Image.open(tmp_path / "t.png") as opened:
        expected = doubled(np.asarray(opened.convert("RGBA")))
    assert_visibly_equal(decoded(converted(tmp_path / "t.png", "t_out.png")), expected)
    image.convert("1").save(tmp_path / "1.png")
    expected = doubled(np.asarray(image.convert("1").convert("L")))
    np.testing.assert_array_equal(decoded(converted(tmp_path / "1.png", "1_out.png")), expected)


def test_transparent_color(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo[:40, :50])
    image.save(tmp_path / "key.png", transparency=image.getpixel((3, 4)))
    result = decoded(converted(tmp_path / "key.png", "key_out.png"))
    assert result.shape == (80, 100, 4)
    assert result[8, 6, 3] == 0
    opaque = result[..., 3] == 255
    np.testing.assert_array_equal(result[opaque, :3], doubled(np.asarray(image))[opaque])


def test_cmyk_and_lab_become_srgb(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    image.convert("CMYK").save(tmp_path / "in.jpg", quality=100, subsampling=0)
    warnings = convert(tmp_path / "in.jpg", tmp_path / "out.png")
    assert any("CMYK is converted" in warning for warning in warnings)
    difference = decoded(tmp_path / "out.png").astype(int) - doubled(photo)
    assert np.abs(difference).mean() < 3
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    difference = decoded(converted(tmp_path / "lab.tif", "lab.png")).astype(int) - doubled(photo)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif", ".heic"])
def test_orientation_is_applied(
    tmp_path: Path, photo: np.ndarray, orientation: int, suffix: str
) -> None:
    source = tmp_path / f"in{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    special: dict[str, dict[str, Any]] = {".webp": {"lossless": True}, ".heic": {"quality": -1}}
    Image.fromarray(photo).save(source, exif=exif.tobytes(), **special.get(suffix, {}))
    turned = {
        1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.swapaxes(0, 1),
        6: np.rot90(photo, -1), 7: photo[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(photo),
    }  # fmt: skip
    result = decoded(converted(source, "out.png"))
    difference = result.astype(int) - doubled(turned[orientation])
    assert np.abs(difference).mean() < (0.01 if suffix in (".png", ".tif", ".webp") else 4)
    with Image.open(tmp_path / "out.png") as opened:
        assert opened.getexif().get(274, 1) == 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_resolution_turns_with_the_image(
    tmp_path: Path, photo: np.ndarray, suffix: str, bits: int
) -> None:
    picture = Picture(photo, None, Metadata(dpi=(300, 150))).with_bits(bits)
    source = tmp_path / f"in{suffix}"
    exif = Image.Exif()
    exif[274] = 6
    if bits == 8:
        Image.fromarray(photo).save(source, exif=exif.tobytes(), dpi=(300, 150))
    else:
        write_images(ImageSequence([picture]), source, image_format_of(source), Encoding())
        orient(source)
    turned = read_images(source).first
    assert turned.size == (300, 451)
    assert turned.metadata.dpi == pytest.approx((150, 300), rel=1e-3)


def orient(path: Path) -> None:
    """Set the orientation of a PNG or TIFF of 16 bits to 6."""
    if path.suffix == ".png":
        exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        path.write_bytes(with_chunks(path.read_bytes(), before=png_chunk(b"eXIf", exif)))
        return
    pixels = tifffile.imread(path)
    tifffile.imwrite(
        path, pixels, photometric="rgb", resolution=(300, 150), resolutionunit="INCH",
        extratags=[(274, 3, 1, 6, True)],
    )  # fmt: skip


def test_bombs_are_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="--max-pixels"):
        read_images(tmp_path / "bomb.png")
    Image.new("L", (100, 100)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="100 x 100"):
        read_images(tmp_path / "small.png", max_pixels=9999)
    assert read_images(tmp_path / "small.png", max_pixels=10_000).first.size == (100, 100)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_frames_and_pages_count_as_pixels(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (100, 100), (i, 0, 0)) for i in range(0, 200, 40)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="--max-pixels"):
        read_images(tmp_path / name, max_pixels=49_999)
    assert len(read_images(tmp_path / name, max_pixels=50_000).frames) == 5


def test_gif_whose_second_frame_is_a_bomb(tmp_path: Path) -> None:
    """Pillow extends an image to its largest frame, whatever the data of the frame."""
    path = tmp_path / "a.gif"
    first, second = (Image.new("RGB", (31, 24), color) for color in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second], duration=50)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\x2c\0\0\0\0\x1f\0\x18\0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"truncated.*65535 pixels"):
        read_images(path)


def test_what_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    cases = {"text.png": "known format", "none.png": "no such file", "folder.png": "folder",
             "pipe.png": "pipe"}  # fmt: skip
    for name, reason in cases.items():
        with pytest.raises(InputError, match=rf"{name}: .*{reason}"):
            read_images(tmp_path / name)


def test_other_formats_of_pillow_are_refused(tmp_path: Path, photo: np.ndarray) -> None:
    """Pillow has readers of rare formats that are not needed, and not tested here."""
    for pillow in ("TGA", "PCX", "ICO", "JPEG2000"):
        Image.fromarray(photo[:32, :32]).save(tmp_path / "a.png", pillow)
        with pytest.raises(InputError, match="known format"):
            read_images(tmp_path / "a.png")


@ANY_FORMAT
def test_format_inside(tmp_path: Path, photo: np.ndarray, file_format: ImageFormat) -> None:
    path = tmp_path / "no-suffix"
    write_images(ImageSequence([Picture(photo)]), path, file_format, Encoding())
    assert format_inside(path) == file_format.name
    path.write_bytes(b"no image")
    assert format_inside(path) == "png"


@ANY_FORMAT
def test_truncated_files(tmp_path: Path, photo: np.ndarray, file_format: ImageFormat) -> None:
    """Half a file is never mistaken for a whole one."""
    whole, cut = (tmp_path / f"{name}{file_format.suffixes[0]}" for name in ("whole", "cut"))
    write_images(ImageSequence([Picture(photo)]), whole, file_format, Encoding())
    assert read_images(whole).first.pixels.shape == photo.shape
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match="cut"):
        read_images(cut)
    cut.write_bytes(b"")
    with pytest.raises(InputError, match="cut"):
        read_images(cut)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return one small file of each format, and of each way to read it."""
    folder = tmp_path_factory.mktemp("samples")
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    files = []
    for file_format in FORMATS:
        path = folder / f"a{file_format.suffixes[0]}"
        write_images(ImageSequence([Picture(noise)]), path, file_format, Encoding())
        files.append(path.read_bytes())
    frames = [Image.fromarray(noise), Image.fromarray(noise[::-1].copy())]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
        files.append((folder / name).read_bytes())
    deep = ImageSequence([Picture(noise.astype(np.uint16) * 257)])
    for name in ("deep.png", "deep.tif"):
        write_images(deep, folder / name, image_format_of(Path(name)), Encoding())
        files.append((folder / name).read_bytes())
    files.append(b"P6 31 24 65535\n" + bytes(31 * 24 * 6))
    return files


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, 100), seed=st.integers(0, 2**32), edits=st.integers(1, 12))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, samples: list[bytes], which: int, seed: int, edits: int
) -> None:
    chance = random.Random(seed)
    data = bytearray(samples[which % len(samples)])
    for _ in range(edits):
        near_start = chance.random() < 0.5
        at = chance.randrange(min(200, len(data)) if near_start else len(data))
        data[at : at + chance.choice((0, 1, 1, 1, 4))] = chance.randbytes(chance.choice((1, 1, 1, 4)))
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data)
    try:
        images = read_images(path, max_pixels=1_000_000)
    except RGTError as refused:
        message = str(refused)
        if not message.startswith(str(path)) or "\n" in message:
            raise
        return
    for picture in images.frames:
        assert picture.pixels.dtype in (np.uint8, np.uint16)
        assert picture.size.width * picture.size.height <= 1_000_000


STALE = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><tiff:Orientation>6</tiff:Orientation></rdf:Description>
</rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("name", ["in.jpg", "in.webp", "in.tif", "in.png"])
def test_orientation_in_xmp_alone_is_not_applied(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    """Programs that turn the pixels leave it there, and those that show images ignore it."""
    source = tmp_path / name
    if name == "in.png":
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "PNG")
        text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + STALE)
        source.write_bytes(with_chunks(file.getvalue(), before=text))
    elif name == "in.tif":
        tags = [(700, 1, len(STALE), STALE, True)]
        tifffile.imwrite(source, photo, photometric="rgb", extratags=tags, metadata=None)
    else:
        Image.fromarray(photo).save(source, xmp=STALE)
    picture = read_images(source).first
    assert (picture.size, picture.metadata.xmp) == ((451, 300), STALE)
    assert shown_size(source) == (451, 300)
    if name in ("in.jpg", "in.webp"):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        Image.fromarray(photo).save(source, xmp=STALE, exif=exif)
        picture = read_images(source).first
        assert picture.size == (300, 451)
        assert b"<tiff:Orientation>1<" in (picture.metadata.xmp or b"")


@pytest.mark.parametrize("bits", [2, 4])
def test_transparent_gray_of_few_bits(tmp_path: Path, bits: int) -> None:
    values = np.arange(1 << bits, dtype=np.uint8).repeat(8 // bits)
    row = np.packbits(np.unpackbits(values[:, None], axis=1)[:, -bits:].reshape(-1)).tobytes()
    header = struct.pack(">LLBBBBB", len(values), 1, bits, 0, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"tRNS", b"\0\2"),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    source = tmp_path / "in.png"
    source.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))
    picture = read_images(source).first
    np.testing.assert_array_equal(picture.pixels[0], values * (255 // ((1 << bits) - 1)))
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha[0], np.where(values == 2, 0, 255))


def test_errors_name_the_format_of_what_cannot_be_decoded(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.jpg"
    source.write_bytes(imagecodecs.jpeg8_encode(photo.astype(np.uint16), level=90, bitspersample=12))
    with pytest.raises(InputError, match=r"in\.jpg: damaged image, or of a kind of jpeg"):
        read_images(source)
