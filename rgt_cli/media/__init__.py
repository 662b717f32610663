"""Read and write the pixels and metadata of images, animations and videos."""

from rgt_cli.media.compression import jpeg_quality
from rgt_cli.media.formats import (
    CONTAINERS,
    FORMATS,
    READABLE,
    VIDEO_READABLE,
    Container,
    Format,
    ImageFormat,
    container_of,
    format_named,
    format_of,
)
from rgt_cli.media.metadata import strip_gps, strip_metadata, update_metadata
from rgt_cli.media.picture import ImageSequence, Metadata, Picture
from rgt_cli.media.pillow import from_pillow, to_pillow
from rgt_cli.media.read import MAX_PIXELS, format_inside, read_images
from rgt_cli.media.rows import STREAMABLE, RowSource, decoded_bytes, open_rows, write_streamed
from rgt_cli.media.write import Encoding, check_images, write_images

__all__ = [
    "CONTAINERS",
    "FORMATS",
    "MAX_PIXELS",
    "READABLE",
    "STREAMABLE",
    "VIDEO_READABLE",
    "Container",
    "Encoding",
    "Format",
    "ImageFormat",
    "ImageSequence",
    "Metadata",
    "Picture",
    "RowSource",
    "check_images",
    "container_of",
    "decoded_bytes",
    "format_inside",
    "format_named",
    "format_of",
    "from_pillow",
    "jpeg_quality",
    "open_rows",
    "read_images",
    "strip_gps",
    "strip_metadata",
    "to_pillow",
    "update_metadata",
    "write_images",
    "write_streamed",
]
