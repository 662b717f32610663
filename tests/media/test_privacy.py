"""`strip_gps` leaves no place in any file, and everything else; `strip_metadata` leaves nothing.

exiftool puts places into files of every format, and looks for them in the outputs.
"""

import io
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from rgt_cli.media import Metadata, Picture, read_images, strip_gps, strip_metadata
from rgt_cli.media.iptc import PHOTOSHOP, strip_photoshop_gps
from tests.helpers.images import LOSSLESS, converted, png_chunk, stream, with_chunks
from tests.helpers.process import NEEDS_EXIFTOOL

PLACE_TAG = re.compile(
    r"GPS|^(?!Creator).*City|^(?!Creator).*Country|Location|Province|State|Lat|Long|Coverage"
)
"""Names of tags, as exiftool prints them, that are places. The address of the author is none."""
PLACE_WORDS = (b"Ouagadougou", b"Burkina", b"Faso", b"Kadiogo", b"12.37", b"12,22.", b"BFA")
"""What the places consist of: no output may contain any of it."""
PLACES = (
    "-GPSLatitude=12.3714", "-GPSLatitudeRef=N", "-GPSLongitude=1.5197", "-GPSLongitudeRef=W",
    "-GPSAltitude=305", "-GPSDateStamp=2024:05:06", "-GPSAreaInformation=Ouagadougou",
    "-XMP-exif:GPSLatitude=12.3714", "-XMP-exif:GPSLongitude=-1.5197", "-XMP-exif:GPSAltitude=305",
    "-XMP-exif:GPSAreaInformation=Ouagadougou",
    "-XMP-photoshop:City=Ouagadougou", "-XMP-photoshop:State=Kadiogo",
    "-XMP-photoshop:Country=Burkina Faso", "-XMP-iptcCore:Location=Ouagadougou",
    "-XMP-iptcCore:CountryCode=BFA",
    "-XMP-iptcExt:LocationCreated={City=Ouagadougou,CountryName=Burkina Faso,Sublocation=Kadiogo}",
    "-XMP-iptcExt:LocationShown={City=Ouagadougou,CountryCode=BFA,ProvinceState=Kadiogo}",
    "-XMP-dc:Coverage=Ouagadougou", "-XMP-xmpDM:ShotLocation=Ouagadougou",
)  # fmt: skip
IPTC_PLACES = (
    "-IPTC:City=Ouagadougou", "-IPTC:Sub-location=Kadiogo", "-IPTC:Province-State=Kadiogo",
    "-IPTC:Country-PrimaryLocationCode=BFA", "-IPTC:Country-PrimaryLocationName=Burkina Faso",
    "-IPTC:ContentLocationCode=BFA", "-IPTC:ContentLocationName=Burkina Faso",
)  # fmt: skip
OTHERS = {
    "IFD0:Make": "Maker", "IFD0:Model": "M 1", "IFD0:Artist": "Ann", "IFD0:Copyright": "Ann",
    "ExifIFD:ISO": "200", "XMP-xmp:Rating": "4", "XMP-dc:Title": "A cat", "XMP-dc:Rights": "Ann",
    "XMP-photoshop:Credit": "Ann", "XMP-iptcCore:CreatorCity": "Rome",
}  # fmt: skip
IPTC_OTHERS = {"IPTC:By-line": "Ann", "IPTC:Keywords": "cat", "IPTC:CopyrightNotice": "Ann"}
LOCATED_XMP = b'<x xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:City="Ouagadougou" p:Credit="Ann"/>'
SOURCES = pytest.mark.parametrize("name", ["in.jpg", "in.png", "in.tif", "in.webp"])


def without_place(picture: Picture) -> Picture:
    return replace(picture, metadata=strip_gps(picture.metadata))


