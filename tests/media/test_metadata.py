"""Metadata of input and output, as exiftool prints it."""

import functools
import io
import random
import struct
import subprocess
import zlib
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from rgt_cli.media import Encoding, Picture, strip_metadata, tiff
from rgt_cli.media.color import pixels_to_srgb
from tests.helpers.images import (
    LOSSLESS,
    convert,
    converted,
    decoded,
    deep_png,
    deep_sample,
    doubled,
    exiftool,
    png_chunk,
    with_chunks,
)
from tests.helpers.process import NEEDS_EXIFTOOL

pytestmark = NEEDS_EXIFTOOL

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" tiff:Orientation="6" xmp:Rating="4"
 exif:PixelXDimension="451">
<exif:PixelYDimension>300</exif:PixelYDimension></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


@functools.cache  # it contains the time
def wide_gamut() -> bytes:
    """Return a profile that is not sRGB: its red primary is another one."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"rXYZ", 0) + 4  # the tag table: offset and size follow
    red = int.from_bytes(profile[at : at + 4], "big")
    profile[red + 8 : red + 12] = (int(0.6 * 65536)).to_bytes(4, "big")
    return bytes(profile)


@pytest.fixture
def full_jpeg(tmp_path: Path, photo: np.ndarray) -> Path:
    """Return a JPEG like that of a phone: turned, with all kinds of metadata and a thumbnail."""
    path = tmp_path / "in.jpg"
    Image.fromarray(photo).save(
        path, quality=97, icc_profile=wide_gamut(), xmp=XMP, comment="Chelsea", dpi=(300, 300)
    )
    thumbnail = tmp_path / "thumbnail.jpg"
    Image.fromarray(photo).resize((160, 106)).save(thumbnail)
    command = [
        "exiftool", "-q", "-overwrite_original", "-n", "-Orientation=6", "-Make=Maker", "-Model=M 1",
        "-ExifIFD:DateTimeOriginal=2024:05:06 07:08:09", "-ExposureTime=0.01", "-ISO=200",
        "-GPSLatitude=48.85", "-GPSLatitudeRef=N", "-GPSLongitude=2.35", "-GPSLongitudeRef=E",
        "-ExifImageWidth=451", "-ExifImageHeight=300", "-Copyright=Ann \u00a9", "-IPTC:Keywords=cat",
        "-IPTC:Keywords=tabby", f"-ThumbnailImage<={thumbnail}", "-UserComment=hello", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    thumbnail.unlink()
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic", ".jxl"])
def test_everything_is_copied_or_updated(full_jpeg: Path, suffix: str) -> None:
    before, after = exiftool(full_jpeg), exiftool(converted(full_jpeg, f"out{suffix}"))
    for name in (
        "IFD0:Make", "IFD0:Model", "IFD0:Copyright", "ExifIFD:DateTimeOriginal", "ExifIFD:ExposureTime",
        "ExifIFD:ISO", "ExifIFD:UserComment", "GPS:GPSLatitude", "GPS:GPSLongitude",
        "GPS:GPSLatitudeRef",
    ):  # fmt: skip
        assert after[name] == before[name], name
    assert after.get("IFD0:Orientation", 1) == 1
    assert (after["ExifIFD:ExifImageWidth"], after["ExifIFD:ExifImageHeight"]) == (600, 902)
    if suffix != ".jxl":  # whose plugin compresses or ignores it
        assert after["XMP-xmp:Rating"] == 4
        assert (after["XMP-tiff:Orientation"], after["XMP-exif:ExifImageWidth"]) == (1, 600)
        assert after["XMP-exif:ExifImageHeight"] == 902
        with Image.open(full_jpeg.with_name(f"out{suffix}")) as opened:
            assert opened.info["icc_profile"] == wide_gamut()
    if suffix in (".jpg", ".tif"):
        assert (after["IFD0:XResolution"], after["IFD0:YResolution"]) == (300, 300)
    if suffix == ".png":
        assert after["PNG-pHYs:PixelsPerUnitX"] == round(300 / 0.0254)
    if suffix == ".jpg":
        assert after["IPTC:Keywords"] == ["cat", "tabby"]
        assert after["File:Comment"] == "Chelsea"
        assert after["JFIF:XResolution"] == 300
        assert_thumbnail_is_upright(full_jpeg.with_name("out.jpg"))


def assert_thumbnail_is_upright(path: Path) -> None:
    command = ["exiftool", "-b", "-ThumbnailImage", str(path)]
    thumbnail = subprocess.run(command, check=True, capture_output=True).stdout
    with Image.open(io.BytesIO(thumbnail)) as small, Image.open(path) as large:
        assert small.size == (106, 160)
        difference = np.asarray(large.resize(small.size)).astype(int) - np.asarray(small)
        assert np.abs(difference).mean() < 8


def test_stripped_pixels_are_srgb(full_jpeg: Path) -> None:
    """What is left besides pixels is in test_privacy."""
    with Image.open(full_jpeg) as opened:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
        srgb = ImageCms.profileToProfile(
            opened,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    assert srgb is not None
    expected = doubled(np.rot90(np.asarray(srgb), -1))
    stripped = decoded(converted(full_jpeg, "out.png", finish=strip_metadata))
    assert np.abs(stripped.astype(int) - expected).max() <= 2


def test_metadata_that_only_png_supports(tmp_path: Path, photo: np.ndarray) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "A cat")
    info.add_text("Author", "Ann", zip=True)
    info.add_itxt("Comment", "Chelsea \u732b", lang="ja")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    primaries = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    info.add(b"cHRM", b"".join(value.to_bytes(4, "big") for value in primaries))
    source = tmp_path / "in.png"
    Image.fromarray(photo[:20, :20]).save(source, pnginfo=info, dpi=(144, 144))
    before = exiftool(source)
    for bits in (8, 16):
        path = converted(source, "out.png", finish=methodcaller("with_bits", bits))
        after = exiftool(path)
        for name in (
            "PNG:Title", "PNG:Author", "PNG:Comment-ja", "PNG:Gamma", "PNG:WhitePointX",
            "PNG-pHYs:PixelsPerUnitX",
        ):  # fmt: skip
            assert after[name] == before[name], name
    warnings = convert(source, tmp_path / "out.jpg")
    assert any("text chunks" in warning for warning in warnings)


@pytest.mark.parametrize("bits", [8, 16])
def test_metadata_behind_the_pixels_of_a_png(tmp_path: Path, photo: np.ndarray, bits: int) -> None:
    plain = io.BytesIO()
    Image.fromarray(photo).save(plain, "PNG")
    png = plain.getvalue() if bits == 8 else deep_png(deep_sample(photo, "RGB"))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    chunks = png_chunk(b"eXIf", exif.tobytes()[6:]) + png_chunk(b"tEXt", b"Title\0A cat")
    chunks += png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    source = tmp_path / "in.png"
    source.write_bytes(with_chunks(png, after=chunks))
    after = exiftool(converted(source, "out.png"))
    assert (after["IFD0:Make"], after["PNG:Title"], after["XMP-xmp:Rating"]) == ("Maker", "A cat", 4)
    assert "IFD0:Orientation" not in after
    assert decoded(tmp_path / "out.png").shape[0] > decoded(tmp_path / "out.png").shape[1]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
@pytest.mark.parametrize("name", ["exif", "APP1"])
def test_exif_in_the_texts_of_a_png(tmp_path: Path, photo: np.ndarray, name: str, kind: bytes) -> None:
    """ImageMagick writes it there. It is updated, and not copied with its old orientation."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    data = exif.tobytes()
    text = f"\n{name}\n{len(data):8}\n{data.hex()}\n".encode()
    text = b"\0" + zlib.compress(text) if kind == b"zTXt" else text
    plain = io.BytesIO()
    Image.fromarray(photo).save(plain, "PNG")
    source = tmp_path / "in.png"
    chunk = png_chunk(kind, b"Raw profile type " + name.encode() + b"\0" + text)
    source.write_bytes(with_chunks(plain.getvalue(), before=chunk))
    target = converted(source, "out.png")
    assert b"Raw profile" not in target.read_bytes()
    assert exiftool(target)["IFD0:Make"] == "Maker"
    assert decoded(target).shape == (902, 600, 3)


