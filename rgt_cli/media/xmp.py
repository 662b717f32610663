"""XMP: change or remove properties, found by their namespace, and leave the rest of a packet untouched.

Expat parses the packet and reports the place of each tag. A change replaces the bytes of one value or
removes one property; all other bytes stay as they were written. A packet with a document type is not
parsed, since it could define entities that exhaust memory.

Sources: ISO 16684-1 (XMP) and the IPTC Photo Metadata Standard.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn
from xml.parsers import expat

from rgt_cli.media.location import has_coordinates, is_location_name
from rgt_cli.size import Dimensions


class _Name(NamedTuple):
    namespace: str
    local: str


class _Span(NamedTuple):
    """The bytes from `start` to before `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class _Property:
    """An attribute or an element of a packet."""

    name: _Name
    whole: _Span
    """The name and the value."""
    value: _Span
    """The value alone; that of an element is between its tags."""
    is_simple: bool = True
    """Whether the value is text: there are no elements in it, and it is not that of an empty tag."""


_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_EXTENDED = _Name("http://ns.adobe.com/xmp/note/", "HasExtendedXMP")
"""A reference to a second packet, which only the JPEG of the input contains."""
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_OF_VIDEO = ("MotionPhoto", "MicroVideo")
_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_OF_IMAGES = frozenset(
    [
        _GAIN_MAP,
        "http://ns.google.com/photos/1.0/container/",
        "http://ns.google.com/photos/1.0/container/item/",
    ]
)
"""Properties of images and videos that follow the image in its file."""
_ALSO_REVEALING = frozenset(
    [
        _Name("http://purl.org/dc/elements/1.1/", "coverage"),
        _Name("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
        _Name("http://ns.google.com/photos/1.0/image/", "Data"),
    ]
)
"""Places that `is_location_name` does not recognize, and embedded images, which have metadata."""
_MOST_NAMESPACES = 200
_DEEPEST = 100
"""Elements inside each other. Packets with more of either are attacks: they would make parsing slow."""
_TAG_NAME = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_TAG_END = re.compile(rb"\s*(/?)>")
_XML_DECLARATION = re.compile(r"<\?xml\s[^>]*\?>")


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    """A packet is not well-formed, has a document type, or is an attack."""


def update_xmp(packet: bytes, size: Dimensions) -> bytes:
    """Return XMP with another image size, where it contains one, and without what is no longer true.

    References to images and videos that only the file of the input contains are removed. A packet that
    cannot be parsed is returned as it is.
    """
    values = {
        _Name(_TIFF, "ImageWidth"): size.width,
        _Name(_TIFF, "ImageLength"): size.height,
        _Name(_EXIF, "PixelXDimension"): size.width,
        _Name(_EXIF, "PixelYDimension"): size.height,
    }
    return _updated(packet, values, _is_of_attachment)


def upright_xmp(packet: bytes) -> bytes:
    """Return XMP with an upright orientation, if it contains one; as it is if it cannot be parsed."""
    return _updated(packet, {_Name(_TIFF, "Orientation"): 1}, lambda name: False)


def _updated(packet: bytes, values: dict[_Name, int], is_gone: Callable[[_Name], bool]) -> bytes:
    """Return XMP with other values, and without some properties; as it is if it cannot be parsed."""
    try:
        document = _Document(packet)
    except _Unreadable:
        return packet
    edits = {}
    for found in document.properties:
        if found.name in values and found.is_simple:
            edits[found.value] = str(values[found.name]).encode()
        elif is_gone(found.name):
            edits[found.whole] = b""
    return document.edited(edits) if edits else packet


def _is_of_attachment(name: _Name) -> bool:
    """Return whether a property describes what a file contains besides its image and its metadata."""
    is_of_video = name.namespace == _CAMERA and name.local.startswith(_OF_VIDEO)
    return name == _EXTENDED or name.namespace in _OF_IMAGES or is_of_video


def attachments(packet: bytes) -> list[str]:
    """Return what the file of a JPEG contains besides its image, by its XMP, in words."""
    try:
        names = {found.name for found in _Document(packet).properties}
    except _Unreadable:
        return []
    found = {
        "a gain map for HDR displays": any(name.namespace == _GAIN_MAP for name in names),
        "a video (motion photo)": any(
            name.namespace == _CAMERA and name.local.startswith(_OF_VIDEO) for name in names
        ),
        "extended XMP": _EXTENDED in names,
    }
    return [what for what, is_there in found.items() if is_there]


def strip_xmp_gps(packet: bytes) -> bytes | None:
    """Return XMP without the place where the image was taken, or None if it cannot be parsed.

    This removes positions and places of any namespace, at any depth. It also removes what may contain
    them: comments, embedded images, and text with coordinates. The address of the author is kept.
    """
    try:
        document = _Document(packet)
    except _Unreadable:
        return None
    edits = dict.fromkeys(document.comments, b"")
    for found in document.properties:
        text = document.data[found.value.start : found.value.end].decode("utf-8", "replace")
        if _is_place(found.name) or (found.is_simple and has_coordinates(text)):
            edits[found.whole] = b""
    return document.edited(edits)


def _is_place(name: _Name) -> bool:
    return name in _ALSO_REVEALING or (name.namespace != _RDF and is_location_name(name.local))


@dataclass
class _Element:
    """An element whose end has not been found yet."""

    name: _Name
    start: int
    inside: int
    """Where its start tag ends."""
    namespaces: dict[str, str]
    """The namespaces in it, by prefix."""
    is_empty_tag: bool
    has_elements: bool = False


class _Document:
    """The properties of a packet, in the order of their ends.

    Raises:
        _Unreadable: The packet cannot be parsed.
    """

    def __init__(self, packet: bytes) -> None:
        self.data = _as_utf8(packet)
        self.properties: list[_Property] = []
        self.comments: list[_Span] = []
        self._open: list[_Element] = []
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CommentHandler = self._comment
        self._parser.StartDoctypeDeclHandler = _refuse
        try:
            self._parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise _Unreadable from error

    def edited(self, edits: dict[_Span, bytes]) -> bytes:
        """Return the packet with spans replaced. Spans inside another one are ignored."""
        parts, position = [], 0
        for span, value in sorted(edits.items(), key=lambda edit: (edit[0].start, -edit[0].end)):
            if span.start >= position:
                parts += [self.data[position : span.start], value]
                position = span.end
        return b"".join((*parts, self.data[position:]))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        namespaces = self._open[-1].namespaces if self._open else {}
        declared = {
            name.partition(":")[2]: value for name, value in attributes.items() if _declares(name)
        }
        if declared:
            namespaces = namespaces | declared
        if len(namespaces) > _MOST_NAMESPACES or len(self._open) > _DEEPEST:
            raise _Unreadable
        position = _match(_TAG_NAME, self.data, start).end()
        while attribute := _ATTRIBUTE.match(self.data, position):
            position = attribute.end()
            name = attribute[1].decode()
            if not _declares(name):
                value_span = _Span(attribute.start(2) + 1, attribute.end(2) - 1)
                resolved = _resolve(name, namespaces)
                self.properties.append(_Property(resolved, _Span(*attribute.span()), value_span))
        end = _match(_TAG_END, self.data, position)
        if self._open:
            self._open[-1].has_elements = True
        self._open.append(
            _Element(_resolve(tag, namespaces), start, end.end(), namespaces, bool(end[1]))
        )

    def _end(self, tag: str) -> None:
        element = self._open.pop()
        if element.is_empty_tag:
            value, end = _Span(element.inside, element.inside), element.inside
        else:
            value = _Span(element.inside, self._parser.CurrentByteIndex)
            end = self.data.index(b">", value.end) + 1
        is_simple = not (element.has_elements or element.is_empty_tag)
        whole = _Span(element.start, end)
        self.properties.append(_Property(element.name, whole, value, is_simple))

    def _comment(self, text: str) -> None:
        start = self._parser.CurrentByteIndex
        self.comments.append(_Span(start, self.data.index(b"-->", start) + 3))


def _refuse(*arguments: object) -> NoReturn:
    raise _Unreadable


def _declares(attribute: str) -> bool:
    return attribute == "xmlns" or attribute.startswith("xmlns:")


def _match(pattern: re.Pattern[bytes], data: bytes, position: int) -> re.Match[bytes]:
    match = pattern.match(data, position)
    if match is None:
        raise _Unreadable
    return match


def _resolve(name: str, namespaces: dict[str, str]) -> _Name:
    prefix, _, local = name.rpartition(":")
    return _Name(namespaces.get(prefix, ""), local)


def _as_utf8(packet: bytes) -> bytes:
    """Return the XML of a packet in UTF-8, without surrounding bytes.

    Raises:
        _Unreadable: There is no XML in it.
    """
    if packet.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in packet[:4]:
        encoding = "utf-16-be" if packet.startswith((b"\0", b"\xfe")) else "utf-16-le"
        packet = _XML_DECLARATION.sub("", packet.decode(encoding, "replace"), count=1).encode()
    start, end = packet.find(b"<"), packet.rfind(b">")
    if not 0 <= start < end:
        raise _Unreadable
    return packet[start : end + 1]