def tags(path: Path) -> dict[str, str]:
    """Return every tag with its group, as exiftool prints it, duplicates and embedded files included."""
    command = ["exiftool", "-a", "-G1", "-ee", "-s", "-n", str(path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, str] = {}
    for line in shown.splitlines():
        match = re.match(r"\[(.+?)\]\s+(\S+)\s*: (.*)", line)
        assert match, line
        found.setdefault(f"{match[1]}:{match[2]}", match[3])
    return found


def places_in(path: Path) -> list[str]:
    """Return the tags that are places, and the words of places in the bytes of the file."""
    found = [name for name in tags(path) if PLACE_TAG.search(name.partition(":")[2])]
    return found + [word.decode() for word in PLACE_WORDS if word in uncompressed(path)]


def uncompressed(path: Path) -> bytes:
    """Return the bytes of a file, without pixels, and with the chunks of a PNG decompressed."""
    data = path.read_bytes()
    if not data.startswith(b"\x89PNG"):
        return data
    parts, position = [], 8
    while position < len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        content = data[position + 8 : position + 8 + length]
        if kind == b"zTXt":
            content = zlib.decompress(content.partition(b"\0")[2][1:])
        text = content if kind != b"IDAT" else b""
        parts.append(text)
        if profile := re.search(rb"\n *\d+\n([0-9a-f\n]+)$", text):
            parts.append(bytes.fromhex(profile[1].decode()))
        position += 12 + length
    return b"\n".join(parts)


@pytest.fixture
def located(tmp_path: Path, photo: np.ndarray) -> Callable[[str], Path]:
    """Return a function that writes a file of a format with places everywhere."""

    def write(name: str) -> Path:
        path = tmp_path / name
        options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
        Image.fromarray(photo[:64, :96]).save(path, **options)
        has_iptc = not name.endswith("webp")
        arguments = [*PLACES, *(f"-{tag}={value}" for tag, value in OTHERS.items())]
        if has_iptc:
            arguments += [*IPTC_PLACES, *(f"-{tag}={value}" for tag, value in IPTC_OTHERS.items())]
        command = ["exiftool", "-q", "-overwrite_original", "-n", *arguments, str(path)]
        subprocess.run(command, check=True)
        assert len(places_in(path)) > 20
        return path

    return write


def assert_others_stay(path: Path) -> None:
    found = tags(path)
    assert {name: found.get(name) for name in OTHERS} == OTHERS


@NEEDS_EXIFTOOL
@SOURCES
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".heic"])
def test_no_place_is_left(located: Callable[[str], Path], name: str, suffix: str) -> None:
    source = located(name)
    target = converted(
        source, f"out{suffix}", LOSSLESS if suffix == ".webp" else ENCODING, without_place
    )
    assert places_in(target) == []
    assert_others_stay(target)
    if name.endswith(suffix) and suffix in (".jpg", ".png"):
        found = tags(target)
        assert {tag: found.get(tag) for tag in IPTC_OTHERS} == IPTC_OTHERS


@NEEDS_EXIFTOOL
@SOURCES
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_no_place_is_left_in_streamed_images(
    located: Callable[[str], Path], name: str, suffix: str
) -> None:
    source = located(name)
    target = source.with_name(f"out{suffix}")
    stream(source, target, strip_gps)
    assert places_in(target) == []
    assert_others_stay(target)


@NEEDS_EXIFTOOL
@SOURCES
def test_places_stay_unless_they_are_to_be_removed(located: Callable[[str], Path], name: str) -> None:
    """Else the tests above prove nothing."""
    source = located(name)
    target = converted(source, f"out{source.suffix}")
    retained = {tag.partition(":")[2] for tag in tags(target)}
    assert {"GPSLatitude", "City", "CountryCode", "LocationCreatedCity"} <= retained
    assert_others_stay(target)


@NEEDS_EXIFTOOL
@pytest.mark.parametrize(
    ("name", "suffix"),
    [("in.jpg", suffix) for suffix in (".jpg", ".png", ".tif", ".webp", ".avif", ".heic", ".jxl")]
    + [("in.png", ".png"), ("in.tif", ".tif"), ("in.webp", ".webp"), ("in.png", ".jpg")],
)
def test_nothing_is_left_of_stripped_metadata(
    located: Callable[[str], Path], name: str, suffix: str, photo: np.ndarray
) -> None:
    source = located(name)
    if name == "in.jpg":
        thumbnail = source.with_name("thumbnail.jpg")
        Image.fromarray(photo[:64, :96]).save(thumbnail)
        subprocess.run(
            ["exiftool", "-q", "-overwrite_original", f"-ThumbnailImage<={thumbnail}",
             "-Comment=Ouagadougou", str(source)], check=True,
        )  # fmt: skip
    target = converted(source, f"out{suffix}", ENCODING, strip_metadata)
    groups = {tag.partition(":")[0] for tag in tags(target)}
    assert groups <= LAYOUT_GROUPS[suffix], groups - LAYOUT_GROUPS[suffix]
    found = tags(target)
    assert not [tag for tag in found if "Comment" in tag or "Thumbnail" in tag or "Title" in tag]
    assert not [tag for tag in OTHERS if tag in found]
    assert not [word for word in PLACE_WORDS if word in uncompressed(target)]


