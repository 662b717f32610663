"""Pixels in and out of files. This room knows formats, not networks."""

from rgt_cli.media.formats import FORMATS, READABLE, Format, format_named, format_of
from rgt_cli.media.picture import Picture, read_picture, remove_partials, write_picture

__all__ = [
    "FORMATS",
    "READABLE",
    "Format",
    "Picture",
    "format_named",
    "format_of",
    "read_picture",
    "remove_partials",
    "write_picture",
]
