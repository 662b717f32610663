"""Videos that the real ffmpeg makes, and what an independent reader finds in them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import SideData, Type

from rgt_cli.jobs.job import Job, Outcome
from rgt_cli.jobs.options import JobOptions, OutputOptions, VideoOptions
from rgt_cli.jobs.video.upscale import upscale_video
from rgt_cli.media import format_of
from rgt_cli.media.video.ffmpeg import executable
from rgt_cli.media.video.probe import Color, Video
from rgt_cli.size import Dimensions, Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler

SMALL = "testsrc2=size=64x48:rate=25:duration=2"
"""50 frames."""
COLORS = "mandelbrot=size=96x64:rate=5:start_scale=2,trim=duration=1,gblur=sigma=6"
"""5 frames with smooth colors."""
TAGS = "setparams=color_primaries={}:color_trc={}:colorspace={}:range={}"
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
HDR10 = (
    "log-level=error:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,1):max-cll=1000,400"
)
SUBTITLES = "1\n00:00:00,100 --> 00:00:01,200\nHello\n\n2\n00:00:01,300 --> 00:00:01,900\nthere\n"
CHAPTERS = """;FFMETADATA1
title=A title
[CHAPTER]
TIMEBASE=1/1000
START=0
END=900
title=One
[CHAPTER]
TIMEBASE=1/1000
START=900
END=2000
title=Two
"""

Make = Callable[[Path], None]
"""Writes a video to a path."""


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg."""
    command = [executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def lavfi(*arguments: str, source: str = SMALL) -> Make:
    """Return a function that encodes a synthetic source with these arguments."""
    return lambda path: ffmpeg("-f", "lavfi", "-i", source, *arguments, path)


def rotated(path: Path) -> None:
    """Write a video that players rotate by 90 degrees."""
    plain = path.with_name("plain.mov")
    lavfi(*X264)(plain)
    ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", path)


def with_everything(path: Path) -> None:
    """Write a video with two audio streams, subtitles, a font, chapters, languages and dispositions."""
    folder = path.parent
    (folder / "a.srt").write_text(SUBTITLES)
    (folder / "a.ttf").write_bytes(bytes(range(256)) * 5)
    (folder / "chapters.txt").write_text(CHAPTERS)
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=frequency=440:duration=2",
        "-f", "lavfi", "-i", "sine=frequency=880:duration=2", "-i", folder / "a.srt",
        "-i", folder / "chapters.txt", "-map", "0", "-map", "1", "-map", "2", "-map", "3",
        "-map_metadata", "4", "-map_chapters", "4", "-c:v", "libx264", "-c:a:0", "aac", "-c:a:1", "flac",
        "-c:s", "srt", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu",
        "-metadata:s:s:0", "language=fra", "-disposition:a:1", "default", "-disposition:s:0", "forced",
        "-attach", folder / "a.ttf", "-metadata:s:t", "mimetype=font/ttf", "-pix_fmt", "yuv420p", path,
    )  # fmt: skip


def cut_by_an_edit_list(path: Path) -> None:
    """Write an MP4 whose edit list hides the frames before the cut."""
    whole = path.with_name("whole.mp4")
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *X264, "-c:a", "aac", whole
    )
    ffmpeg("-ss", "0.5", "-i", whole, "-c", "copy", path)


