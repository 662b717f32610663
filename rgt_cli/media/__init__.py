"""Read and write the pixels and metadata of images, animations and videos."""

from rgt_cli.media.compression import jpeg_quality
from rgt_cli.media.formats import (
    CONTAINERS,
    FORMATS,
    INSTALL_EXTRA,
    READABLE,
    UNSUPPORTED,
    VIDEO_READABLE,
    Container,
    Format,
    ImageFormat,
    container_of,
    format_named,
    format_of,
    is_installed,
)
from rgt_cli.media.header import decoded_bytes, frames_in, read_header, shown_size
from rgt_cli.media.identify import format_inside, identify, missing_decoder
from rgt_cli.media.layout import Header
from rgt_cli.media.metadata import strip_gps, strip_metadata, update_metadata
from rgt_cli.media.picture import ImageSequence, Metadata, Picture
from rgt_cli.media.pillow import from_pillow, to_pillow
from rgt_cli.media.read import MAX_PIXELS, check_pixels, read_images
from rgt_cli.media.rows import STREAMABLE, RowSource, check_rows, open_rows, write_streamed
from rgt_cli.media.write import Encoding, check_frames, check_images, encode_png, write_images

__all__ = [
    "CONTAINERS",
    "FORMATS",
    "INSTALL_EXTRA",
    "MAX_PIXELS",
    "READABLE",
    "STREAMABLE",
    "UNSUPPORTED",
    "VIDEO_READABLE",
    "Container",
    "Encoding",
    "Format",
    "Header",
    "ImageFormat",
    "ImageSequence",
    "Metadata",
    "Picture",
    "RowSource",
    "check_frames",
    "check_images",
    "check_pixels",
    "check_rows",
    "container_of",
    "decoded_bytes",
    "encode_png",
    "format_inside",
    "format_named",
    "format_of",
    "frames_in",
    "from_pillow",
    "identify",
    "is_installed",
    "jpeg_quality",
    "missing_decoder",
    "open_rows",
    "read_header",
    "read_images",
    "shown_size",
    "strip_gps",
    "strip_metadata",
    "to_pillow",
    "update_metadata",
    "write_images",
    "write_streamed",
]
