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
from rgt_cli.media.metadata import strip_gps, strip_metadata, update_metadata
from rgt_cli.media.picture import ImageSequence, Metadata, Picture
from rgt_cli.media.read import MAX_PIXELS, format_inside, read_images
from rgt_cli.media.rows import STREAMABLE, RowSource, decoded_bytes, open_rows, write_streamed
from rgt_cli.media.write import Encoding, check_images, remove_partials, write_images

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "READABLE",
    "STREAMABLE",
    "VIDEO_FORMATS",
    "VIDEO_READABLE",
    "Encoding",
    "Format",
    "ImageSequence",
    "Metadata",
    "Picture",
    "RowSource",
    "check_images",
    "decoded_bytes",
    "format_inside",
    "format_named",
    "format_of",
    "open_rows",
    "read_images",
    "remove_partials",
    "strip_gps",
    "strip_metadata",
    "update_metadata",
    "write_images",
    "write_streamed",
]
