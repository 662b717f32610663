"""What a picture carries besides its pixels, as exiftool sees it before and after."""

import functools
import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from rgt_cli.jobs import Recipe
from tests.jobs.test_image import decoded, enlarge, run, twice

pytestmark = pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" tiff:Orientation="6" xmp:Rating="4"
 exif:GPSLatitude="48,51.5N" exif:PixelXDimension="451">
<exif:PixelYDimension>300</exif:PixelYDimension><exif:GPSLongitude>2,21.0E</exif:GPSLongitude>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def seen(path: Path) -> dict[str, Any]:
    """Every tag with its group, as exiftool prints it."""
    command = ["exiftool", "-json", "-G1", "-n", "-struct", path]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout)[0]


@functools.cache  # it holds the time
def wide_gamut() -> bytes:
    """A profile that is not sRGB: half of the channels swapped in name, as far as bytes go."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"rXYZ", 0) + 4  # the tag table: offset and size follow
    red = int.from_bytes(profile[at : at + 4], "big")
    profile[red + 8 : red + 12] = (int(0.6 * 65536)).to_bytes(4, "big")  # another red primary
    return bytes(profile)


@pytest.fixture
def full_jpeg(tmp_path: Path, photo: np.ndarray) -> Path:
    """A phone's JPEG: turned, placed, with a thumbnail, a profile, XMP, IPTC and a comment."""
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
        "-IPTC:Keywords=tabby", f"-ThumbnailImage<={thumbnail}", "-UserComment=hello", path,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    thumbnail.unlink()
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic", ".jxl"])
def test_everything_goes_along(full_jpeg: Path, suffix: str) -> None:
    before, after = seen(full_jpeg), seen(enlarge(full_jpeg, f"out{suffix}"))
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
        out = full_jpeg.with_name("out.jpg")
        shown = subprocess.run(
            ["exiftool", "-b", "-ThumbnailImage", out], check=True, capture_output=True
        )
        (out.with_name("thumbnail.jpg")).write_bytes(shown.stdout)
        with Image.open(out.with_name("thumbnail.jpg")) as small, Image.open(out) as large:
            assert small.size == (106, 160)  # upright, as the picture is
            difference = np.asarray(large.resize(small.size)).astype(int) - np.asarray(small)
            assert np.abs(difference).mean() < 8


def test_stripped(full_jpeg: Path) -> None:
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        after = seen(enlarge(full_jpeg, f"out{suffix}", Recipe(strip=True)))
        groups = {name.split(":")[0] for name in after}
        assert not {g for g in groups if g.startswith(("XMP", "GPS", "ExifIFD", "ICC", "IPTC"))}, suffix
        assert "IFD0:Make" not in after
    with Image.open(full_jpeg) as opened:
        converted = ImageCms.profileToProfile(
            opened, ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"])),
            ImageCms.createProfile("sRGB"), renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )  # fmt: skip
    assert converted is not None
    expected = twice(np.rot90(np.asarray(converted), -1))
    difference = decoded(full_jpeg.with_name("out.png")).astype(int) - expected
    assert np.abs(difference).max() <= 2


def test_without_the_place(full_jpeg: Path) -> None:
    for suffix in (".jpg", ".png"):
        after = seen(enlarge(full_jpeg, f"out{suffix}", Recipe(strip_gps=True)))
        assert not [name for name in after if "GPS" in name]
        assert after["IFD0:Make"] == "Maker"
        assert after["XMP-xmp:Rating"] == 4


@pytest.mark.parametrize(("dpi", "expected"), [("keep", 300), ("scale", 600), (72.0, 72)])
def test_dpi(full_jpeg: Path, dpi: str | float, expected: float) -> None:
    after = seen(enlarge(full_jpeg, "out.jpg", Recipe(dpi=dpi)))
    assert (after["JFIF:XResolution"], after["IFD0:XResolution"]) == (expected, expected)
    after = seen(enlarge(full_jpeg, "out.tif", Recipe(dpi=dpi)))
    assert after["IFD0:YResolution"] == expected


def test_what_only_a_png_holds(tmp_path: Path, photo: np.ndarray) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "A cat")
    info.add_text("Author", "Ann", zip=True)
    info.add_itxt("Comment", "Chelsea \u732b", lang="ja")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"cHRM", b"".join(v.to_bytes(4, "big") for v in
             (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)))  # fmt: skip
    source = tmp_path / "in.png"
    Image.fromarray(photo[:20, :20]).save(source, pnginfo=info, dpi=(144, 144))
    before = seen(source)
    for recipe in (Recipe(), Recipe(bits=16)):
        after = seen(enlarge(source, "out.png", recipe))
        for name in (
            "PNG:Title",
            "PNG:Author",
            "PNG:Comment-ja",
            "PNG:Gamma",
            "PNG-pHYs:PixelsPerUnitX",
        ):
            assert after[name] == before[name], name
        assert after["PNG:WhitePointX"] == before["PNG:WhitePointX"]
    outcome = run(source, tmp_path / "out.jpg", Recipe())
    assert any("texts" in warning for warning in outcome.warnings)


def test_pixels_stay_in_the_encoding_of_their_profile(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photo).save(source, icc_profile=wide_gamut())
    np.testing.assert_array_equal(decoded(enlarge(source, "out.png")), twice(photo))
    bmp = decoded(enlarge(source, "out.bmp"))  # which has no profiles: converted
    assert np.abs(bmp.astype(int) - twice(photo)).max() > 2


def test_gray_profile_on_color(tmp_path: Path, photo: np.ndarray) -> None:
    gray = tmp_path / "in.tif"
    Image.fromarray(photo[..., 1]).save(gray, icc_profile=gray_profile())
    after = enlarge(gray, "out.png")
    np.testing.assert_array_equal(decoded(after), twice(photo[..., 1]))
    with Image.open(after) as opened:
        assert opened.info["icc_profile"] == gray_profile()
    lossless = replace(Recipe(), encoding=replace(Recipe().encoding, lossless=True))
    result = decoded(enlarge(gray, "out.webp", lossless))
    linear = (twice(photo[..., 1]) / 255.0)[..., None] ** 1.8
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(result - 255 * expected).max() <= 2


def gray_profile() -> bytes:
    """ICC.1: the least that describes gray of gamma 1.8."""

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


def test_damaged_metadata_is_left_out(full_jpeg: Path, photo: np.ndarray) -> None:
    data = full_jpeg.read_bytes()
    at = data.index(b"Exif\0\0") + 14
    (full_jpeg.with_name("exif.jpg")).write_bytes(data[:at] + b"\xff" * 60 + data[at + 60 :])
    at = data.index(b"ICC_PROFILE") + 14
    (full_jpeg.with_name("icc.jpg")).write_bytes(data[:at] + b"\xff" * 200 + data[at + 200 :])
    for name, what in (("exif.jpg", None), ("icc.jpg", "ICC profile is damaged")):
        outcome = run(full_jpeg.with_name(name), full_jpeg.with_name("out.png"), Recipe())
        assert outcome.target_size in ((600, 902), (902, 600))
        assert what is None or any(what in warning for warning in outcome.warnings)
