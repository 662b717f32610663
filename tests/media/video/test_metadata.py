"""Which tags contain a location, and which tags go into the output."""

import io

import pytest
from PIL import ExifTags, Image

from rgt_cli.media.video.metadata import (
    MetadataPolicy,
    filter_tags,
    image_has_place,
    is_place,
    is_telemetry,
)

PLACES = {
    "location": "+48.8577+002.2950/",
    "location-eng": "+48.8577+002.2950/",
    "LOCATION-deu": "+48.8577+002.2950/",
    "©xyz": "+48.8577+002.2950/",
    "com.apple.quicktime.location.ISO6709": "+48.8577+002.2950+035.000/",
    "com.apple.quicktime.location.accuracy.horizontal": "4.7",
    "com.apple.quicktime.location.name": "Home",
    "RECORDING_LOCATION": "FR, Paris",
    "GPSLatitude": "48.8577",
    "gps_altitude": "35",
    "City": "Paris",
    "COUNTRY-eng": "France",
    "comment": "at +48.8577+002.2950/",
    "xmp": '<rdf:Description e:GPSLatitude="48,51.5N"/>',
}
OTHERS = {
    "title": "Holiday",
    "creation_time": "2024-05-06T07:08:09.000000Z",
    "com.apple.quicktime.model": "iPhone 12",
    "com.android.version": "14",
    "language": "eng",
    "comment-eng": "10 + 5 - 3, call +49 30 1234567",
    "timecode": "01:02:03:04",
    "velocity": "fast",
}
DERIVED = {"encoder": "Lavf", "DURATION": "00:00:02", "major_brand": "qt", "NUMBER_OF_FRAMES-eng": "5"}


@pytest.mark.parametrize("key", PLACES)
def test_tags_with_a_location(key: str) -> None:
    assert is_place(key, PLACES[key])


@pytest.mark.parametrize("key", OTHERS)
def test_tags_without_a_location(key: str) -> None:
    assert not is_place(key, OTHERS[key])


def test_policies() -> None:
    tags = PLACES | OTHERS | DERIVED
    assert filter_tags(tags, MetadataPolicy.KEEP) == PLACES | OTHERS
    assert filter_tags(tags, MetadataPolicy.STRIP_GPS) == OTHERS
    assert filter_tags(tags, MetadataPolicy.STRIP) == {"language": "eng"}
    functional = {"language": "fra", "filename": "a.ttf", "mimetype": "font/ttf", "alpha_mode": "1"}
    assert filter_tags(PLACES | functional, MetadataPolicy.STRIP) == functional


@pytest.mark.parametrize(
    ("text", "expected"),
    [("F/3.5, SS 206.14, ISO 150, EV 0, GPS (15.0533, 50.0467, 19), D 4.97m", True),
     ("HOME(149.0251,-20.2532) 2017.08.05", True), ("[latitude: 48.8577] [longitude: 2.2950]", True),
     ("GPS(2.2950,48.8577,15)", True), ("Lat 48.8577", True), ("[longtitude : -2.2950]", True),
     ("[longitude : -2.2950]", True),
     ("I lost my GPS. We are late, go home!", False), ("Part 4.5", False), ("1.5 hours to go", False),
     ("How long? 1.5 hours.", False), ("a flat 4.5", False), ("\x001GPS(2.2950,48.8577,15)", True)],
)  # fmt: skip
def test_subtitles_of_drones(text: str, expected: bool) -> None:
    assert is_telemetry(text.encode()) == expected


def jpeg(gps: bool = False, xmp: bytes | None = None) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    file = io.BytesIO()
    options = {"xmp": xmp} if xmp else {}
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


def test_images() -> None:
    assert not image_has_place(jpeg())
    assert image_has_place(jpeg(gps=True))
    assert image_has_place(jpeg(xmp=b'<x:xmpmeta><a b:GPSLatitude="48,51N"/></x:xmpmeta>'))
    assert image_has_place(b"not an image, so nobody can tell")
