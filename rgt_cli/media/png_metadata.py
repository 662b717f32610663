"""The chunks of a PNG that contain metadata: read, cleaned and written.

Sources: the PNG specification, third edition, section 11; for raw profiles, ImageMagick, which stores
EXIF, IPTC and XMP as hexadecimal text.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from rgt_cli.media.iptc import strip_iptc_gps, strip_photoshop_gps
from rgt_cli.media.location import has_coordinates, is_location_name
from rgt_cli.media.picture import Metadata
from rgt_cli.media.png import Chunk, chunk_heads

TEXT_CHUNKS = frozenset([b"tEXt", b"zTXt", b"iTXt"])
_COPIED_CHUNKS = TEXT_CHUNKS | {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
"""Chunks that remain valid for an upscaled image and have no counterpart in other formats."""
_XMP_KEYWORD = "XML:com.adobe.xmp"
_RAW_PROFILE = re.compile(r"Raw profile type (\w+)$")
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
"""The start of an APP1 segment of a JPEG that contains XMP."""
_LONGEST_TEXT = 1 << 20
"""Bytes of the longest text that is copied to the output; longer ones are mistakes or attacks."""
_LONGEST_PROFILE = 16 << 20
"""Bytes of the longest EXIF or XMP that is read."""


@dataclass
class PngMetadata:
    """The metadata that Pillow does not read, or only where it comes before the pixels."""

    exif: bytes | None = None
    """From eXIf, or from a raw profile."""
    xmp: bytes | None = None
    """From a text chunk, or from a raw profile."""
    chunks: tuple[Chunk, ...] = ()
    """The other chunks to copy."""


@dataclass(frozen=True)
class _Text:
    """A text chunk, decompressed."""

    keyword: str
    text: bytes

    @property
    def raw_profile(self) -> str | None:
        """The kind of raw profile that it contains, in lower case; None if it is an ordinary text."""
        match = _RAW_PROFILE.match(self.keyword)
        return match[1].lower() if match else None

    def decoded_profile(self) -> bytes:
        """Return the bytes of the raw profile.

        Raises:
            ValueError: It is damaged.
        """
        _, _, length, *lines = self.text.decode("latin-1").split("\n", 3)
        profile = bytes.fromhex("".join(lines))
        if int(length) != len(profile):
            raise ValueError("the length of the raw profile is wrong")
        return profile


def read_png_metadata(file: BinaryIO) -> PngMetadata:
    """Read the metadata of a PNG, wherever it is in the file; skip what is damaged."""
    found, texts = PngMetadata(), []
    chunks = []
    for kind, length in chunk_heads(file):
        if kind == b"eXIf" and length <= _LONGEST_PROFILE:
            found.exif = found.exif or file.read(length)
        elif kind in _COPIED_CHUNKS and length <= _LONGEST_PROFILE:
            data = file.read(length)
            if len(data) < length:
                break
            text = _parse(kind, data) if kind in TEXT_CHUNKS else None
            if text and (text.keyword == _XMP_KEYWORD or text.raw_profile in ("exif", "app1", "xmp")):
                texts.append(text)
            elif length <= _LONGEST_TEXT:
                chunks.append((kind, data))
    for text in texts:
        _add_profile(found, text)
    found.chunks = tuple(chunks)
    return found


def _add_profile(found: PngMetadata, text: _Text) -> None:
    """Add the EXIF or XMP of a text chunk, unless the file has it elsewhere."""
    try:
        profile = text.decoded_profile() if text.raw_profile else text.text
    except ValueError:
        return
    if not text.raw_profile or text.raw_profile == "xmp" or profile.startswith(_XMP_HEAD):
        found.xmp = found.xmp or profile.removeprefix(_XMP_HEAD)
    else:
        found.exif = found.exif or profile


def metadata_chunks(metadata: Metadata) -> Iterator[Chunk]:
    """Yield the chunks that contain the metadata, in the order that PNG requires."""
    if metadata.icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)
    for kind, data in metadata.png:
        if not (metadata.icc and kind == b"sRGB"):  # only one of the two is allowed
            yield kind, data
    if metadata.dpi:
        yield b"pHYs", struct.pack(">LLB", *(round(d / 0.0254) for d in metadata.dpi), 1)
    if metadata.xmp:
        yield b"iTXt", _XMP_KEYWORD.encode() + b"\0\0\0\0\0" + metadata.xmp
    if metadata.exif:
        yield b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")


def strip_png_gps(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """Return the chunks without text that contains a place, or may contain one and is unreadable."""
    retained = []
    for kind, data in chunks:
        cleaned = _without_place(kind, data) if kind in TEXT_CHUNKS else data
        if cleaned is not None:
            retained.append((kind, cleaned))
    return tuple(retained)


def _without_place(kind: bytes, data: bytes) -> bytes | None:
    """Return the data of a text chunk without a place; None if the chunk must be removed."""
    text = _parse(kind, data)
    if text is None or is_location_name(text.keyword):
        return None
    if text.raw_profile in ("iptc", "8bim"):
        return _without_iptc_place(kind, text)
    if text.raw_profile not in (None, "icc", "icm") or b"rdf:RDF" in text.text:
        return None
    return None if has_coordinates(text.text.decode("utf-8", "replace")) else data


def _without_iptc_place(kind: bytes, text: _Text) -> bytes | None:
    try:
        profile = text.decoded_profile()
        is_plain = profile.startswith(b"\x1c")
        cleaned = strip_iptc_gps(profile) if is_plain else strip_photoshop_gps(profile)
    except ValueError:
        return None
    if not cleaned:
        return None
    lines = "".join(f"{cleaned[at : at + 36].hex()}\n" for at in range(0, len(cleaned), 36))
    encoded = f"\n{text.raw_profile}\n{len(cleaned):8}\n{lines}".encode()
    head = text.keyword.encode("latin-1") + b"\0"
    if kind == b"zTXt":
        return head + b"\0" + zlib.compress(encoded)
    return head + (b"\0\0\0\0" if kind == b"iTXt" else b"") + encoded


def _parse(kind: bytes, data: bytes) -> _Text | None:
    """Return the text of a chunk, or None if it is damaged or too long."""
    keyword, _, rest = data.partition(b"\0")
    is_compressed = kind == b"zTXt"
    if kind == b"iTXt":
        is_compressed = rest[:1] == b"\1"
        _language, _, rest = rest[2:].partition(b"\0")
        _translated, _, rest = rest.partition(b"\0")
    elif kind == b"zTXt":
        rest = rest[1:]
    if is_compressed:
        inflater = zlib.decompressobj()
        try:
            rest = inflater.decompress(rest, _LONGEST_PROFILE)
        except zlib.error:
            return None
        if not inflater.eof:
            return None
    return _Text(keyword.decode("latin-1"), rest)
