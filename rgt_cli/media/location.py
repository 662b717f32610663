"""Recognize names and text that reveal where an image was taken."""

from __future__ import annotations

import re

_COORDINATE_WORDS = {
    "altitude", "coordinate", "coordinates", "geo", "geolocation", "geotag", "geotags", "gps",
    "latitude", "longitude", "longtitude",
}  # fmt: skip
"""Words that make any name that contains them a position. Drones of DJI write "longtitude"."""
_PLACE_NAMES = {
    "city", "cityname", "contentlocationcode", "contentlocationname", "country", "countrycode",
    "countryname", "countryprimarylocationcode", "countryprimarylocationname", "landmark", "lat",
    "lng", "location", "locationcode", "locationcreated", "locationid", "locationname",
    "locationshown", "lon", "long", "place", "province", "provincename", "provincestate",
    "shotlocation", "spatial", "state", "statename", "sublocation", "worldregion",
}  # fmt: skip
"""Names of places, in lower case without separators."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DECIMAL = r"\d{1,3}\.\d{4,20}"
_COORDINATES = re.compile(
    r"\bgps|\blat(?:itude)?\b\W{0,3}\d|\bgeo:-?\d"  # a name, or a geo: URI
    r"|[+-]\d\d(?:\d\d){0,2}(?:\.\d{1,20})?[+-]\d{3}(?:\d\d){0,2}(?:\.\d{1,20}|(?=/))"  # ISO 6709
    r"|\d\s?\u00b0[^A-Za-z]{0,20}[NSEW]\b"  # 48 degrees 51' N
    rf"|(?<![\d.]){_DECIMAL}\s?\u00b0?\s?[NS]?\s?[,; ]\s?-?{_DECIMAL}(?![\d.])",  # decimal degrees
    re.IGNORECASE,
)
"""Every repetition is bounded, so that a search is linear in the length of the text."""


def is_location_name(name: str) -> bool:
    """Return whether the value of this name is a place: GPSLatitude, photoshop:City, geo:lat.

    Args:
        name: The name of a property or of a text chunk, in any style, with or without a prefix.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not _COORDINATE_WORDS.isdisjoint(words):
        return True
    local = re.split(r"[:.]", name)[-1]
    return re.sub(r"[\W_]", "", local).lower() in _PLACE_NAMES


def has_coordinates(text: str) -> bool:
    """Return whether text contains a position: GPS data, ISO 6709, or decimal degrees."""
    return _COORDINATES.search(text) is not None
