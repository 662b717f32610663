"""The encoders of films, by name and quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rgt_cli.media.formats import Format

if TYPE_CHECKING:  # what is asked for is known without the libraries that do it
    from rgt_cli.media.video.probe import Video


@dataclass(frozen=True)
class Codec:
    """An encoder that is known here by a short name."""

    encoder: str
    """As ffmpeg calls it."""
    arguments: tuple[str, ...] = ()
    quality: str | None = None
    """The option of its quality; None where it has none."""
    default: float | None = None
    """The quality that nobody tells from the original."""
    preset: str | None = None
    """The option of its speed."""
    is_lossless: bool = False


CODECS = {
    "x264": Codec("libx264", (), "-crf", 16, "-preset"),
    "x265": Codec("libx265", (), "-crf", 18, "-preset"),
    "av1": Codec("libsvtav1", (), "-crf", 22, "-preset"),
    "vp9": Codec("libvpx-vp9", ("-b:v", "0", "-row-mt", "1"), "-crf", 18, "-deadline"),
    "prores": Codec("prores_ks", ("-vendor", "apl0"), "-qscale:v", 6, None),
    "ffv1": Codec("ffv1", ("-level", "3", "-slicecrc", "1"), is_lossless=True),
    "gif": Codec("gif"),
    "h264_nvenc": Codec("h264_nvenc", ("-rc", "vbr", "-b:v", "0"), "-cq", 18, "-preset"),
    "hevc_nvenc": Codec("hevc_nvenc", ("-rc", "vbr", "-b:v", "0"), "-cq", 18, "-preset"),
    "av1_nvenc": Codec("av1_nvenc", ("-rc", "vbr", "-b:v", "0"), "-cq", 22, "-preset"),
}


@dataclass(frozen=True)
class VideoEncoding:
    """How films are encoded."""

    codec: str | None = None
    """One of CODECS or an encoder of ffmpeg; None goes by the container and the bits of a channel."""
    crf: float | None = None
    """The quality, in the scale of the encoder; None is what nobody tells from the original."""
    preset: str | None = None
    """How slow the encoder may be, in its own words."""
    pix_fmt: str | None = None
    """As ffmpeg calls it; None is as the source has it."""
    arguments: tuple[str, ...] = ()
    """More for ffmpeg."""


_WITH_ALPHA = {"matroska": "ffv1", "mov": "prores"}
"""Of containers that take any encoder, the one that keeps transparency."""


def codec_for(video: Video, target: Format, encoding: VideoEncoding) -> Codec:
    """The encoder of one film."""
    name = encoding.codec
    if name is None and target.codecs:
        name = target.codecs[0]
    elif name is None:
        name = "x264" if video.bits == 8 else "x265"
        if video.has_alpha and target.muxer in _WITH_ALPHA:
            name = _WITH_ALPHA[target.muxer]
    return CODECS.get(name, Codec(name))