def test_pixels_stay_in_the_color_space_of_their_profile(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photo).save(source, icc_profile=wide_gamut())
    np.testing.assert_array_equal(decoded(converted(source, "out.png")), doubled(photo))
    bmp = decoded(converted(source, "out.bmp"))  # BMP has no profiles
    assert np.abs(bmp.astype(int) - doubled(photo)).max() > 2


@pytest.mark.parametrize("quality", [97, 100])
def test_formats_without_profiles_receive_srgb(tmp_path: Path, photo: np.ndarray, quality: int) -> None:
    """The encoder of JPEG XL ignores profiles without an error."""
    source = tmp_path / "in.png"
    Image.fromarray(photo).save(source, icc_profile=wide_gamut())
    target = converted(source, "out.jxl", Encoding(quality=quality))
    expected = doubled(pixels_to_srgb(photo, wide_gamut())).astype(int)
    assert np.abs(expected - doubled(photo)).mean() > 3, "the profile matters"
    difference = np.abs(decoded(target) - expected)
    assert difference.mean() < (0.01 if quality == 100 else 2)


def test_gray_profile_on_color(tmp_path: Path, photo: np.ndarray) -> None:
    gray = tmp_path / "in.tif"
    Image.fromarray(photo[..., 1]).save(gray, icc_profile=gray_profile())
    after = converted(gray, "out.png")
    np.testing.assert_array_equal(decoded(after), doubled(photo[..., 1]))
    with Image.open(after) as opened:
        assert opened.info["icc_profile"] == gray_profile()
    result = decoded(converted(gray, "out.webp", LOSSLESS))
    linear = (doubled(photo[..., 1]) / 255.0)[..., None] ** 1.8
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(result - 255 * expected).max() <= 2


