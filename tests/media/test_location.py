"""Names and texts that reveal a place, and others that look like them."""

import time

import pytest

from rgt_cli.media.location import has_coordinates, is_location_name


@pytest.mark.parametrize(
    "name",
    ["GPSLatitude", "exif:GPSInfo", "GpsLongtitude", "gps_latitude", "City", "photoshop:City",
     "geo:lat", "Sub-location", "LocationCreated", "Province-State", "CountryCode", "country_name",
     "AbsoluteAltitude", "GeoTag", "XMP:Location", "ContentLocationName", "place"],
)  # fmt: skip
def test_location_names(name: str) -> None:
    assert is_location_name(name)


@pytest.mark.parametrize(
    "name",
    ["Title", "Author", "Copyright", "CiAdrCity", "CreatorContactInfo", "LocalCorrection", "Description",
     "Geometry", "Capacity", "Statement", "Software", "Longest", "Latent", "Comment", "xmp:Rating"],
)  # fmt: skip
def test_other_names(name: str) -> None:
    assert not is_location_name(name)


@pytest.mark.parametrize(
    "text",
    ["GPS", "at gps: 1", "lat=12.5 lon=3", "Latitude 12", "geo:48.2,16.4", "+48.8577+002.2950/",
     "+40-075/", "48\u00b0 51\u2032 29\u2033 N", "48.8577, 2.2950", "48.8577 N 2.2950 E",
     "-33.8568;151.2153"],
)  # fmt: skip
def test_coordinates(text: str) -> None:
    assert has_coordinates(f"seen {text} today")


@pytest.mark.parametrize(
    "text",
    ["a cat", "+49-1234567", "2024-05-06 07:08:09", "20 \u00b0C warm", "1.5, 2.25", "f/2.8 1/100 s",
     "v1.2345", "seed 123456789, 0.7512", "latent 4", "mm 50.0000 80", "1920 x 1080",
     "10.1109/5.771073"],
)  # fmt: skip
def test_other_texts(text: str) -> None:
    assert not has_coordinates(text)


@pytest.mark.parametrize("character", [" ", "1", ".", "\u00b0", "+12", "1.2345 ", "lat", "-"])
def test_search_for_coordinates_is_linear(character: str) -> None:
    """A pattern with nested repetitions would need hours."""
    started = time.monotonic()
    has_coordinates(character * (1_000_000 // len(character)))
    assert time.monotonic() - started < 20
