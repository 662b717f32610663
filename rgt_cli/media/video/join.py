"""Join the segments of a video into one stream of packets with exact times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import av

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.media.formats import Container
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.probe import Video
from rgt_cli.media.video.rates import exact_times

if TYPE_CHECKING:
    Packet = av.Packet[Any]

_ISO = ("mp4", "mov")
"""The muxers that store times in ticks of any length. All others have ticks of their own."""
_SHAPED = ("h264", "hevc", "av1", "vp9", "ffv1")
"""The codecs that a pipe in MP4 carries to Matroska, with the exact shape of the pixels."""
_TICKS = {"gif": Fraction(1, 100)}
_MATROSKA_TICK = Fraction(1, 1000)


@dataclass(frozen=True)
class Segment:
    """One encoded segment of a video."""

    path: Path
    times: tuple[int, ...]
    """When its frames are shown, in ticks of the input's time base."""


class JoinedVideo:
    """The frames of all segments as one video that another program reads from a pipe.

    Args:
        video: The input.
        segments: All segments, in order.
        container: The format of the output.
        shown: When each frame is shown in the output, in ticks of the input's time base.
        last_duration: Seconds for which the last frame is shown.

    Raises:
        OutputError: A segment does not contain the expected number of frames.
    """

    def __init__(
        self,
        video: Video,
        segments: Sequence[Segment],
        container: Container,
        shown: Sequence[int],
        last_duration: Fraction,
    ) -> None:
        self._video, self._segments = video, segments
        self.is_iso = container.muxer in _ISO
        self.tick = Fraction(1, video.time_base.denominator) if self.is_iso else _MATROSKA_TICK
        """Seconds per tick of the timestamps in the pipe."""
        # Containers require that no two frames share a tick.
        apart = round(_TICKS.get(container.muxer, self.tick) / self.tick) or 1
        exact = exact_times(shown, video.time_base, video.rate) if self.is_iso else None
        self.tick = exact.tick if exact else self.tick
        self._shown = (
            exact.times if exact else [round(time * video.time_base / self.tick) for time in shown]
        )
        for at in range(1, len(shown)):
            self._shown[at] = max(self._shown[at], self._shown[at - 1] + apart)
        self._step = round(1 / (video.rate * self.tick)) or 1
        self.last_duration = last_duration
        if exact and abs(last_duration - self._step * self.tick) <= _MATROSKA_TICK:
            self.last_duration = self._step * self.tick
        self._orders = [_display_order(segment) for segment in segments]
        self._held_back = max(
            (at - rank for order in self._orders for at, rank in enumerate(order)), default=0
        )
        """The number of frames by which the encoder delays its output to reorder them."""
        with av.open(ffmpeg.url(segments[0].path)) as first:
            stream = first.streams.video[0]
            self.codec = stream.codec_context.codec.canonical_name
            # Without this tag, players ignore the alpha of VP8 and VP9.
            self.tags = {k: v for k, v in stream.metadata.items() if k.lower() == "alpha_mode"}
        # PyAV cannot specify the shape of pixels in Matroska, and ffmpeg rounds what it is given.
        is_shaped = video.sample_aspect != 1 and self.codec in _SHAPED and not self.tags
        self.muxer = container.muxer if self.is_iso else "mp4" if is_shaped else "matroska"
        """The format of the pipe."""

    def timing(self) -> str:
        """Return the bitstream filter of ffmpeg that sets the final times and the last duration.

        The pipe starts at zero. Its first packet is the first frame.
        """
        start = self._shown[0] * self.tick
        last = len(self._shown) - 1
        last_decoded = (
            last - len(self._orders[-1]) + 1 + self._orders[-1].index(len(self._orders[-1]) - 1)
        )
        end = self._shown[last] * self.tick + self.last_duration
        move = f"-STARTPTS+round({start.numerator}/{start.denominator}/TB)"
        duration = f"{self.last_duration.numerator}/{self.last_duration.denominator}/TB"
        # MP4 in a pipe shows a packet until the next one is decoded, which may be after the end.
        rest = f"round({end.numerator}/{end.denominator}/TB)-(PTS{move})"
        return (
            f"setts=pts=PTS{move}:dts=DTS{move}:"
            rf"duration=if(eq(N\,{last})+eq(N\,{last_decoded})\,round({duration})\,min(DURATION\,{rest}))"
        )

    def write(self, pipe: IO[bytes]) -> None:
        """Write the video to a pipe.

        Raises:
            av.FFmpegError, OSError: The reader of the pipe has ended.
            ValueError: The container does not support the codec.
        """
        options = {"avoid_negative_ts": "disabled"}
        if self.muxer in _ISO:
            options |= {
                "movflags": "empty_moov+default_base_moof+frag_keyframe",
                "video_track_timescale": str(self.tick.denominator),
            }
        with (
            av.open(ffmpeg.url(self._segments[0].path)) as first,
            av.open(pipe, "w", format=self.muxer, container_options=options) as output,
        ):
            encoded = first.streams.video[0]
            stream = output.add_stream_from_template(encoded, opaque=True)
            stream.time_base = self.tick
            context = stream.codec_context
            context.framerate = self._video.rate
            context.sample_aspect_ratio = self._video.sample_aspect
            if self.is_iso and self.codec == "prores":
                context.codec_tag = encoded.codec_context.codec_tag  # it specifies the profile
            for packet in self._packets(stream):
                output.mux(packet)

    def _packets(self, stream: av.VideoStream) -> Iterator[Packet]:
        """Yield the packets of all segments.

        A packet is decoded when the frame is shown that comes n frames before it, where n is the number
        of frames by which the encoder delays its output.
        """
        shown, first, at = self._shown, 0, 0
        zero = shown[0] - self._held_back * self._step
        for segment, order in zip(self._segments, self._orders, strict=True):
            with av.open(ffmpeg.url(segment.path)) as container:
                packets = (packet for packet in container.demux(video=0) if packet.size)
                for packet, rank in zip(packets, order, strict=True):
                    place, early = first + rank, at - self._held_back
                    packet.stream, packet.time_base = stream, self.tick
                    packet.pts = shown[place] - zero
                    packet.dts = (shown[early] if early >= 0 else shown[0] + early * self._step) - zero
                    packet.duration = (
                        shown[place + 1] - shown[place] if place + 1 < len(shown) else self._step
                    )
                    yield packet
                    at += 1
            first += len(segment.times)


def check_segment(segment: Segment) -> None:
    """Check that a segment contains all frames that were encoded.

    Raises:
        UsageError: The encoder dropped some of them.
    """
    if (count := len(_packet_times(segment.path))) != len(segment.times):
        raise UsageError(
            f"the encoder makes {count} frames from {len(segment.times)}: use another --codec"
        )


def _packet_times(path: Path) -> list[int]:
    with av.open(ffmpeg.url(path)) as container:
        return [packet.pts or 0 for packet in container.demux(video=0) if packet.size]


def _display_order(segment: Segment) -> list[int]:
    """Return for each packet of a segment its rank in the order in which the frames are shown.

    Raises:
        OutputError: The segment does not contain the expected number of frames.
    """
    times = _packet_times(segment.path)
    if len(times) != len(segment.times):
        expected = len(segment.times)
        raise OutputError(
            f"{segment.path}: contains {len(times)} frames instead of {expected}: delete it"
        )
    ranked = sorted(times)
    return [bisect_left(ranked, time) for time in times]