def gray_profile() -> bytes:
    """Return the smallest profile of gray with a gamma of 1.8 that ICC.1 allows."""

    def entry(kind: bytes, content: bytes) -> bytes:
        return kind + b"\0\0\0\0" + content

    d50 = b"\0\0\xf6\xd6\0\1\0\0\0\0\xd3\x2d"
    tags = {
        b"desc": entry(b"desc", (7).to_bytes(4, "big") + b"cinema\0" + b"\0" * 78),
        b"cprt": entry(b"text", b"none\0"),
        b"wtpt": entry(b"XYZ ", d50),
        b"kTRC": entry(b"curv", b"\0\0\0\1\1\xcd"),
    }
    table, body = len(tags).to_bytes(4, "big"), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + (start + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content
    header = bytearray(128)
    header[0:4] = (start + len(body)).to_bytes(4, "big")
    header[8:12] = b"\2\x10\0\0"
    header[12:24] = b"mntrGRAYXYZ "
    header[36:40] = b"acsp"
    header[68:80] = d50
    return bytes(header) + table + body


def test_damaged_metadata_is_left_out(full_jpeg: Path) -> None:
    data = full_jpeg.read_bytes()
    at = data.index(b"Exif\0\0") + 14
    full_jpeg.with_name("exif.jpg").write_bytes(data[:at] + b"\xff" * 60 + data[at + 60 :])
    at = data.index(b"ICC_PROFILE") + 14
    full_jpeg.with_name("icc.jpg").write_bytes(data[:at] + b"\xff" * 200 + data[at + 200 :])
    target = full_jpeg.with_name("out.png")
    convert(full_jpeg.with_name("exif.jpg"), target)
    after = exiftool(target)
    assert "IFD0:Model" not in after
    assert sorted(decoded(target).shape[:2]) == [600, 902]
    warnings = convert(full_jpeg.with_name("icc.jpg"), target)
    assert any("ICC profile is damaged" in warning for warning in warnings)
    assert exiftool(target)["IFD0:Make"] == "Maker"
    with Image.open(target) as opened:
        assert "icc_profile" not in opened.info


GROUPS = ("IFD0", "ExifIFD", "InteropIFD", "GPS")
"""Where exiftool finds a tag of the first directory, and one of each subdirectory."""


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("target", ["out.jpg", "out.png", "out.tif"])
def test_directories_of_exif_in_a_big_tiff(
    tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, bits: int, target: str
) -> None:
    """They are read from a BigTIFF and written to one, with the directory of interoperability."""
    source, big = tmp_path / "in.jpg", tmp_path / "big.tif"
    Image.fromarray(photo[:30, :40]).save(source)
    tags = {"Make": "Maker", "ISO": 200, "InteropIndex": "R98", "GPSLatitude": 48.5}
    options = [f"-{name}={value}" for name, value in tags.items()]
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-n", *options, source], check=True)

    def deeper(picture: Picture) -> Picture:
        return picture.with_bits(bits)

    with monkeypatch.context() as patch:
        patch.setattr(tiff, "_CLASSIC_BYTES", 0)
        converted(source, "big.tif", finish=deeper)
    assert exiftool(big)["File:FileType"] == "BTF"
    for path in (converted(source, target), converted(big, target)):
        after = exiftool(path)
        assert "ExifTool:Warning" not in after
        assert {
            name: after.get(f"{group}:{name}") for group, name in zip(GROUPS, tags, strict=True)
        } == tags


@NEEDS_EXIFTOOL
def test_iptc_in_several_segments_of_a_jpeg(tmp_path: Path, photo: np.ndarray) -> None:
    """Photoshop divides long blocks, and writes a segment of another kind too."""
    source = tmp_path / "in.jpg"
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG")
    records = b"\x1c\x02\x19\0\x03cat"
    long = random.Random(0).randbytes(70_000)
    resources = b"".join(
        b"8BIM" + struct.pack(">HHL", number, 0, len(data)) + data + bytes(len(data) % 2)
        for number, data in ((0x0FA0, long), (0x0404, records))
    )
    parts = (resources[:60_000], resources[60_000:])
    segments = [b"Adobe_CM\0\1", *(b"Photoshop 3.0\0" + part for part in parts)]
    encoded = b"".join(b"\xff\xed" + struct.pack(">H", len(s) + 2) + s for s in segments)
    source.write_bytes(file.getvalue()[:2] + encoded + file.getvalue()[2:])
    for name in ("out.jpg", "out.tif"):
        target = converted(source, name)
        assert exiftool(target)["IPTC:Keywords"] == "cat"
        assert long[66_000:] in target.read_bytes()


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("name", ["out.jpg", "out.png", "out.tif", "out.webp", "out.avif", "out.heic"])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_texts_of_exif_in_any_language(tmp_path: Path, photo: np.ndarray, name: str, order: str) -> None:
    source = tmp_path / "in.jpg"
    Image.fromarray(photo[:20, :30]).save(source)
    texts = {
        "ExifIFD:OwnerName": "J\u00f6rg", "ExifIFD:LensModel": "\u00d8 50", "IFD0:Artist": "Zo\u00eb",
        "ExifIFD:UserComment": "\u732b", "GPS:GPSAreaInformation": "K\u00f6ln",
    }  # fmt: skip
    options = [f"-ExifByteOrder={order}", "-ExifIFD:ComponentsConfiguration=1 2 3 0", "-n"]
    options += [f"-{tag}={text}" for tag, text in texts.items()]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *options, source], check=True)
    target = converted(source, name)
    before, after = exiftool(source), exiftool(target)
    for tag, text in texts.items():
        assert before[tag] == after[tag] == text
    assert "Non-standard format" not in str(exiftool(target, "-validate", "-warning", "-a"))
