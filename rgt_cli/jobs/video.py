"""Upscale one video, in segments that survive an interruption."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from rgt_cli.errors import InputError, OutOfMemoryError, RGTError, UsageError
from rgt_cli.files import FileStamp
from rgt_cli.jobs.frames import FrameReader, FrameUpscaler, image_of, is_numbered, numbered_path
from rgt_cli.jobs.job import Job, Outcome, RunContext, Stopped
from rgt_cli.jobs.options import JobOptions, OutputOptions, VideoOptions
from rgt_cli.jobs.pipeline import BackgroundWriter
from rgt_cli.jobs.segments import PassSettings, SegmentSettings, SegmentStore
from rgt_cli.media import Container, ImageFormat, container_of, format_named, write_images
from rgt_cli.media.video.codecs import CODECS, Codec, VideoEncoding, codec_for
from rgt_cli.media.video.decode import Frame, read_frames
from rgt_cli.media.video.encode import (
    SegmentWriter,
    encoder_arguments,
    fitted_size,
    pixel_format_for,
    squared,
    stretching,
    supports_alpha,
)
from rgt_cli.media.video.join import Segment, check_segment
from rgt_cli.media.video.metadata import MetadataPolicy
from rgt_cli.media.video.mux import Output, assemble
from rgt_cli.media.video.probe import Span, Video, probe
from rgt_cli.media.video.sidedata import lost_side_data
from rgt_cli.media.video.streams import StreamPlan, plan_streams
from rgt_cli.media.video.trial import Trial, check_arguments
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """Everything that is decided about a video before its first frame is upscaled."""

    job: Job
    """The input file and the output file."""
    video: Video
    """The properties of the input."""
    span: Span
    """The part of the input that is upscaled."""
    frames: int | None
    """Expected number of frames; None if the input does not reveal it."""
    codec: Codec
    """The encoder of the output."""
    pix_fmt: str
    """Pixel format of the output, as ffmpeg names it."""
    upscaled: Dimensions
    """Size of the upscaled frames."""
    size: Dimensions
    """Size of the output: that of the upscaled frames, cropped to what the pixel format supports, or
    stretched so that pixels are square."""
    is_stretched: bool = False
    """Whether the encoder stretches the frames, so that pixels are square."""
    arguments: tuple[str, ...] = ()
    """Arguments of ffmpeg that encode the frames; empty if each frame becomes an image."""
    image_format: ImageFormat | None = None
    """The format of the images if each frame becomes an image, else None."""
    output: Output | None = None
    """How the output video is written; None if each frame becomes an image."""
    streams: StreamPlan | None = None
    """What is copied besides the frames; None if each frame becomes an image."""
    side_data: tuple[str, ...] = ()
    """What the frames of the input carry that those of the output lack."""

    @property
    def frame_size(self) -> Dimensions:
        """The size of the frames that the encoder receives."""
        return self.upscaled if self.is_stretched else self.size

    @property
    def warnings(self) -> tuple[str, ...]:
        """The losses, each as a message that starts with the output."""
        return tuple(f"{self.job.target_name}: {loss}" for loss in self.losses)

    @property
    def losses(self) -> tuple[str, ...]:
        """What the output will lack."""
        lost = []
        if self.size != self.upscaled and not self.is_stretched:
            lost.append(f"cropped from {self.upscaled} to {self.size} (required by {self.pix_fmt})")
        if self.video.has_alpha and self.output and not supports_alpha(self.pix_fmt):
            lost.append(
                f"left out: transparency (not supported by {self.codec.encoder} with {self.pix_fmt})"
            )
        if self.output and self.streams:
            reason = f"(not supported by {self.output.container.name})"
            if self.streams.unsupported:
                lost.append(f"left out: {', '.join(self.streams.unsupported)} {reason}")
            if self.streams.converted:
                lost.append(f"converted: {', '.join(self.streams.converted)} {reason}")
        if self.side_data:
            lost.append(f"left out: {', '.join(self.side_data)} (stored in frames, which are made anew)")
        if self.streams and self.streams.withheld:
            lost.append(f"left out: {', '.join(self.streams.withheld)} (may contain a location)")
        return tuple(lost)


def plan_video(job: Job, context: RunContext) -> VideoPlan:
    """Decide how a video is upscaled, and try its encoder.

    Raises:
        InputError: The input is not a readable video.
        UsageError: The input is interlaced and `--deinterlace` is not set, the output format does not
            support videos, or the encoder rejects its options.
    """
    options = context.options.video
    video = probe(job.source)
    if video.is_interlaced and not options.deinterlace:
        raise UsageError(f"{job.name}: the video is interlaced: use --deinterlace to build whole frames")
    upscaled = context.upscaler.size.of(video.size)
    span, frames = _span(video, options), _expected_frames(video, options)
    if is_numbered(job.target) and isinstance(job.format, ImageFormat):
        return VideoPlan(
            job=job,
            video=video,
            span=span,
            frames=frames,
            codec=Codec(encoder=job.format.name),
            pix_fmt="rgb24" if video.bits <= 8 else "rgb48le",
            upscaled=upscaled,
            size=upscaled,
            image_format=job.format,
        )
    container = container_of(job.format)
    if container is None:
        raise UsageError(
            f"{job.target_name}: {job.format.name} does not support videos: use a pattern such as "
            "frames/%06d.png to write an image of each frame"
        )
    return _plan_output(
        VideoPlan(
            job=job,
            video=video,
            span=span,
            frames=frames,
            codec=codec_for(video, container, options.encoding),
            pix_fmt="",
            upscaled=upscaled,
            size=upscaled,
        ),
        container,
        context.options,
    )


def _plan_output(plan: VideoPlan, container: Container, options: JobOptions) -> VideoPlan:
    """Decide how the frames are encoded and what is copied besides them, and try both.

    Raises:
        UsageError: The encoder rejects its options, or the container does not support the video.
    """
    video, codec, encoding = plan.video, plan.codec, options.video.encoding
    check_arguments(encoding.arguments)
    pix_fmt = pixel_format_for(video, codec, encoding)
    is_stretched = options.video.square_pixels and video.sample_aspect != 1
    shape = squared(plan.upscaled, video.sample_aspect) if is_stretched else plan.upscaled
    video = replace(video, sample_aspect=Fraction(1)) if is_stretched else video
    size = fitted_size(shape, pix_fmt)
    arguments = encoder_arguments(video, codec, encoding, pix_fmt, size)
    output = Output(container=container, size=size)
    if container.muxer == "gif":
        # A frame of a GIF depends on the one before it, so that segments could not be joined.
        output = replace(output, arguments=tuple(arguments))
        lossless = "bgra" if video.has_alpha else "bgr0"
        arguments = encoder_arguments(video, CODECS["ffv1"], VideoEncoding(), lossless, size)
    if is_stretched:
        arguments = stretching(arguments, size)
    policy = _metadata_policy(options.output)
    frame_size = plan.upscaled if is_stretched else size
    with Trial.encoded(video, arguments, frame_size, output) as trial:
        trial.check_video()
        streams = plan_streams(video, container, policy, trial.accepts, options.video.maps)
    return replace(
        plan,
        video=video,
        pix_fmt=pix_fmt,
        is_stretched=is_stretched,
        size=size,
        arguments=tuple(arguments),
        output=output,
        streams=streams,
        side_data=lost_side_data(video, container),
    )


def _span(video: Video, options: VideoOptions) -> Span:
    def ticks(seconds: float | None) -> int | None:
        return None if seconds is None else video.start + round(seconds / video.time_base)

    return Span(ticks(options.start), ticks(options.end))


def _expected_frames(video: Video, options: VideoOptions) -> int | None:
    if video.frames is None or (options.start is None and options.end is None):
        return video.frames
    seconds = video.frames / video.rate
    length = min(options.end or seconds, seconds) - (options.start or 0)
    return max(0, round(length * video.rate))


def _metadata_policy(options: OutputOptions) -> MetadataPolicy:
    if options.strip:
        return MetadataPolicy.STRIP
    return MetadataPolicy.STRIP_GPS if options.strip_gps else MetadataPolicy.KEEP


def upscale_video(job: Job, context: RunContext) -> Outcome:
    """Upscale a video from file to file.

    The frames are encoded in segments, in a hidden folder beside the output. When all are complete, they
    are joined with everything else of the input. A later run continues after the last complete segment.
    If `context.stop` is set, the current segment is completed first.

    Returns:
        The outcome. Its `error` is set if the input is damaged; the output then ends early.

    Raises:
        Stopped: `context.stop` was set.
        InputError: The input is not a readable video, or has no frame in the requested span.
        UsageError: As `plan_video`, or another process is writing this output.
        OutOfMemoryError: As `Upscaler.upscale`.
        OutputError: The segments or the output cannot be written.
    """
    plan = plan_video(job, context)
    for warning in plan.warnings:
        context.warn(warning)
    maker = _VideoMaker(plan, context)
    try:
        with context.recorded(job):
            if plan.image_format:
                maker.write_images(plan.image_format)
            else:
                maker.write_video()
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{job.name}: {error}") from error
    return Outcome(
        job=job,
        error=maker.reader.damage,
        source_size=plan.video.size,
        target_size=plan.size,
        frames=maker.done,
        seconds=maker.frame_upscaler.seconds,
        peak_memory=context.upscaler.peak_memory(),
        warnings=(*plan.warnings, *maker.warnings),
    )


class _VideoMaker:
    """Writes the output of one video job."""

    def __init__(self, plan: VideoPlan, context: RunContext) -> None:
        self.plan, self.context = plan, context
        self.reader = FrameReader(plan.video, plan.span, context.options.video.deinterlace)
        self.frame_upscaler = FrameUpscaler(context.upscaler, plan.frame_size)
        self.done = 0
        """Number of frames of the output that are complete."""
        self.warnings: list[str] = []

    def write_video(self) -> None:
        """Write the segments that are missing, then join all of them."""
        plan, target = self.plan, self.plan.job.target
        assert plan.output
        assert plan.streams
        with SegmentStore.open(target, self._segment_settings()) as store:
            try:
                self._write_segments(store)
                self._require_frames()
                assemble(plan.video, store.segments, target, plan.output, plan.streams, plan.span)
            except (InputError, UsageError):
                store.remove()  # another run would fail in the same way
                raise
            except (Stopped, RGTError):
                if store.segments:
                    self.context.warn(
                        f"{plan.job.target_name}: {store.frames} frames stay in {store.folder}: repeat "
                        "the command to continue, or delete it"
                    )
                raise
            store.remove()

    def _segment_settings(self) -> SegmentSettings:
        options, upscaler = self.context.options.video, self.context.upscaler
        (width, height), upscaled = self.plan.video.size, self.plan.upscaled
        factor = max(upscaled.width / width, upscaled.height / height)
        passes = [upscaler.upscaler_for(factor) for factor in upscaler.plan_passes(factor)]
        return SegmentSettings(
            source=FileStamp.of(self.plan.job.source),
            passes=tuple(PassSettings.of(one) for one in passes),
            alpha_by_network=upscaler.alpha_by_network,
            size=upscaled,
            arguments=self.plan.arguments,
            span=self.plan.span,
            deinterlace=options.deinterlace,
            segment_seconds=options.segment_seconds,
        )

    def _write_segments(self, store: SegmentStore) -> None:
        video = self.plan.video
        batch_size = self.context.upscaler.batch_size_for(video.size)
        self.done = store.frames
        longest = round(self.context.options.video.segment_seconds / video.time_base)
        with closing(self.reader.read(after=store.last_time)) as frames:
            for _, segment_frames in itertools.groupby(frames, _segment_starts(longest)):
                if self.context.stop.is_set():
                    raise Stopped
                self._write_segment(store, segment_frames, batch_size)

    def _write_segment(self, store: SegmentStore, frames: Iterator[Frame], batch_size: int) -> None:
        plan, path, times = self.plan, store.new_path(), list[int]()
        with (
            BackgroundWriter() as background,
            SegmentWriter(path, plan.video, plan.arguments, plan.frame_size) as writer,
        ):
            while batch := list(itertools.islice(frames, batch_size)):
                for frame in self.frame_upscaler.upscale(batch):
                    background.submit(writer.add, frame)
                    times.append(frame.time)
                    self._report_frame()
            background.flush()
            writer.close()
        check_segment(Segment(path, tuple(times)))
        store.add(path, times)

    def write_images(self, image_format: ImageFormat) -> None:
        """Write an image of each frame that has none yet."""
        job, encoding, skipped = self.plan.job, self.context.options.image.encoding, 0
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with closing(self.reader.read()) as frames, BackgroundWriter() as background:
            for number, frame in enumerate(frames, 1):
                target = numbered_path(job.target, number)
                if target.exists():
                    self.done += 1
                    skipped += 1
                    continue
                (upscaled,) = self.frame_upscaler.upscale([frame])
                self._report_frame()
                images = image_of(upscaled, self.plan.video)
                background.submit(write_images, images, target, image_format, encoding)
                if self.context.stop.is_set():
                    background.flush()
                    raise Stopped
            background.flush()
        self._require_frames()
        if skipped:
            warning = f"{job.target_name}: {skipped} images exist already and were not written again"
            self.warnings.append(warning)
            self.context.warn(warning)

    def _require_frames(self) -> None:
        if not self.done:
            raise self.reader.damage or InputError(f"{self.plan.job.name}: there is no frame to upscale")

    def _report_frame(self) -> None:
        self.done += 1
        self.context.on_progress(self.plan.job, self.done, max(self.plan.frames or 0, self.done))


def _segment_starts(longest: int) -> Callable[[Frame], int]:
    """Return a function that maps consecutive frames to the time at which their segment starts."""
    start: int | None = None

    def start_of(frame: Frame) -> int:
        nonlocal start
        if start is None or frame.time - start >= longest:
            start = frame.time
        return start

    return start_of


def preview_frames(job: Job, context: RunContext, count: int) -> Iterator[Path]:
    """Upscale a few frames, spread evenly over a video, and yield the PNG files they are written to.

    Raises:
        InputError: As `plan_video`, or a frame cannot be read.
        UsageError: As `plan_video`.
        OutOfMemoryError: As `Upscaler.upscale`.
        OutputError: As `write_images`.
    """
    plan, png = plan_video(job, context), format_named("png")
    assert isinstance(png, ImageFormat)
    video = plan.video
    ticks = 1 / (video.rate * video.time_base)
    first = video.start if plan.span.start is None else plan.span.start
    for number in range(1, count + 1):
        index = int((plan.frames or 1) * (number - 0.5) / count)
        after = first + round((index - 0.5) * ticks)
        with closing(read_frames(video, after, context.options.video.deinterlace)) as frames:
            frame = next(frames, None)
        if frame is None:
            raise InputError(f"{job.name}: there is no frame to upscale")
        pixels, alpha = context.upscaler.upscale(frame.pixels, frame.alpha)
        target = job.target.with_name(f"{job.target.stem}_preview{number}.png")
        images = image_of(Frame(frame.time, pixels, alpha), video)
        write_images(images, target, png, context.options.image.encoding)
        yield target
