"""Upscale one video, in segments that survive an interruption."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from rgt_cli.errors import InputError, OutOfMemoryError, UsageError
from rgt_cli.jobs.frames import FrameReader, FrameUpscaler, image_of, video_of
from rgt_cli.jobs.job import Job, Outcome, RunContext, Stopped
from rgt_cli.jobs.numbered import FrameImages, is_numbered
from rgt_cli.jobs.options import OutputOptions, VideoOptions
from rgt_cli.jobs.pipeline import BackgroundWriter
from rgt_cli.jobs.segments import PassSettings, SegmentSettings, SegmentStore
from rgt_cli.media import Container, ImageFormat, container_of, write_images
from rgt_cli.media.video.codecs import Codec, codec_for
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.encode import (
    SegmentWriter,
    encoder_arguments,
    fitted_size,
    is_hdr,
    pixel_format_for,
    supports_alpha,
    try_encoder,
)
from rgt_cli.media.video.images import NumberedVideo
from rgt_cli.media.video.metadata import MetadataPolicy
from rgt_cli.media.video.mux import assemble
from rgt_cli.media.video.probe import Span, Video
from rgt_cli.media.video.streams import StreamPlan, plan_streams
from rgt_cli.size import Dimensions

logger = logging.getLogger(__name__)

_GIF_DELAY = Fraction(2, 100)
"""Seconds that a frame of a GIF is shown at least: browsers show it for a tenth of a second if less."""


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
    apart: int = 0
    """Ticks that frames of the output are apart at least."""

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
        if self.apart and self.video.rate * _GIF_DELAY > 1:
            lost.append(f"left out: frames beyond {1 / _GIF_DELAY} a second (not supported by gif)")
        if isinstance(self.video, NumberedVideo) and self.video.has_profile:
            lost.append("left out: the ICC profile of the images (not supported by videos)")
        if self.apart and is_hdr(self.video.color):
            lost.append("the colors are reduced from HDR to SDR (required by gif)")
        if self.image_format and self.image_format.name != "png":
            untold = {"the HDR color tags": is_hdr(self.video.color),
                      "the pixel aspect ratio": self.video.sample_aspect != 1}  # fmt: skip
            if names := ", ".join(name for name, is_lost in untold.items() if is_lost):
                lost.append(f"left out: {names} (not supported by {self.image_format.name}, but by png)")
        return tuple(lost)


def plan_video(job: Job, context: RunContext) -> VideoPlan:
    """Decide how a video is upscaled, and try its encoder.

    Raises:
        InputError: The input is not a readable video.
        UsageError: The input is interlaced and `--deinterlace` is not set, the output format does not
            support videos, or the encoder rejects its options.
    """
    options = context.options.video
    video = video_of(job, context.options)
    if video.is_interlaced and not options.deinterlace:
        raise UsageError(f"{job.name}: the video is interlaced: use --deinterlace to build whole frames")
    upscaled = context.upscaler.size.of(video.size)
    span, frames = _span(video, options), _expected_frames(video, options)
    if is_numbered(job.target) and isinstance(job.format, ImageFormat):
        options.check_for_images()
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
    apart = math.ceil(_GIF_DELAY / video.time_base) if container.muxer == "gif" else 0
    return VideoPlan(
        job=job,
        video=video,
        span=span,
        frames=frames and math.ceil(frames / max(1, math.ceil(apart * video.time_base * video.rate))),
        codec=codec,
        pix_fmt=pix_fmt,
        upscaled=upscaled,
        size=size,
        arguments=tuple(arguments),
        container=container,
        streams=plan_streams(video, container, _metadata_policy(context.options.output)),
        apart=apart,
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
        self.reader = FrameReader(plan.video, plan.span, context.options.video.deinterlace, plan.apart)
        self.frame_upscaler = FrameUpscaler(context.upscaler, plan.size)
        self.done = 0
        """Number of frames of the output that are complete."""
        self.warnings: list[str] = []

    def write_video(self) -> None:
        """Write the segments that are missing, then join all of them."""
        plan, target = self.plan, self.plan.job.target
        assert plan.container
        assert plan.streams
        with SegmentStore.open(target, self._segment_settings()) as store:
            self._write_segments(store)
            self._require_frames()
            assemble(plan.video, store.segments, target, plan.container, plan.streams, plan.span)
            store.remove()

    def _segment_settings(self) -> SegmentSettings:
        options, upscaler = self.context.options.video, self.context.upscaler
        (width, height), upscaled = self.plan.video.size, self.plan.upscaled
        factor = max(upscaled.width / width, upscaled.height / height)
        passes = [upscaler.upscaler_for(factor) for factor in upscaler.plan_passes(factor)]
        return SegmentSettings(
            source=self.plan.job.stamp,
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
        job, options, skipped = self.plan.job, self.context.options, 0
        encoding = options.image.encoding
        job.target.parent.mkdir(parents=True, exist_ok=True)
        images_of_frames = FrameImages(job.target, self._image_settings(), options.existing)
        with closing(self.reader.read()) as frames, BackgroundWriter() as background:
            for number, frame in enumerate(frames, 1):
                target = images_of_frames.missing(number)
                if target is None:
                    self.done += 1
                    skipped += 1
                    continue
                (upscaled,) = self.frame_upscaler.upscale([frame])
                self._report_frame()
                images = image_of(upscaled, self.plan.video, options.image.bits)
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

    def _image_settings(self) -> dict[str, Any]:
        """Return what the images of frames depend on; the end is only how many there are."""
        span = Span(self.plan.span.start)
        settings = replace(self._segment_settings(), span=span, segment_seconds=0).to_json()
        image = self.context.options.image
        return settings | {"encoding": asdict(image.encoding), "bits": image.bits}

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
