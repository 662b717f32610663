"""Decide which metadata of a video goes into the output."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction

from PIL import ExifTags, Image

from rgt_cli.media.location import has_coordinates, is_location_name

_DERIVED = ("encoder", "duration", "bps", "number_of_", "_statistics", "rotate", "major_brand",
            "minor_version", "compatible_brands", "vendor_id")  # fmt: skip
"""How tags begin, in lower case, that the muxer writes itself or that no longer apply to the output."""
_FUNCTIONAL = frozenset({"language", "filename", "mimetype", "alpha_mode", "stereo_mode"})
"""Tags in lower case without which a stream cannot be chosen or shown correctly."""
_PLACE_KEY = re.compile(r"location|gps|latitude|longitude|altitude|(?<![a-z])xyz(?![a-z])")
"""Found in the keys, in lower case, of tags that contain a location, besides those of images."""
_LANGUAGE = re.compile(r"-[a-z]{3}$")
"""The suffix of keys whose value is in one language: location-eng."""
_TELEMETRY = re.compile(
    rb"\b(gps|home|lat|lon|lng|latitude|longt?itude)\W{1,5}\d+\.\d+",  # some drones write "longtitude"
    re.IGNORECASE,
)
"""Found in the subtitles that drones write: GPS (2.2950, 48.8577, 15) or [latitude: 48.8577]."""
_LANGUAGES = dict(
    re.findall(
        r"(\w+):(\w+)",
        "ar:ara bg:bul bn:ben bs:bos ca:cat cs:ces cy:cym da:dan de:deu el:ell en:eng es:spa "
        "et:est eu:eus fa:fas fi:fin fil:fil fr:fra ga:gle gl:glg he:heb hi:hin hr:hrv hu:hun "
        "hy:hye id:ind is:isl it:ita ja:jpn ka:kat kk:kaz ko:kor la:lat lt:lit lv:lav mk:mkd "
        "ms:msa mt:mlt nb:nob nl:nld nn:nno no:nor pa:pan pl:pol pt:por ro:ron ru:rus sk:slk "
        "sl:slv sq:sqi sr:srp sv:swe ta:tam te:tel th:tha tl:tgl tr:tur uk:ukr ur:urd vi:vie "
        "zh:zho",
    )
)
"""Languages as in ISO 639-1 -> as in ISO 639-2."""
_LETTERS = 3
"""The number of letters of a language in ISO 639-2."""
_SPECIAL = re.compile(r"[=;#\\\n]")
"""The characters that a backslash precedes in ffmpeg's files of metadata."""


class MetadataPolicy(Enum):
    """Which metadata of a video goes into the output."""

    KEEP = "keep"
    """All that still applies."""
    STRIP_GPS = "strip-gps"
    """All but what contains a location, or may contain one."""
    STRIP = "strip"
    """Nothing but what is needed to choose and show the streams."""


def filter_tags(tags: Mapping[str, str], policy: MetadataPolicy) -> dict[str, str]:
    """Return the tags of a file, stream or chapter that go into the output."""
    tags = {key: value for key, value in tags.items() if not key.lower().startswith(_DERIVED)}
    match policy:
        case MetadataPolicy.KEEP:
            return tags
        case MetadataPolicy.STRIP_GPS:
            return {key: value for key, value in tags.items() if not is_place(key, value)}
        case MetadataPolicy.STRIP:
            return {key: value for key, value in tags.items() if key.lower() in _FUNCTIONAL}


def stream_tags(tags: Mapping[str, str], policy: MetadataPolicy, muxer: str) -> dict[str, str]:
    """Return the tags of a stream as the muxer of the output needs them.

    MP4 and MOV call the title of a stream its name, and know languages by three letters only.
    """
    given = filter_tags(tags, policy)
    keys = {key.lower(): key for key in given}
    if "name" in keys and "title" not in keys:
        given["title"] = given.pop(keys["name"])
    if muxer in ("mp4", "mov"):
        if given.get("title") and "handler_name" not in keys:
            given["handler_name"] = given["title"]
        if language := three_letters(given.get("language", "")):
            given["language"] = language
    return given


def three_letters(language: str) -> str | None:
    """Return a language in three letters, as in ISO 639-2; None if it is not known."""
    primary = language.partition("-")[0].lower()
    return primary if len(primary) == _LETTERS else _LANGUAGES.get(primary)


def is_place(key: str, value: str) -> bool:
    """Return whether a tag contains a location."""
    return (
        bool(_PLACE_KEY.search(key.lower()))
        or is_location_name(_LANGUAGE.sub("", key))
        or has_coordinates(value)
    )


def is_telemetry(subtitle: bytes) -> bool:
    """Return whether the packet of a subtitle contains coordinates."""
    # MP4 puts two bytes with the length in front, which may look like a letter.
    return bool(_TELEMETRY.search(subtitle) or _TELEMETRY.search(subtitle[2:]))


def image_has_place(data: bytes) -> bool:
    """Return whether the EXIF or XMP of an image file contains a location; true if it is unreadable."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return bool(image.getexif().get_ifd(ExifTags.IFD.GPSInfo)) or b"GPSL" in data
    except Exception:  # Pillow parses EXIF in Python: damaged data can raise anything
        return True


def advance_timecode(timecode: str, seconds: Fraction, rate: Fraction) -> str:
    """Return a timecode such as 01:02:03:04 after some time has passed.

    A semicolon or a period before the frame marks drop-frame timecodes, which skip two frame numbers
    (four at 59.94 frames per second) at the start of each minute except each tenth.
    """
    parts = re.fullmatch(r"(\d+):(\d+):(\d+)([:;.])(\d+)", timecode)
    if parts is None:
        return timecode
    base, drop = round(rate), parts[4] != ":"
    dropped = round(base / 15) if drop else 0
    hours, minutes, whole, frame = (int(parts[group]) for group in (1, 2, 3, 5))
    minute = hours * 60 + minutes
    number = (minute * 60 + whole) * base + frame - dropped * (minute - minute // 10)
    number += round(seconds * rate)
    tens, rest = divmod(number, 600 * base - 9 * dropped)
    skipped = 0 if rest < 60 * base else 1 + (rest - 60 * base) // (60 * base - dropped)
    number += dropped * (9 * tens + skipped)
    clock, frame = divmod(number, base)
    minute, second = divmod(clock, 60)
    hours, minute = divmod(minute, 60)
    return f"{hours % 24:02}:{minute:02}:{second:02}{parts[4]}{frame:02}"


def metadata_section(name: str, tags: Mapping[str, str]) -> str:
    """Return a section of a file in ffmpeg's format for metadata. The name of the first one is empty."""
    lines = [f"[{name}]"] if name else [";FFMETADATA1"]
    lines += [f"{_SPECIAL.sub(_escape, key)}={_SPECIAL.sub(_escape, tags[key])}" for key in tags]
    return "\n".join(lines) + "\n"


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"
