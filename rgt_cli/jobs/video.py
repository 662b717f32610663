"""Upscale one video, in segments that survive an interruption."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from rgt_cli.errors import InputError, OutOfMemoryError, UsageError
from rgt_cli.files import FileStamp
from rgt_cli.jobs.frames import FrameReader, FrameUpscaler, image_of, is_numbered, numbered_path
from rgt_cli.jobs.job import Job, Outcome, RunContext, Stopped
from rgt_cli.jobs.options import OutputOptions
from rgt_cli.jobs.pipeline import BackgroundWriter
from rgt_cli.jobs.segments import PassSettings, SegmentSettings, SegmentStore
from rgt_cli.jobs.spans import deinterlacing_of, expected_frames, span_of
from rgt_cli.media import Container, ImageFormat, container_of, format_named, write_images
from rgt_cli.media.video.codecs import Codec, codec_for
from rgt_cli.media.video.decode import Frame, ReadReport, read_frames
from rgt_cli.media.video.encode import (
    SegmentWriter,
    encoder_arguments,
    fitted_size,
    pixel_format_for,
    supports_alpha,
    try_encoder,
)
from rgt_cli.media.video.fields import Deinterlacing, deinterlaced
from rgt_cli.media.video.metadata import MetadataPolicy
from rgt_cli.media.video.mux import assemble
from rgt_cli.media.video.probe import Span, Video, probe
from rgt_cli.media.video.sampling import count_frames, is_interlaced
from rgt_cli.media.video.streams import StreamPlan, plan_streams
from rgt_cli.media.video.timeline import without_jumps
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
    """Size of the output: that of the upscaled frames, cropped to what the pixel format supports."""
    arguments: tuple[str, ...] = ()
    """Arguments of ffmpeg that encode the frames; empty if each frame becomes an image."""
    image_format: ImageFormat | None = None
    """The format of the images if each frame becomes an image, else None."""
    container: Container | None = None
    """The format of the output video; None if each frame becomes an image."""
    streams: StreamPlan | None = None
    """What is copied besides the frames; None if each frame becomes an image."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The losses, each as a message that starts with the output."""
        return tuple(f"{self.job.target_name}: {loss}" for loss in self.losses)

    @property
    def losses(self) -> tuple[str, ...]:
        """What the output will lack."""
        lost = []
        if self.size != self.upscaled:
            lost.append(f"cropped from {self.upscaled} to {self.size} (required by {self.pix_fmt})")
        if self.video.has_alpha and self.container and not supports_alpha(self.pix_fmt):
            lost.append(
                f"left out: transparency (not supported by {self.codec.encoder} with {self.pix_fmt})"
            )
        if self.container and self.streams and self.streams.unsupported:
            names = ", ".join(self.streams.unsupported)
            lost.append(f"left out: {names} (not supported by {self.container.name})")
        if self.streams and self.streams.withheld:
            lost.append(f"left out: {', '.join(self.streams.withheld)} (may contain a location)")
        return tuple(lost)


def plan_video(job: Job, context: RunContext) -> VideoPlan:
    """Decide how a video is upscaled, and try its encoder.

    Raises:
        InputError: The input is not a readable video.
        UsageError: The input is interlaced and neither `--deinterlace` nor `--inverse-telecine` is set,
            the span is empty, the output format does not support videos, or the encoder rejects its
            options.
    """
    options = context.options.video
    mode = deinterlacing_of(options)
    video = deinterlaced(probe(job.source), mode)
    if mode is Deinterlacing.NONE and is_interlaced(video):
        raise UsageError(
            f"{job.name}: the video is interlaced: use --deinterlace to build whole frames, or "
            "--inverse-telecine if it is a film"
        )
    upscaled = context.upscaler.size.of(video.size)
    span, frames = span_of(video, options), expected_frames(video, options)
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
    codec = codec_for(video, container, options.encoding)
    pix_fmt = pixel_format_for(video, codec, options.encoding)
    size = fitted_size(upscaled, pix_fmt)
    arguments = encoder_arguments(video, codec, options.encoding, pix_fmt, size)
    try_encoder(arguments, size, video.has_alpha)
    return VideoPlan(
        job=job,
        video=video,
        span=span,
        frames=frames,
        codec=codec,
        pix_fmt=pix_fmt,
        upscaled=upscaled,
        size=size,
        arguments=tuple(arguments),
        container=container,
        streams=plan_streams(video, container, _metadata_policy(context.options.output)),
    )


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
        self.reader = FrameReader(plan.video, plan.span, ReadReport(self._warn))
        self.frame_upscaler = FrameUpscaler(context.upscaler, plan.size)
        self.done = 0
        """Number of frames of the output that are complete."""
        self.warnings: list[str] = []

    def write_video(self) -> None:
        """Write the segments that are missing, then join all of them."""
        plan, target = self.plan, self.plan.job.target
        assert plan.container
        assert plan.streams
        with (
            SegmentStore.open(target, self._segment_settings()) as store,
            without_jumps(plan.video, store.folder, self._warn) as video,
        ):
            self._use(video)
            self._write_segments(store)
            self._require_frames()
            video = replace(video, end=self._end())
            assemble(video, store.segments, target, plan.container, plan.streams, self.plan.span)
            store.remove()

    def _use(self, video: Video) -> None:
        """Read the frames from a video that differs from the input in its times."""
        if video is not self.plan.video:
            span = span_of(video, self.context.options.video)
            self.plan = replace(self.plan, video=video, span=span, frames=video.frames)
            self.reader = FrameReader(video, span, ReadReport(self._warn))

    def _end(self) -> int | None:
        """Return when the last frame of the output ends, in ticks of the input."""
        ends = [end for end in (self.reader.report.end, self.plan.span.end) if end is not None]
        return min(ends, default=None)

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
            deinterlacing=self.plan.video.deinterlacing,
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
            SegmentWriter(path, plan.video, plan.arguments, plan.size) as writer,
        ):
            while batch := list(itertools.islice(frames, batch_size)):
                for frame in self.frame_upscaler.upscale(batch):
                    background.submit(writer.add, frame)
                    times.append(frame.time)
                    self._report_frame()
            background.flush()
            writer.close()
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
            self._warn(f"{job.target_name}: {skipped} images exist already and were not written again")

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        self.context.warn(message)

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
    expected = plan.frames
    if expected is None:
        expected = expected_frames(replace(video, frames=count_frames(video)), context.options.video)
    ticks = 1 / (video.rate * video.time_base)
    first = video.start if plan.span.start is None else plan.span.start
    for number in range(1, count + 1):
        index = int((expected or 1) * (number - 0.5) / count)
        after = first + round((index - 0.5) * ticks)
        with closing(read_frames(video, after)) as frames:
            frame = next(frames, None)
        if frame is None:
            raise InputError(f"{job.name}: there is no frame to upscale")
        pixels, alpha = context.upscaler.upscale(frame.pixels, frame.alpha)
        target = job.target.with_name(f"{job.target.stem}_preview{number}.png")
        images = image_of(Frame(frame.time, pixels, alpha), video)
        write_images(images, target, png, context.options.image.encoding)
        yield target
