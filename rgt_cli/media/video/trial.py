"""Write a few frames exactly as a whole video is written, to find out whether that will succeed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.encode import SegmentWriter
from rgt_cli.media.video.join import Segment, check_segment
from rgt_cli.media.video.metadata import MetadataPolicy
from rgt_cli.media.video.mux import COPY, Output, assemble
from rgt_cli.media.video.probe import Span, Video
from rgt_cli.media.video.streams import StreamCopy, StreamPlan
from rgt_cli.size import Dimensions

_FRAMES, _MORE_FRAMES = 2, 6
"""Numbers of frames: for encoders that are known to encode each frame, and for others."""
_STILL_FRAMES = 2
"""How many of more frames repeat the one before: some encoders leave these out."""
_SECONDS = 1.0
"""How much of the other streams is written."""
_REFUSED = frozenset({
    "-i", "-f", "-t", "-to", "-ss", "-sseof", "-fs", "-frames", "-vframes", "-vf", "-filter",
    "-filter_complex", "-filter_script", "-lavfi", "-r", "-fpsmax", "-s", "-aspect", "-fps_mode",
    "-vsync", "-vn", "-map", "-shortest", "-movflags", "-c", "-codec", "-vcodec", "-n",
})  # fmt: skip
"""The options of ffmpeg that select streams or frames, or that have an own option or no effect here."""


def check_arguments(arguments: Sequence[str]) -> None:
    """Check that arguments for ffmpeg concern the encoder alone.

    Raises:
        UsageError: One of them changes the number or the size of the frames, or has no effect.
    """
    for argument in arguments:
        if argument.partition(":")[0] in _REFUSED:
            raise UsageError(
                f"--encoder-args {argument}: only options of the encoder are possible, "
                "not those that select, filter or store frames"
            )


class Trial:
    """A short output in a temporary folder. Create it with `encoded`."""

    def __init__(self, video: Video, segment: Segment, output: Output, encoder: str) -> None:
        self._video, self._segment, self._output, self._encoder = video, segment, output, encoder

    @classmethod
    @contextmanager
    def encoded(
        cls,
        video: Video,
        arguments: Sequence[str],
        upscaled: Dimensions,
        output: Output,
        may_drop_frames: bool = False,
    ) -> Iterator[Trial]:
        """Encode the frames of a trial.

        Args:
            video: The input.
            arguments: The arguments of ffmpeg that encode the frames.
            upscaled: The size of the frames that are encoded.
            output: The format of the output.
            may_drop_frames: Whether the encoder is not known to encode each frame.

        Raises:
            UsageError: The encoder rejects its arguments.
        """
        count = _MORE_FRAMES if may_drop_frames else _FRAMES
        with tempfile.TemporaryDirectory(prefix="rgt-") as folder:
            path = Path(folder, "trial.mkv")
            step = round(1 / (video.rate * video.time_base)) or 1
            times = tuple(video.start + number * step for number in range(count))
            limit = _SECONDS + float(count * step * video.time_base)
            try:
                with SegmentWriter(path, video, arguments, upscaled) as writer:
                    for number, time in enumerate(times):
                        place = min(number, max(1, count - 1 - _STILL_FRAMES))
                        writer.add(_moving(time, place, upscaled, video.has_alpha))
                    writer.close()
            except OutputError as error:
                reason = str(error).partition("cannot be written: ")[2] or str(error)
                raise UsageError(f"the encoder rejects its options: {reason}") from error
            final = arguments if output.arguments == COPY else output.arguments
            encoder = final[list(final).index("-c:v") + 1]
            output = replace(output, ends_early=True, limit=limit)
            yield cls(video, Segment(path, times), output, encoder)

    def check_video(self) -> None:
        """Check that the container accepts the encoded frames, and all of them.

        Raises:
            UsageError: It does not, or the arguments change the number or the size of the frames.
        """
        name, expected = self._output.container.name, len(self._segment.times)
        check_segment(self._segment)
        try:
            path = self._write(())
            with ffmpeg.open_source(path) as container:
                stream = container.streams.video[0]
                size = stream.codec_context.width, stream.codec_context.height
                count = sum(1 for packet in container.demux(stream) if packet.size)
        except (OutputError, av.FFmpegError, IndexError) as error:
            reason = str(error).partition("cannot be written: ")[2] or str(error)
            raise UsageError(
                f"{name} does not support video by {self._encoder} ({reason}): omit --codec, or use "
                "another container, such as mkv"
            ) from error
        if size != self._output.size:
            given = Dimensions(*size)
            raise UsageError(f"the encoder makes frames of {given} instead of {self._output.size}")
        if count != expected:
            raise UsageError(f"the encoder makes {count} frames from {expected}: use another --codec")

    def accepts(self, streams: Sequence[StreamCopy]) -> bool:
        """Return whether the container accepts streams of the input besides the frames."""
        try:
            self._write(streams)
        except OutputError:
            return False
        return True

    def _write(self, streams: Sequence[StreamCopy]) -> Path:
        target = self._segment.path.with_name("trial.out")
        plan = StreamPlan(policy=MetadataPolicy.KEEP, streams=tuple(streams))
        span = Span(self._video.start)
        assemble(self._video, [self._segment], target, self._output, plan, span)
        return target


def _moving(time: int, number: int, size: Dimensions, has_alpha: bool) -> Frame:
    """Return a frame of stripes that move."""
    stripes = (np.arange(size.width, dtype=np.uint32) * 1500 + number * 9000).astype(np.uint16)
    pixels = np.broadcast_to(stripes[None, :, None], (size.height, size.width, 3))
    alpha = np.full((size.height, size.width), 65535, np.uint16) if has_alpha else None
    return Frame(time, pixels, alpha)
