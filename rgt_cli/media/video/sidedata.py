"""Find out what frames of a video carry besides pixels that new frames will lack."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import cast

import av
from av.sidedata.sidedata import SideData, Type

from rgt_cli.media.formats import Container
from rgt_cli.media.video.probe import Video
from rgt_cli.media.video.streams import open_source

_FRAMES = 10
"""Number of frames that are searched."""
_NAMES = {
    Type.A53_CC: "closed captions (CEA-608/708)",
    Type.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    Type.SPHERICAL: "the projection of a 360-degree video",
    Type.STEREO3D: "the arrangement of a stereoscopic video",
    Type.S12M_TIMECODE: "timecodes of single frames",
}
"""What is lost, by the type of the side data of a frame."""


def lost_side_data(video: Video, container: Container) -> tuple[str, ...]:
    """Return descriptions of what the first frames carry that the output will lack."""
    found = set[str]()
    with open_source(video) as source, suppress(av.FFmpegError):
        stream = next(one for one in source.streams.video if one.index == video.index)
        # Matroska stores the arrangement in a tag, which is copied.
        is_tagged = any(key.lower() == "stereo_mode" for key in stream.metadata)
        has_stereo = is_tagged and container.muxer in ("matroska", "webm")
        for frame in islice(source.decode(stream), _FRAMES):
            kinds = {side.type for side in cast(Iterable[SideData], frame.side_data)}
            found |= {_NAMES[kind] for kind in kinds if kind in _NAMES}
        if has_stereo:
            found.discard(_NAMES[Type.STEREO3D])
    return tuple(sorted(found))
