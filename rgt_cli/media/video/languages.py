"""Read and write the IETF language tags of streams in Matroska and WebM, which ffmpeg ignores.

Such a file names the language of a stream twice: in three letters for older programs (por), and by an
IETF tag (pt-BR). https://www.rfc-editor.org/rfc/rfc9559#name-language-codes describes both, and
https://www.rfc-editor.org/rfc/rfc8794 describes the structure of the file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from av.container import InputContainer

from rgt_cli.errors import OutputError
from rgt_cli.files import cannot_write

_SEGMENT, _CLUSTER, _TRACKS, _ENTRY = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_TYPE, _CODEC, _LANGUAGE, _IETF_LANGUAGE, _CRC = 0x83, 0x86, 0x22B59C, 0x22B59D, 0xBF
_TYPES = (1, 2, 17, 33)
"""The types of tracks that become streams: video, audio, subtitles and metadata."""
_DEFAULT = "eng"
"""The language of a track that states none."""
_MOST_ELEMENTS = 1000
"""The most elements that are searched within another one. Damaged files may have any number."""
_MOST_INDEXES = 10
"""The most places that are searched for tracks."""
_LONGEST_VALUE = 127
"""The most bytes that are read of a language or a number."""
_TAG = re.compile(r"[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,6}")
_FILLER = "~"
"""Follows a language in three letters as long as its tag is not written. No language contains it."""


class _Element(NamedTuple):
    id: int
    at: int
    """Position of its header."""
    start: int
    """Position of its content."""
    end: int
    """Position after its content."""


class _Track(NamedTuple):
    language: str
    tag: str
    """Its IETF tag; empty if it has none."""
    element: _Element | None
    """The element of `language`; None if it is the default."""


def language_tags(path: Path, source: InputContainer) -> dict[int, str]:
    """Return the IETF language tags of the streams of a file, by their indices.

    Files of other formats than Matroska and WebM have none, and those of damaged files are not known.

    Args:
        path: The file.
        source: The same file as FFmpeg opens it.
    """
    if not source.format.name.startswith("matroska"):
        return {}
    with path.open("rb") as file:
        tracks = list(_tracks(file))
    streams = list(source.streams)
    # FFmpeg opens them in this order, and attached files after them. It omits what it cannot name.
    known = [stream.metadata.get("language", "und") for stream in streams]
    if [track.language for track in tracks] != known[: len(tracks)]:
        return {}
    return {
        stream.index: track.tag
        for stream, track in zip(streams, tracks, strict=False)
        if _TAG.fullmatch(track.tag)
    }


def reserve_tag(language: str, tag: str) -> str:
    """Return a language with room for an IETF tag, which `write_tags` fills."""
    return language + _FILLER * (len(_encoded(_IETF_LANGUAGE, tag)))


def write_tags(path: Path, tags: Sequence[str]) -> None:
    """Write IETF language tags into a file by ffmpeg, in place.

    Args:
        path: The file.
        tags: The tags of those streams whose languages have room for them, in their order.

    Raises:
        OutputError: The file has other streams, or cannot be written.
    """
    try:
        with path.open("r+b") as file:
            tracks = [track for track in _tracks(file) if track.language.endswith(_FILLER)]
            contents = [
                _encoded(_LANGUAGE, track.language.rstrip(_FILLER)) + _encoded(_IETF_LANGUAGE, tag)
                for track, tag in zip(tracks, tags, strict=False)
            ]
            places = [track.element for track in tracks if track.element]
            room = [place.end - place.at for place in places]
            if len(room) != len(tags) or room != [len(content) for content in contents]:
                raise OutputError(f"{path}: there is no room for the languages {', '.join(tags)}")
            for place, content in zip(places, contents, strict=True):
                file.seek(place.at)
                file.write(content)
            _write_checksum(file)
    except OSError as error:
        raise cannot_write(path, error) from error


def _encoded(id_: int, value: str) -> bytes:
    """Return an element that contains a short text."""
    return id_.to_bytes(3) + bytes([0x80 | len(value)]) + value.encode()


def _write_checksum(file: BinaryIO) -> None:
    """Correct the checksum of all tracks."""
    tracks = _find_tracks(file)
    first = next(_elements(file, tracks.start, tracks.end), None) if tracks else None
    if tracks and first and first.id == _CRC:
        file.seek(first.end)
        checksum = zlib.crc32(file.read(tracks.end - first.end))
        file.seek(first.start)
        file.write(checksum.to_bytes(4, "little"))


def _tracks(file: BinaryIO) -> Iterator[_Track]:
    """Yield the tracks that become streams."""
    found = _find_tracks(file)
    for entry in _elements(file, found.start, found.end) if found else ():
        if entry.id == _ENTRY:
            fields = {one.id: one for one in _elements(file, entry.start, entry.end)}
            kind = int.from_bytes(_value(file, fields.get(_TYPE)))
            if kind in _TYPES and _CODEC in fields:
                language, tag = fields.get(_LANGUAGE), fields.get(_IETF_LANGUAGE)
                yield _Track(_text(file, language) if language else _DEFAULT, _text(file, tag), language)


def _find_tracks(file: BinaryIO) -> _Element | None:
    """Return the element with all tracks: before the first frames, or where an index says."""
    size = file.seek(0, 2)
    segment = next((one for one in _elements(file, 0, size) if one.id == _SEGMENT), None)
    positions = [segment.start] if segment else []
    for position in positions:  # more are found on the way
        for element in _elements(file, position, size):
            if element.id == _TRACKS:
                return element if element.end <= size else None
            if element.id == _CLUSTER:
                break
            if segment and element.id == _SEEK_HEAD:
                further = {segment.start + at for at in _indexed(file, element)} - {*positions}
                positions += sorted(further)[: _MOST_INDEXES - len(positions)]
    return None


def _indexed(file: BinaryIO, index: _Element) -> Iterator[int]:
    """Yield the positions, relative to the segment, at which tracks or further indices are."""
    for seek in _elements(file, index.start, index.end):
        fields = {one.id: one for one in _elements(file, seek.start, seek.end)}
        target = int.from_bytes(_value(file, fields.get(_SEEK_ID)))
        if seek.id == _SEEK and target in (_TRACKS, _SEEK_HEAD):
            yield int.from_bytes(_value(file, fields.get(_SEEK_POSITION)))


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[_Element]:
    """Yield the elements in a part of a file, until one is damaged.

    One of unknown size, such as the segment of a live stream, ends where the part ends.
    """
    return islice(_all_elements(file, start, end), _MOST_ELEMENTS)


def _all_elements(file: BinaryIO, start: int, end: int) -> Iterator[_Element]:
    at = start
    while at < end:
        file.seek(at)
        header = file.read(12)
        id_length, size_length = _length(header[:1]), 0
        if id_length <= 4:
            size_length = _length(header[id_length : id_length + 1])
        if not 0 < id_length <= 4 or not 0 < size_length <= 8:
            return
        content = at + id_length + size_length
        unknown = (1 << 7 * size_length) - 1
        size = int.from_bytes(header[id_length : id_length + size_length]) & unknown
        after = end if size == unknown else content + size
        yield _Element(int.from_bytes(header[:id_length]), at, content, after)
        at = after


def _length(first: bytes) -> int:
    """Return the number of bytes of a number, by its first byte; 0 if there is none."""
    return 9 - first[0].bit_length() if first else 0


def _value(file: BinaryIO, element: _Element | None) -> bytes:
    if element is None:
        return b""
    file.seek(element.start)
    return file.read(min(element.end - element.start, _LONGEST_VALUE))


def _text(file: BinaryIO, element: _Element | None) -> str:
    return _value(file, element).partition(b"\0")[0].decode(errors="surrogateescape")
