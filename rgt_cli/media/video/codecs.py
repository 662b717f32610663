"""The video encoders: short names, options of quality and speed, and which one is the default."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    default: float | None = None
    """A visually lossless value of the quality option."""
    preset: str | None = None
    """Its speed option; None if it has none."""
    is_lossless: bool = False


_NVENC = ("-rc", "vbr", "-b:v", "0")
CODECS = {
    "x264": Codec(encoder="libx264", quality="-crf", default=16, preset="-preset"),
    "x265": Codec(encoder="libx265", quality="-crf", default=18, preset="-preset"),
    "av1": Codec(encoder="libsvtav1", quality="-crf", default=22, preset="-preset"),
    "vp9": Codec(
        encoder="libvpx-vp9",
        arguments=("-b:v", "0", "-row-mt", "1"),
        quality="-crf",
        default=18,
        preset="-deadline",
    ),
    "prores": Codec(encoder="prores_ks", arguments=("-vendor", "apl0"), quality="-qscale:v", default=6),
    "ffv1": Codec(encoder="ffv1", arguments=("-level", "3", "-slicecrc", "1"), is_lossless=True),
    "gif": Codec(encoder="gif"),
    "h264_nvenc": Codec(
        encoder="h264_nvenc", arguments=_NVENC, quality="-cq", default=18, preset="-preset"
    ),
    "hevc_nvenc": Codec(
        encoder="hevc_nvenc", arguments=_NVENC, quality="-cq", default=18, preset="-preset"
    ),
    "av1_nvenc": Codec(
        encoder="av1_nvenc", arguments=_NVENC, quality="-cq", default=22, preset="-preset"
    ),
}
"""The encoders by their short names."""

_WITH_ALPHA = {"matroska": "ffv1", "mov": "prores"}
"""The default encoder of videos with transparency, by muxer. Other muxers have the usual default."""


@dataclass(frozen=True, kw_only=True)
class VideoEncoding:
    """How videos are encoded."""

    codec: str | None = None
    """A name in `CODECS` or the name of an ffmpeg encoder; None depends on the container and the bits a
    channel."""
    crf: float | None = None
    """Quality on the scale of the encoder, lower is better; None is visually lossless."""
    preset: str | None = None
    """Speed of the encoder, as the encoder names it."""
    pix_fmt: str | None = None
    """Pixel format, as ffmpeg names it; None keeps that of the input where the encoder supports it."""
    arguments: tuple[str, ...] = ()
    """Further arguments of ffmpeg."""


def codec_for(video: Video, container: Container, encoding: VideoEncoding) -> Codec:
    """Return the requested encoder, or the default for the video and its container."""
    if encoding.codec:
        name, reason = encoding.codec, "requested"
    elif container.codecs:
        name, reason = container.codecs[0], f"default of {container.name}"
    elif video.has_alpha and container.muxer in _WITH_ALPHA:
        name, reason = _WITH_ALPHA[container.muxer], "the video has transparency"
    elif video.bits == 8:
        name, reason = "x264", "the video has 8 bits a channel"
    else:
        name, reason = "x265", f"the video has {video.bits} bits a channel"
    codec = CODECS.get(name, Codec(encoder=name))
    logger.info("%s: encoder %s (%s)", video.path, codec.encoder, reason)
    return codec
