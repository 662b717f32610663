"""Numbered images as the frames of a video."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rgt_cli.errors import InputError, UsageError
from rgt_cli.media.header import read_header
from rgt_cli.media.identify import open_by_pillow
from rgt_cli.media.layout import Header
from rgt_cli.media.picture import Metadata, Picture
from rgt_cli.media.read import MAX_PIXELS, read_images
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.hdr import with_light
from rgt_cli.media.video.probe import Color, Video

TICKS = 100
"""Ticks from one frame to the next: the start and the end of a part may lie between frames."""


class Carrier:
    """A file that replaces numbered images where everything but the frames of a video is copied."""

    def __init__(self, rate: Fraction) -> None:
        folder = tempfile.mkdtemp(prefix="rgt-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder, "frames.nut")
        with av.open(
            ffmpeg.url(self.path), "w", format="nut", options={"fflags": "+bitexact"}
        ) as output:
            stream = output.add_stream("rawvideo", rate=rate)
            stream.width, stream.height, stream.pix_fmt = 2, 2, "rgb24"
            output.mux(stream.encode(av.VideoFrame(2, 2, "rgb24")))
            output.mux(stream.encode(None))


@dataclass(frozen=True, kw_only=True)
class NumberedVideo(Video):
    """A video whose frames are images. A frame lasts `TICKS`."""

    images: tuple[Path, ...]
    """The images in the order of the frames."""
    max_pixels: int
    """Larger images are refused."""
    has_profile: bool
    """Whether the images have ICC profiles, which videos do not support."""
    carrier: Carrier
    """The file `path`, which is removed with this object."""


def describe_images(
    name: str, images: Sequence[Path], rate: Fraction, max_pixels: int = MAX_PIXELS
) -> NumberedVideo:
    """Describe numbered images as a video.

    Args:
        name: What messages call them: their folder or their pattern.
        images: The images in the order of the frames.
        rate: Frames per second.
        max_pixels: Larger images are refused.

    Raises:
        InputError: The first image cannot be read.
        UsageError: The images have different sizes.
    """
    first = _read(images[0], max_pixels)
    headers = [_header(path) for path in images]
    for path, header in zip(images, headers, strict=True):
        if header and headers[0] and header.size != headers[0].size:
            raise UsageError(
                f"{name}: {path.name} has {header.size} pixels, but {images[0].name} has "
                f"{headers[0].size}: the frames of a video have one size"
            )
    has_alpha = first.alpha is not None or any(header.has_alpha for header in headers if header)
    carrier = Carrier(rate)
    return NumberedVideo(
        path=carrier.path,
        index=0,
        codec="rawvideo",
        size=first.size,
        pixel_format=_FORMATS[first.bits, has_alpha],
        bits=first.bits,
        has_alpha=has_alpha,
        color=_color(first.metadata),
        sample_aspect=_sample_aspect(images[0]),
        time_base=1 / (rate * TICKS),
        start=0,
        rate=rate,
        frames=len(images),
        is_interlaced=False,
        others=(),
        images=tuple(images),
        max_pixels=max_pixels,
        has_profile=first.metadata.icc is not None,
        carrier=carrier,
    )


_FORMATS = {(8, False): "rgb24", (8, True): "rgba", (16, False): "rgb48le", (16, True): "rgba64le"}
"""Bits per channel and whether there is transparency -> pixel format."""


def read_image_frames(video: NumberedVideo, after: int | None = None) -> Generator[Frame]:
    """Yield the frames of numbered images, as `read_frames` does for other videos.

    Raises:
        InputError: An image cannot be read, or has another size.
    """
    start = 0 if after is None else max(0, after // TICKS + 1)
    for index, path in enumerate(video.images[start:], start):
        picture = _read(path, video.max_pixels)
        if picture.size != video.size:
            raise InputError(f"{path}: has {picture.size} pixels, not {video.size} like the others")
        picture = picture.with_bits(16)
        pixels, alpha = picture.pixels, picture.alpha
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        if alpha is None and video.has_alpha:
            alpha = np.full(pixels.shape[:2], np.iinfo(np.uint16).max, np.uint16)
        yield Frame(index * TICKS, pixels, alpha if video.has_alpha else None)


def _read(path: Path, max_pixels: int) -> Picture:
    images = read_images(path, max_pixels)
    if len(images.frames) > 1:
        raise InputError(f"{path}: contains {len(images.frames)} images, so that it is not one frame")
    return images.first


def _header(path: Path) -> Header | None:
    """Return the header of an image; None if it is damaged, which reading the frame reports."""
    with suppress(InputError):
        return read_header(path)
    return None


def _color(metadata: Metadata) -> Color:
    """Return the color space, which is that of sRGB unless a PNG specifies another one."""
    for kind, data in metadata.png:
        if kind == b"cICP" and len(data) == 4:
            color = Color(primaries=data[0], transfer=data[1], full_range=True)
            return with_light(color, metadata.png)
    return Color(full_range=True)


def _sample_aspect(path: Path) -> Fraction:
    """Return the width of a pixel divided by its height, as ffmpeg stores it in a PNG."""
    with suppress(Exception), open_by_pillow(path) as opened:
        width, height = opened.info["aspect"]
        return Fraction(width, height)
    return Fraction(1)
