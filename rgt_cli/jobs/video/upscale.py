"""Upscale one video, in segments that survive an interruption."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rgt_cli.errors import InputError, OutOfMemoryError, RGTError, UsageError
from rgt_cli.jobs.job import Job, Outcome, RunContext, Stopped
from rgt_cli.jobs.numbered import FrameImages
from rgt_cli.jobs.pipeline import BackgroundWriter
from rgt_cli.jobs.video.frames import FrameReader, FrameUpscaler, image_of
from rgt_cli.jobs.video.plan import VideoPlan, plan_video
from rgt_cli.jobs.video.segments import PassSettings, SegmentSettings, SegmentStore
from rgt_cli.jobs.video.spans import SegmentGrid, span_of
from rgt_cli.media import ImageFormat, write_images
from rgt_cli.media.video.decode import Frame, ReadReport
from rgt_cli.media.video.encode import SegmentWriter
from rgt_cli.media.video.join import Segment, check_segment
from rgt_cli.media.video.mux import assemble
from rgt_cli.media.video.probe import Span, Video
from rgt_cli.media.video.resolution import FrameSizeError
from rgt_cli.media.video.timeline import without_jumps


def upscale_video(job: Job, context: RunContext) -> Outcome:
    """Upscale a video from file to file.

    The frames are encoded in segments, in a hidden folder beside the output. When all are complete, they
    are joined with everything else of the input. A later run continues after the last complete segment.
    If `context.stop` is set, the current segment is completed first.

    Returns:
        The outcome. Its `error` is set if the input is damaged; the output then ends early.

    Raises:
        Stopped: `context.stop` was set.
        InputError: The input is not a readable video, has no frame in the requested span, or its frames
            change their size.
        UsageError: As `plan_video`, or another process is writing this output.
        OutOfMemoryError: As `NetworkUpscaler.upscale`.
        OutputError: The segments or the output cannot be written.
    """
    plan = plan_video(job, context)
    for warning in plan.warnings:
        context.warn(warning)
    maker = VideoMaker(plan, context)
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


def _fails_again(error: Exception) -> bool:
    """Return whether another run would fail in the same way, so that its segments are of no use."""
    # A run that ends before the first frame of another size continues.
    return isinstance(error, (InputError, UsageError)) and not isinstance(error, FrameSizeError)


class VideoMaker:
    """Writes the output of one video job.

    Args:
        plan: What is decided about the video.
        context: The run.
    """

    def __init__(self, plan: VideoPlan, context: RunContext) -> None:
        self.plan, self.context = plan, context
        self.reader = FrameReader(plan.video, plan.span, ReadReport(self._warn), plan.apart)
        self.frame_upscaler = FrameUpscaler(context.upscaler, plan.frame_size)
        self.done = 0
        """Number of frames of the output that are complete."""
        self.warnings: list[str] = []

    def write_video(self) -> None:
        """Write the segments that are missing, then join all of them."""
        plan, target = self.plan, self.plan.job.target
        assert plan.output
        assert plan.streams
        with SegmentStore.open(target, self.segment_settings()) as store:
            store.report(plan.job, plan.frames, self.context)
            try:
                with without_jumps(plan.video, store.folder, self._warn) as video:
                    self.use(video)
                    self._write_segments(store)
                    self._require_frames()
                    video = replace(self.plan.video, end=self._end())
                    output = replace(plan.output, ends_early=self.reader.damage is not None)
                    assemble(video, store.segments, target, output, plan.streams, self.plan.span)
            except (Stopped, RGTError) as error:
                if _fails_again(error):
                    store.remove()
                elif store.segments:
                    self.context.warn(
                        f"{plan.job.target_name}: {store.frames} frames stay in {store.folder}: repeat "
                        "the command to continue, or delete it"
                    )
                raise
            store.remove()

    def use(self, video: Video) -> None:
        """Read the frames from a video that differs from the input in its times."""
        if video is not self.plan.video:
            span = span_of(video, self.context.options.video)
            self.plan = replace(self.plan, video=video, span=span, frames=video.frames)
            self.reader = FrameReader(video, span, ReadReport(self._warn), self.plan.apart)

    def _end(self) -> int | None:
        """Return when the last frame of the output ends, in ticks of the input."""
        ends = [end for end in (self.reader.report.end, self.plan.span.end) if end is not None]
        return min(ends, default=None)

    def segment_settings(self) -> SegmentSettings:
        """Return what the segments depend on."""
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
            deinterlacing=self.plan.video.deinterlacing,
            segment_seconds=options.segment_seconds,
        )

    def _write_segments(self, store: SegmentStore) -> None:
        video = self.plan.video
        batch_size = self.context.upscaler.batch_size_for(video.size)
        self.done = store.frames
        grid = SegmentGrid.of(video, self.plan.span, self.context.options.video.segment_seconds)
        with closing(self.reader.read(after=store.last_time)) as frames:
            for _, segment_frames in itertools.groupby(frames, lambda frame: grid.index(frame.time)):
                if self.context.stop.is_set():
                    raise Stopped
                self._write_segment(store, segment_frames, batch_size)

    def _write_segment(self, store: SegmentStore, frames: Iterator[Frame], batch_size: int) -> None:
        path = store.new_path()
        store.add(path, self.encode(frames, path, batch_size))

    def encode(self, frames: Iterator[Frame], path: Path, batch_size: int) -> list[int]:
        """Upscale frames into a file that is a segment, and return their times.

        Raises:
            InputError, OutOfMemoryError, OutputError: As `upscale_video`.
        """
        plan, times = self.plan, list[int]()
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
        return times

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
            self._warn(f"{job.target_name}: {skipped} images exist already and were not written again")

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        self.context.warn(message)

    def _image_settings(self) -> dict[str, Any]:
        """Return what the images of frames depend on; the end is only how many there are."""
        span = Span(self.plan.span.start)
        settings = replace(self.segment_settings(), span=span, segment_seconds=0).to_json()
        image = self.context.options.image
        return settings | {"encoding": asdict(image.encoding), "bits": image.bits}

    def _require_frames(self) -> None:
        if not self.done:
            raise self.reader.damage or self.plan.no_frames()

    def _report_frame(self) -> None:
        self.done += 1
        self.context.on_progress(self.plan.job, self.done, max(self.plan.frames or 0, self.done))
