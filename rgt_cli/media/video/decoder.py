"""Select the decoder of ffmpeg for a video, and what it receives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import av
from av.sidedata.sidedata import SideData, Type

from rgt_cli.media.video import ffmpeg

_SEI_TYPES = {"h264": "6", "hevc": "39|40"}
"""The numbers of the units that contain supplemental information, by codec."""


def decoder_arguments(codec: str, has_alpha: bool) -> list[str]:
    """Return the arguments that select the decoder of a video."""
    # Only libvpx decodes the alpha of VP8 and VP9.
    if has_alpha and codec in ("vp8", "vp9"):
        return ["-c:v", "libvpx-vp9" if codec == "vp9" else "libvpx"]
    return []


def filter_arguments(stream: av.VideoStream, first: av.VideoFrame) -> tuple[str, ...]:
    """Return the arguments that filter what the decoder of a video receives; none for most videos.

    ffmpeg fails on frames whose arrangement, for a stereoscopic video, is stated by the container and by
    the frames themselves.

    Args:
        stream: The video.
        first: Its first frame.
    """
    codec = stream.codec_context.name
    kinds = [side.type for side in cast(Iterable[SideData], first.side_data)]
    is_doubled = kinds.count(Type.STEREO3D) > 1 and codec in _SEI_TYPES
    if is_doubled and ffmpeg.filters_inputs():
        return f"-bsf:{stream.index}", f"filter_units=remove_types={_SEI_TYPES[codec]}"
    return ()