ENCODING = replace(LOSSLESS, lossless=False)
_FILE = {"ExifTool", "System", "File", "Composite"}
LAYOUT_GROUPS = {
    ".jpg": _FILE | {"JFIF"}, ".png": _FILE | {"PNG"}, ".tif": _FILE | {"IFD0"},
    ".webp": _FILE | {"RIFF"},
    ".avif": _FILE | {"QuickTime", "Meta"}, ".heic": _FILE | {"QuickTime", "Meta"},
    ".jxl": _FILE | {"QuickTime", "Jpeg2000", "JXL"},
}  # fmt: skip
"""The groups of tags that describe the file itself."""


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_xmp_with_other_prefixes(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    """RDF allows any prefix, and properties as attributes, elements and structures."""
    xmp = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF
     xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about=""
     xmlns:q="http://ns.adobe.com/exif/1.0/" xmlns:f="http://ns.adobe.com/photoshop/1.0/"
     q:GPSLatitude="12,22.284N" f:City="Ouagadougou" f:Credit="Ann"
     ><q:GPSLongitude>1,31.18W</q:GPSLongitude><f:Country>Burkina Faso</f:Country>
     <n:LocationShown xmlns:n="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><r:Bag><r:li
     r:parseType="Resource"><n:City>Ouagadougou</n:City></r:li></r:Bag></n:LocationShown>
     </r:Description></r:RDF></x:xmpmeta>"""
    source = tmp_path / f"in{suffix}"
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
        Image.fromarray(photo).save(source, pnginfo=info)
    elif suffix == ".tif":
        Image.fromarray(photo).save(source, tiffinfo={700: xmp})
    else:
        Image.fromarray(photo).save(source, xmp=xmp)
    assert {"XMP-exif:GPSLatitude", "XMP-photoshop:City"} <= tags(source).keys()
    target = converted(source, f"out{suffix}", finish=without_place)
    assert places_in(target) == []
    assert tags(target)["XMP-photoshop:Credit"] == "Ann"


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_texts_of_a_png(tmp_path: Path, photo: np.ndarray, kind: bytes, bits: int) -> None:
    texts = {
        "Title": b"A cat", "Comment": b"of Ann", "GPSLatitude": b"12.3714", "exif:GPSInfo": b"12.3714",
        "City": b"Ouagadougou", "photoshop:City": b"Ouagadougou", "location": b"Burkina Faso",
        "geo:lat": b"12.3714", "Description": b"seen at 12.3714, -1.5197", "Software": b"GPS 12.37",
        "Other": b"<x:xmpmeta><rdf:RDF>Ouagadougou</rdf:RDF></x:xmpmeta>",
        "Raw profile type exif": raw_profile("exif", located_exif()),
        "Raw profile type APP1": raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + LOCATED_XMP),
        "Raw profile type xmp": raw_profile("xmp", LOCATED_XMP),
        "Raw profile type iptc": raw_profile("iptc", photoshop_block()[len(PHOTOSHOP) :]),
        "Raw profile type 8bim": raw_profile("8bim", iptc_records()),
        "Raw profile type generic": raw_profile("generic", b"Ouagadougou"),
    }  # fmt: skip
    plain = io.BytesIO()
    Image.fromarray(photo).save(plain, "PNG")
    chunks = b"".join(text_chunk(kind, name, text) for name, text in texts.items())
    damaged = png_chunk(b"zTXt", b"City\0\0not zlib") + png_chunk(b"zTXt", b"Hidden\0\0Ouagadougou")
    source = tmp_path / "in.png"
    source.write_bytes(with_chunks(plain.getvalue(), before=chunks, after=chunks + damaged))
    target = converted(source, "out.png", finish=lambda picture: without_place(picture).with_bits(bits))
    assert places_in(target) == []
    found = tags(target)
    assert (found["PNG:Title"], found["PNG:Comment"]) == ("A cat", "of Ann")
    assert found["IPTC:By-line"] == "Ann"
    assert found["IFD0:Make"] == "Maker"


def text_chunk(kind: bytes, keyword: str, text: bytes) -> bytes:
    head = keyword.encode() + b"\0"
    if kind == b"zTXt":
        return png_chunk(kind, head + b"\0" + zlib.compress(text))
    return png_chunk(kind, head + (b"\0\0\0\0" if kind == b"iTXt" else b"") + text)


def raw_profile(name: str, data: bytes) -> bytes:
    return f"\n{name}\n{len(data):8}\n{data.hex()}\n".encode()


def located_exif() -> bytes:
    """Return EXIF with a camera, a position, texts with coordinates, and a maker note."""
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "Maker", "seen at 12.3714, -1.5197"
    exif[0x9C9C] = "GPS 12.3714".encode("utf-16-le")  # XPComment
    exif[0x9C9B] = "A cat".encode("utf-16-le")  # XPTitle
    details = exif.get_ifd(0x8769)
    details[0x8827] = 200
    details[0x927C] = b"Panasonic\0\0\0Ouagadougou"
    details[0x9286] = b"ASCII\0\0\0+12.3714-001.5197/"
    exif.get_ifd(0x8825).update({1: "N", 2: (12.0, 22.0, 17.0), 28: b"ASCII\0\0\0Ouagadougou"})
    return exif.tobytes()


def iptc_records() -> bytes:
    """Return IPTC records, one with a length of four bytes."""
    texts = {
        80: b"Ann",
        90: b"Ouagadougou",
        101: b"Burkina Faso",
        120: b"at 12.3714, -1.5197",
        105: b"Cat",
    }
    records = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text for number, text in texts.items()
    )
    extended = b"\x1c\x02\x5c\x80\x04" + struct.pack(">L", 4) + b"Faso"  # sublocation
    return b"\x1c\x01\x5a\x00\x03\x1b%G" + extended + records


def resource(number: int, data: bytes, name: bytes = b"") -> bytes:
    head = bytes([len(name)]) + name
    head += b"\0" * (len(head) % 2)
    body = struct.pack(">L", len(data)) + data + b"\0" * (len(data) % 2)
    return b"8BIM" + struct.pack(">H", number) + head + body


def photoshop_block() -> bytes:
    """Return a Photoshop block with every resource that may contain a place."""
    return PHOTOSHOP + b"".join(
        (
            resource(0x03ED, b"\0" * 16),
            resource(0x0404, iptc_records(), b"odd"),
            resource(0x0422, b"Burkina Faso"),
            resource(0x0424, LOCATED_XMP),
            resource(0x0425, b"0123456789abcdef"),
            resource(0x2710, b"\0\0\0\1", b"even"),
        )
    )


def test_photoshop_block() -> None:
    cleaned = strip_photoshop_gps(photoshop_block())
    assert cleaned
    assert not [word for word in PLACE_WORDS if word in cleaned]
    assert cleaned.startswith(PHOTOSHOP + resource(0x03ED, b"\0" * 16) + b"8BIM\x04\x04\x03odd\0\0\0")
    assert cleaned.endswith(resource(0x2710, b"\0\0\0\1", b"even"))
    for stays in (
        b"\x1c\x02\x50\0\x03Ann",
        b"\x1c\x02\x69\0\x03Cat",
        b"\x1c\x01\x5a\x00\x03\x1b%G",
        b'p:Credit="Ann"',
    ):
        assert stays in cleaned
    assert b"0123456789abcdef" not in cleaned
    assert strip_photoshop_gps(cleaned) == cleaned


@pytest.mark.parametrize(
    "damaged",
    [
        b"", photoshop_block()[:-7], photoshop_block()[:60], PHOTOSHOP + b"8BIM\x04\x04",
        PHOTOSHOP + b"Ouagadougou", PHOTOSHOP + resource(0x0404, iptc_records()[:-1]),
        PHOTOSHOP + resource(0x0404, b"Ouagadougou"),
        PHOTOSHOP + resource(0x0404, b"\x1c\x02\x5a\0\x04Faso"),
    ],
)  # fmt: skip
def test_damaged_or_empty_photoshop_blocks_are_removed(damaged: bytes) -> None:
    assert strip_photoshop_gps(damaged) is None


def test_exif() -> None:
    cleaned = strip_gps(Metadata(exif=located_exif())).exif
    assert cleaned
    assert not [
        word for word in PLACE_WORDS if word in cleaned or word.decode().encode("utf-16-le") in cleaned
    ]
    exif = Image.Exif()
    exif.load(cleaned)
    assert exif[0x010F] == "Maker"
    assert exif.get_ifd(0x8769) == {0x8827: 200}
    assert sorted(exif) == [0x010F, 0x8769, 0x9C9B]


def test_exif_with_nothing_but_a_place_is_removed() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (12.0, 22.0, 17.0)})
    assert strip_gps(Metadata(exif=exif.tobytes())).exif is None


def test_comments(tmp_path: Path, photo: np.ndarray) -> None:
    for comment, stays in ((b"a cat", True), (b"at 12.3714, -1.5197", False)):
        for name in ("in.jpg", "in.gif"):
            Image.fromarray(photo).quantize(16).convert("RGB").save(tmp_path / name, comment=comment)
            metadata = read_images(tmp_path / name).first.metadata
            assert metadata.comment == comment
            assert strip_gps(metadata).comment == (comment if stays else None)


def test_metadata_without_places_is_unchanged() -> None:
    metadata = Metadata(icc=b"icc", dpi=(72.0, 72.0), comment=b"hello", png=((b"gAMA", b"\0\0\1\0"),))
    assert strip_gps(metadata) == metadata
