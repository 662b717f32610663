"""Decode the frames of a video, in the order in which they are shown."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from rgt_cli.errors import InputError
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.probe import Video

logger = logging.getLogger(__name__)

_MARGIN = 10.0
"""Seconds before the first requested frame at which decoding starts, so that its references exist."""
_BUFFER = 1 << 20
"""Bytes that are read from ffmpeg at once."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    time: int
    """When it is shown, in ticks of the video's time base."""
    pixels: np.ndarray
    """(H, W, 3) uint16, RGB in the transfer and primaries of the video, full range."""
    alpha: np.ndarray | None
    """(H, W) uint16; None if the video has no transparency."""


def read_frames(video: Video, after: int | None = None, deinterlace: bool = False) -> Generator[Frame]:
    """Yield the frames of a video from its start, or from the frame after a given time.

    YUV is converted to RGB with the matrix, range and chroma location of the video, in floating point,
    and rounded to 16 bits.

    Args:
        video: The video, from `probe`.
        after: A time in ticks; only later frames are yielded.
        deinterlace: Build whole frames from interlaced fields.

    Raises:
        InputError: The video is damaged. It is raised after the last frame that can be decoded.
    """
    seek: list[str] = []
    seconds = (after - video.start) * video.time_base - _MARGIN if after is not None else 0
    if seconds > 0:
        seek = ["-noaccurate_seek", "-ss", f"{float(seconds):.3f}"]
        logger.info("%s: decoding from %.3f s", video.path, float(seconds))
    # Only libvpx decodes the alpha of VP8 and VP9.
    decoder = ["-c:v", f"libvpx{'-vp9' * (video.codec == 'vp9')}"]
    arguments = [
        *(decoder if video.has_alpha and video.codec in ("vp8", "vp9") else []),
        "-copyts", *seek, *ffmpeg.source_arguments(video.path),
        "-map", f"0:{video.index}", "-fps_mode", "passthrough",
        "-enc_time_base", f"{video.time_base.numerator}:{video.time_base.denominator}",
        "-vf", ",".join(_to_rgb(video, deinterlace)), "-c:v", "rawvideo", "-f", "nut", "pipe:1",
    ]  # fmt: skip
    process, is_complete = ffmpeg.Process(arguments, reads=False), False
    try:
        yield from _frames(process, video.time_base, after)
        is_complete = True
    finally:
        code, stderr_lines = process.end(kill=not is_complete)
    if seek:  # after a seek, the decoder reports references that come before it
        stderr_lines = [line for line in stderr_lines if video.codec not in line.split("]")[0]]
    if code or stderr_lines:
        raise InputError(f"{video.path}: the video is damaged: {ffmpeg.in_words(stderr_lines, code)}")


def _frames(process: ffmpeg.Process, time_base: Fraction, after: int | None) -> Generator[Frame]:
    try:
        pipe = av.open(process.pipe, "r", format="nut", buffer_size=_BUFFER)
    except av.FFmpegError:
        return  # not a single frame; the stderr of ffmpeg explains why
    with pipe:
        for decoded in pipe.decode(video=0):
            # NUT counts in finer ticks, and moves a frame by one of them if two coincide.
            time = round((decoded.pts or 0) * (decoded.time_base or time_base) / time_base)
            if after is not None and time <= after:
                continue
            array = decoded.to_ndarray()
            yield Frame(time, array[..., :3], array[..., 3] if array.shape[2] == 4 else None)


def _to_rgb(video: Video, deinterlace: bool) -> list[str]:
    """Return the filters that convert the pixels of a video to 16 bits of RGB."""
    layout = av.VideoFormat(video.pixel_format)
    packed = "rgba64le" if video.has_alpha else "rgb48le"
    planar = "gbrap16le" if video.has_alpha else "gbrp16le"
    filters = ["bwdif=mode=send_frame:deint=interlaced"] if deinterlace else []
    if layout.is_rgb or layout.has_palette:
        exact = "gbr" + "a" * video.has_alpha + ("p" if video.bits == 8 else f"p{video.bits}le")
        scale = "zscale=rangein=full:range=full"
        return [*filters, f"format={exact}", scale, f"format={planar}", f"format={packed}"]
    if not layout.is_planar or len(layout.components) < 3:
        return [*filters, f"format={packed}"]
    if any(layout.chroma_width(side) * 2 != side and layout.chroma_width(side) != side
           for side in video.size):  # fmt: skip
        # The zimg library, which zscale uses, requires whole chroma samples.
        filters += ["scale=flags=bicubic+accurate_rnd+full_chroma_inp", f"format={_full_chroma(video)}"]
    color = video.color
    options = {
        "matrixin": color.matrix_at(video.size.height),
        "rangein": "full" if color.full_range else "limited",
        "chromalin": color.chroma_location or "left",
        "matrix": "gbr",
        "range": "full",
        "filter": "spline36",
    }
    scale = "zscale=" + ":".join(f"{name}={value}" for name, value in options.items())
    return [*filters, scale, f"format={planar}", f"format={packed}"]


def _full_chroma(video: Video) -> str:
    """Return the pixel format of 16-bit YUV with a chroma sample for each pixel."""
    return "yuva444p16le" if video.has_alpha else "yuv444p16le"