_VARIABLE = (
    "settb=1/90000,setpts='N*1001/24000/TB+0.011*mod(N,3)/TB'", "-fps_mode", "passthrough",
    "-enc_time_base", "1:90000", "-video_track_timescale", "90000",
)  # fmt: skip
CLIPS: dict[str, tuple[str, Make]] = {
    "x264": ("mp4", lambda p: ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *X264, "-c:a", "aac", p)),
    "variable rate": ("mp4", lavfi("-vf", *_VARIABLE, *X264, "-bf", "3")),
    "open GOP, B-frames": (
        "mkv", lavfi(*X264, "-bf", "3", "-g", "12", "-x264-params", "open-gop=1:b-pyramid=normal")),
    "HEVC HDR10": ("mp4", lavfi(
        "-vf", TAGS.format("bt2020", "smpte2084", "bt2020nc", "tv") + ",format=yuv420p10le",
        "-c:v", "libx265", "-x265-params", HDR10)),
    "HEVC HLG": ("mkv", lavfi(
        "-vf", TAGS.format("bt2020", "arib-std-b67", "bt2020nc", "tv") + ",format=yuv420p10le",
        "-c:v", "libx265", "-x265-params", "log-level=error")),
    "VP9": ("webm", lavfi("-c:v", "libvpx-vp9", "-cpu-used", "8", "-pix_fmt", "yuv420p")),
    "VP9 with alpha": ("webm", lavfi(
        "-vf", "format=yuva420p,geq=lum='lum(X,Y)':a='X*4'", "-c:v", "libvpx-vp9", "-cpu-used", "8",
        "-pix_fmt", "yuva420p", "-auto-alt-ref", "0")),
    "ProRes": ("mov", lavfi("-c:v", "prores_ks", "-profile:v", "3", "-pix_fmt", "yuv422p10le")),
    "interlaced": ("mkv", lavfi(
        "-vf", "interlace", *X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1")),
    "rotated phone": ("mov", rotated),
    "two audio streams, subtitles, font, chapters": ("mkv", with_everything),
    "odd sides": ("mkv", lavfi("-vf", "scale=63:47,format=yuv420p", "-c:v", "ffv1")),
    "full range": ("mp4", lavfi(
        "-vf", "scale=out_range=full," + TAGS.format("bt709", "bt709", "bt709", "pc"), *X264)),
    "anamorphic": ("mp4", lavfi("-vf", "setsar=32/27", *X264)),
    "one frame": ("mp4", lavfi("-frames:v", "1", *X264)),
    "starts at 7.3 s": ("ts", lavfi(*X264, "-muxdelay", "0", "-output_ts_offset", "7.3")),
    "timecode": ("mov", lavfi(*X264, "-timecode", "01:02:03:04")),
    "edit list": ("mp4", cut_by_an_edit_list),
    "AV1": ("mkv", lavfi("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p10le")),
    "MPEG-4 in AVI": ("avi", lavfi("-c:v", "mpeg4")),
    "ten minutes": ("mkv", lavfi(*X264, "-preset", "ultrafast",
        source="testsrc2=size=16x16:rate=6000/1001:duration=600")),
}  # fmt: skip
"""The suffix and the maker of videos of many kinds, by name."""


@dataclass
class Facts:
    """What a reader finds in a video."""

    times: list[Fraction]
    """When its frames are shown, in seconds."""
    size: tuple[int, int]
    """Width and height as stored."""
    streams: list[tuple[object, ...]]
    """Type, codec, language, file name and disposition of the other streams."""
    packets: dict[tuple[str, int], list[tuple[Fraction, str]]]
    """Times in seconds and digests of the packets of the other streams."""
    color_tags: tuple[int, int, int, int]
    side_data: dict[str, bytes]
    """HDR side data by type."""
    aspect: Fraction
    chapters: list[tuple[Fraction, Fraction, str | None]]
    """Start and end in seconds, and title."""
    tags: dict[str, str]
    bits: int
    rotation: int


def facts(path: Path) -> Facts:
    """Read a video with PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        hdr = {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL}
        base = stream.time_base or Fraction(1)
        sides = cast(Mapping[Type, SideData], first.side_data)
        streams, packets = _other_streams(path, stream.index)
        return Facts(
            times=[Fraction(frame.pts or 0) * base for frame in frames],
            size=(first.width, first.height),
            streams=streams,
            packets=packets,
            color_tags=(
                int(first.color_primaries),
                int(first.color_trc),
                int(first.colorspace),
                int(first.color_range) or 1,  # unspecified means limited
            ),
            side_data={kind.name: bytes(side) for kind in hdr if (side := sides.get(kind))},
            aspect=Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
            chapters=[
                (chapter["start"] * tick, chapter["end"] * tick, chapter["metadata"].get("title"))
                for chapter in container.chapters()
                if (tick := chapter["time_base"] or Fraction(1))
            ],
            tags=dict(container.metadata),
            bits=max(part.bits for part in first.format.components),
            rotation=first.rotation,
        )


def _other_streams(
    path: Path, index: int
) -> tuple[list[tuple[object, ...]], dict[tuple[str, int], list[tuple[Fraction, str]]]]:
    with av.open(str(path)) as container:
        others = [stream for stream in container.streams if stream.index != index]
        streams: list[tuple[object, ...]] = [
            (s.type, getattr(s, "name", ""), s.metadata.get("language"), s.metadata.get("filename"),
             int(s.disposition))
            for s in others
        ]  # fmt: skip
        names = {stream.index: (str(stream.type), number) for number, stream in enumerate(others)}
        packets: dict[tuple[str, int], list[tuple[Fraction, str]]] = {key: [] for key in names.values()}
        moving = [stream for stream in others if stream.type != "attachment"]
        for packet in container.demux(moving) if moving else ():
            if packet.size:
                time = (packet.pts or 0) * (packet.time_base or Fraction(1))
                digest = hashlib.md5(bytes(packet)).hexdigest()
                packets[names[packet.stream.index]].append((time, digest))
    return streams, packets


def stream_tags(path: Path) -> list[dict[str, str]]:
    """Return the tags of all streams of a file."""
    with av.open(str(path)) as container:
        return [dict(stream.metadata) for stream in container.streams]


def planes(path: Path, pix_fmt: str) -> np.ndarray:
    """Return all samples of a video, as ffmpeg decodes it."""
    dtype = np.uint16 if "le" in pix_fmt else np.uint8
    command = [executable(), "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough",
               "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]  # fmt: skip
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, dtype)


def frame_count(path: Path) -> int:
    """Return the number of frames that can be decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def describe(**changes: Any) -> Video:
    """Return a description of a video of 8 bits, 64 x 48, that differs in these fields."""
    usual: dict[str, Any] = {
        "path": Path("in.mkv"),
        "index": 0,
        "codec": "h264",
        "size": Dimensions(64, 48),
        "pixel_format": "yuv420p",
        "bits": 8,
        "has_alpha": False,
        "color": Color(),
        "sample_aspect": Fraction(1),
        "time_base": Fraction(1, 1000),
        "start": 0,
        "rate": Fraction(25),
        "frames": 50,
        "is_interlaced": False,
        "others": (),
    }
    return Video(**usual | changes)


def upscale(
    source: Path,
    target: Path,
    scale: float = 2,
    *,
    video: VideoOptions | None = None,
    output: OutputOptions | None = None,
) -> Outcome:
    """Upscale a video by repeating pixels."""
    options = JobOptions(video=video or VideoOptions(), output=output or OutputOptions())
    return upscale_video(
        Job(source, target, format_of(target)),
        make_context(nearest_upscaler(Size(scale=scale)), options),
    )


def flash_and_click(path: Path, *arguments: str) -> None:
    """Write a video of 2 s with a white frame and a click at 0.48 s and at 1.48 s."""
    flash = "drawbox=c=white:t=fill:enable='lt(abs(mod(t\\,1)-0.48)\\,0.01)'"
    click = "aevalsrc='if(lt(abs(mod(t\\,1)-0.49)\\,0.01)\\,sin(2*PI*1000*t)\\,0)':d=2:s=48000"
    black = f"color=black:size=64x48:rate=25:duration=2,{flash}"
    sound = "mp2" if path.suffix in (".ts", ".mpg", ".avi") else "aac"
    ffmpeg(
        "-f", "lavfi", "-i", black, "-f", "lavfi", "-i", click,
        *X264, "-g", "10", "-c:a", sound, *arguments, path,
    )  # fmt: skip


def sync_of(path: Path) -> tuple[list[float], list[float]]:
    """Return when flashes start and when clicks start, in seconds."""
    flashes, clicks = list[float](), list[float]()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.to_ndarray(format="gray").mean() > 128:
                flashes.append(float(frame.time or 0))
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=48000)
        for decoded in container.decode(audio=0):
            for sound in resampler.resample(decoded):
                loud = np.flatnonzero(np.abs(sound.to_ndarray()[0]) > 0.1)
                if len(loud):
                    time = float(sound.time or 0) + loud[0] / 48000
                    if not clicks or time - clicks[-1] > 0.3:
                        clicks.append(time)
    return flashes, clicks
