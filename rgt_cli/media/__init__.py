"""Pixels in and out of files. This room knows formats, not networks."""

from rgt_cli.media.formats import FORMATS, READABLE, Format, format_named, format_of
from rgt_cli.media.metadata import brought_up_to_date, stripped, without_place
from rgt_cli.media.picture import Album, Envelope, Picture
from rgt_cli.media.read import MAX_PIXELS, format_inside, read_album
from rgt_cli.media.write import Encoding, check_album, remove_partials, write_album

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "READABLE",
    "Album",
    "Encoding",
    "Envelope",
    "Format",
    "Picture",
    "brought_up_to_date",
    "check_album",
    "format_inside",
    "format_named",
    "format_of",
    "read_album",
    "remove_partials",
    "stripped",
    "without_place",
    "write_album",
]
