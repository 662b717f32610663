"""The video encoders: short names, options of quality and speed, and which one is the default."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rgt_cli.errors import UsageError
from rgt_cli.media.formats import Container

if TYPE_CHECKING:  # options are parsed without the libraries that decode videos
    from rgt_cli.media.video.probe import Video

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A video encoder of ffmpeg."""

    encoder: str
    """Its name in ffmpeg."""
    arguments: tuple[str, ...] = ()
    """Arguments that are always passed."""
    quality: str | None = None
    """Its quality option; None if it has none."""
    quality_range: tuple[float, float] | None = None
    """The smallest and the largest value of the quality option."""
    default: float | None = None
    """A visually lossless value of the quality option."""
    preset: str | None = None
    """Its speed option; None if it has none."""
    is_lossless: bool = False
    """Whether it stores every sample exactly, whatever its options are."""
    has_full_range: bool = True
    """Whether its streams or their containers can tell full range from limited range."""
    alpha_formats: tuple[str, ...] | None = None
    """The pixel formats in which it encodes transparency; None if these are all that it lists."""


def _nvenc(encoder: str, worst: float, default: float) -> Codec:
    """Return an encoder of NVIDIA GPUs."""
    return Codec(
        encoder=encoder,
        arguments=("-rc", "vbr", "-b:v", "0"),
        quality="-cq",
        quality_range=(0, worst),
        default=default,
        preset="-preset",
    )


CODECS = {
    "x264": Codec(
        encoder="libx264", quality="-crf", quality_range=(0, 51), default=16, preset="-preset"
    ),
    "x265": Codec(
        encoder="libx265",
        quality="-crf",
        quality_range=(0, 51),
        default=18,
        preset="-preset",
        alpha_formats=(),  # decoders ignore its layer of transparency, or report damage
    ),
    "av1": Codec(
        encoder="libsvtav1", quality="-crf", quality_range=(0, 63), default=22, preset="-preset"
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        arguments=("-b:v", "0", "-row-mt", "1"),
        quality="-crf",
        quality_range=(0, 63),
        default=18,
        preset="-deadline",
        alpha_formats=("yuva420p",),  # libvpx lists more, but refuses them
    ),
    "prores": Codec(
        encoder="prores_ks",
        arguments=("-vendor", "apl0"),
        quality="-qscale:v",
        quality_range=(1, 64),
        default=6,
        has_full_range=False,
    ),
    "ffv1": Codec(encoder="ffv1", arguments=("-level", "3", "-slicecrc", "1"), is_lossless=True),
    "gif": Codec(encoder="gif"),
    "h264_nvenc": _nvenc("h264_nvenc", 51, 18),
    "hevc_nvenc": _nvenc("hevc_nvenc", 51, 18),
    "av1_nvenc": _nvenc("av1_nvenc", 63, 22),
}
"""The encoders by their short names."""

_WITH_ALPHA = {"matroska": "ffv1", "mov": "prores"}
"""The default encoder of videos with transparency, by muxer. Other muxers have the usual default."""


@dataclass(frozen=True, kw_only=True)
class VideoEncoding:
    """How videos are encoded."""

    codec: str | None = None
    """A name in `CODECS` or the name of an ffmpeg encoder; None depends on the container and the bits
    per channel."""
    crf: float | None = None
    """Quality on the scale of the encoder, lower is better; None is visually lossless."""
    preset: str | None = None
    """Speed of the encoder, as the encoder names it."""
    pix_fmt: str | None = None
    """Pixel format, as ffmpeg names it; None keeps that of the input where the encoder supports it."""
    arguments: tuple[str, ...] = ()
    """Further arguments of ffmpeg."""


def codec_for(video: Video, container: Container, encoding: VideoEncoding) -> Codec:
    """Return the requested encoder, or the default for the video and its container.

    Raises:
        UsageError: ffmpeg has no such encoder.
    """
    if encoding.codec:
        name, reason = encoding.codec, "requested"
    elif container.codecs:
        name, reason = container.codecs[0], f"default of {container.name}"
    elif video.has_alpha and container.muxer in _WITH_ALPHA:
        name, reason = _WITH_ALPHA[container.muxer], "the video has transparency"
    elif video.bits == 8:
        name, reason = "x264", "the video has 8 bits per channel"
    else:
        name, reason = "x265", f"the video has {video.bits} bits per channel"
    codec = CODECS.get(name) or _codec_of(name)
    logger.info("%s: encoder %s (%s)", video.path, codec.encoder, reason)
    return codec


def _codec_of(encoder: str) -> Codec:
    """Return an encoder by its name in ffmpeg.

    Raises:
        UsageError: ffmpeg has no such encoder.
    """
    for codec in CODECS.values():
        if codec.encoder == encoder:
            return codec
    import av  # slow to import

    from rgt_cli.media.video import ffmpeg

    try:
        crf = ffmpeg.crf_range(encoder)
    except UsageError as error:
        names = ", ".join(CODECS)
        raise UsageError(f"{error}: use {names}, or one that ffmpeg -encoders lists") from None
    try:
        described = av.Codec(encoder, "w")
        is_lossless = described.lossless and not described.lossy
    except ValueError:  # the libraries of PyAV lack what the ffmpeg program has
        is_lossless = False
    return Codec(
        encoder=encoder, quality="-crf" if crf else None, quality_range=crf, is_lossless=is_lossless
    )
