"""Pixels in and out of files. This room knows formats, not networks."""

from rgt_cli.media.formats import (
    FORMATS,
    READABLE,
    VIDEO_FORMATS,
    VIDEO_READABLE,
    Format,
    format_named,
    format_of,
)
from rgt_cli.media.metadata import brought_up_to_date, stripped, without_place
from rgt_cli.media.picture import Album, Envelope, Picture
from rgt_cli.media.read import MAX_PIXELS, format_inside, read_album
from rgt_cli.media.strips import WRITABLE, Strips, decoded_bytes, open_strips, write_strips
from rgt_cli.media.write import Encoding, check_album, remove_partials, write_album

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "READABLE",
    "VIDEO_FORMATS",
    "VIDEO_READABLE",
    "WRITABLE",
    "Album",
    "Encoding",
    "Envelope",
    "Format",
    "Picture",
    "Strips",
    "brought_up_to_date",
    "check_album",
    "decoded_bytes",
    "format_inside",
    "format_named",
    "format_of",
    "open_strips",
    "read_album",
    "remove_partials",
    "stripped",
    "without_place",
    "write_album",
    "write_strips",
]
