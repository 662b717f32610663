"""Decide how a video is upscaled before its first frame is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from rgt_cli.errors import InputError, UsageError
from rgt_cli.jobs.job import Job, RunContext
from rgt_cli.jobs.numbered import is_numbered
from rgt_cli.jobs.options import JobOptions, OutputOptions
from rgt_cli.jobs.video.frames import video_of
from rgt_cli.jobs.video.spans import expected_frames, span_of
from rgt_cli.media import Container, ImageFormat, container_of
from rgt_cli.media.video.codecs import CODECS, Codec, VideoEncoding, codec_for
from rgt_cli.media.video.encode import (
    encoder_arguments,
    fitted_size,
    is_hdr,
    pixel_format_for,
    squared,
    stretching,
    supports_alpha,
)
from rgt_cli.media.video.fields import Deinterlacing
from rgt_cli.media.video.images import NumberedVideo
from rgt_cli.media.video.metadata import MetadataPolicy
from rgt_cli.media.video.mux import COPY, Output
from rgt_cli.media.video.probe import Span, Video
from rgt_cli.media.video.resolution import check_size
from rgt_cli.media.video.sampling import is_interlaced
from rgt_cli.media.video.sidedata import lost_side_data
from rgt_cli.media.video.streams import StreamPlan, plan_streams
from rgt_cli.media.video.trial import Trial, check_arguments
from rgt_cli.size import Dimensions

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
    apart: int = 0
    """Ticks that frames of the output are apart at least."""

    @property
    def final_arguments(self) -> tuple[str, ...]:
        """The arguments of ffmpeg that encode the frames as the output contains them."""
        if self.output is None or self.output.arguments == COPY:
            return self.arguments
        return self.output.arguments

    @property
    def frame_size(self) -> Dimensions:
        """The size of the frames that the encoder receives."""
        return self.upscaled if self.is_stretched else self.size

    def no_frames(self) -> InputError:
        """Return the error that the requested part has no frame."""
        video, start = self.video, self.span.start
        length = "" if video.frames is None else f": it lasts {float(video.frames / video.rate):.3f} s"
        part = "" if start is None else " after --start"
        return InputError(f"{self.job.name}: there is no frame to upscale{part}{length}")

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
        return (*lost, *self._losses_of_format())

    def _losses_of_format(self) -> list[str]:
        lost = []
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
        return lost


def plan_video(job: Job, context: RunContext) -> VideoPlan:
    """Decide how a video is upscaled, and try its encoder.

    Raises:
        InputError: The input is not a readable video, or its frames change their size.
        UsageError: The input is interlaced and neither `--deinterlace` nor `--inverse-telecine` is set,
            the output format does not support videos, or the encoder rejects its options.
    """
    options = context.options.video
    video = video_of(job, context.options)
    if video.deinterlacing == Deinterlacing.NONE.value and is_interlaced(video):
        raise UsageError(
            f"{job.name}: the video is interlaced: use --deinterlace to build whole frames, or "
            "--inverse-telecine if it is a film"
        )
    span = span_of(video, options)
    if not isinstance(video, NumberedVideo):
        video = check_size(video, span)
    upscaled = context.upscaler.size.of(video.size)
    frames = expected_frames(video, options)
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
    apart, frames = 0, plan.frames
    if container.muxer == "gif":
        apart = math.ceil(_GIF_DELAY / video.time_base)
        frames = frames and math.ceil(frames / max(1, math.ceil(apart * video.time_base * video.rate)))
        # A frame of a GIF depends on the one before it, so that segments could not be joined.
        output = replace(output, arguments=tuple(arguments))
        lossless = "gbrap16le" if video.has_alpha else "gbrp16le"
        arguments = encoder_arguments(video, CODECS["ffv1"], VideoEncoding(), lossless, size)
    if is_stretched:
        arguments = stretching(arguments, size)
    policy = _metadata_policy(options.output)
    frame_size = plan.upscaled if is_stretched else size
    may_drop_frames = codec not in CODECS.values() or bool(encoding.arguments)
    with Trial.encoded(video, arguments, frame_size, output, may_drop_frames) as trial:
        trial.check_video()
        streams = plan_streams(video, container, policy, trial.accepts, options.video.maps)
    return replace(
        plan,
        video=video,
        frames=frames,
        pix_fmt=pix_fmt,
        is_stretched=is_stretched,
        size=size,
        arguments=tuple(arguments),
        output=output,
        streams=streams,
        side_data=lost_side_data(video, container),
        apart=apart,
    )


def _metadata_policy(options: OutputOptions) -> MetadataPolicy:
    if options.strip:
        return MetadataPolicy.STRIP
    return MetadataPolicy.STRIP_GPS if options.strip_gps else MetadataPolicy.KEEP
