"""Single frames of a video: samples of its upscaled version, and those at given times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rgt_cli.errors import InputError
from rgt_cli.jobs.job import Job, RunContext
from rgt_cli.jobs.options import VideoOptions
from rgt_cli.jobs.video.frames import frames_of, image_of
from rgt_cli.jobs.video.plan import plan_video
from rgt_cli.jobs.video.spans import expected_frames, span_of
from rgt_cli.media import ImageFormat, format_named, write_images
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.probe import Span, Video
from rgt_cli.media.video.resolution import check_size
from rgt_cli.media.video.sampling import count_frames


def preview_frames(job: Job, context: RunContext, count: int) -> Iterator[Path]:
    """Upscale a few frames, spread evenly over a video, and yield the PNG files they are written to.

    Raises:
        InputError: As `plan_video`, or a frame cannot be read.
        UsageError: As `plan_video`.
        OutOfMemoryError: As `NetworkUpscaler.upscale`.
        OutputError: As `write_images`.
    """
    plan, png = plan_video(job, context), format_named("png")
    assert isinstance(png, ImageFormat)
    video = plan.video
    frames_in_all = plan.frames
    if frames_in_all is None:
        frames_in_all = expected_frames(
            replace(video, frames=count_frames(video)), context.options.video
        )
    if frames_in_all and count > frames_in_all:
        context.warn(f"{job.name}: has {frames_in_all} frames, not {count}")
        count = frames_in_all
    ticks = 1 / (video.rate * video.time_base)
    first = video.start if plan.span.start is None else plan.span.start
    for number in range(1, count + 1):
        index = int((frames_in_all or 1) * (number - 0.5) / count)
        after = first + round((index - 0.5) * ticks)
        with closing(frames_of(video, after)) as frames:
            frame = next(frames, None)
        if frame is None:
            raise plan.no_frames()
        pixels, alpha = context.upscaler.upscale(frame.pixels, frame.alpha)
        target = job.target.with_name(f"{job.target.stem}_preview{number}.png")
        images = image_of(Frame(frame.time, pixels, alpha), video, context.options.image.bits)
        write_images(images, target, png, context.options.image.encoding)
        yield target


def frame_at(video: Video, seconds: float) -> Frame:
    """Return the first frame that is shown at a time or after it, as `--start` counts it.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    start = span_of(video, VideoOptions(start=seconds)).start
    assert start is not None
    video = check_size(video, Span(start, start + 1))
    with closing(frames_of(video, start - 1)) as frames:
        frame = next(frames, None)
    if frame is None:
        length = f": it lasts {float(video.frames / video.rate):.2f} s" if video.frames else ""
        raise InputError(f"{video.name}: there is no frame at {seconds:g} s{length}")
    return frame
