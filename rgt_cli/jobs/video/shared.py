"""A video whose segments are computed by several workers, and joined by the driver."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from rgt_cli.errors import InputError, RGTError
from rgt_cli.jobs.failures import failures_of
from rgt_cli.jobs.job import Job, Outcome, RunContext
from rgt_cli.jobs.video.frames import FrameReader
from rgt_cli.jobs.video.plan import VideoPlan, plan_video
from rgt_cli.jobs.video.segments import SegmentStore
from rgt_cli.jobs.video.spans import SegmentGrid
from rgt_cli.jobs.video.upscale import VideoMaker
from rgt_cli.media.video.decode import ReadReport
from rgt_cli.media.video.mux import assemble
from rgt_cli.media.video.probe import Span
from rgt_cli.media.video.timeline import without_jumps

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SegmentTask:
    """One segment of a video that a worker computes. The last one has all frames until the end."""

    plan: VideoPlan
    index: int
    span: Span
    """The part of the input that is read."""
    path: Path
    """Where its files are written, with `.N` at the end of the name."""


@dataclass(frozen=True, kw_only=True)
class SegmentResult:
    """What a worker computed for a `SegmentTask`."""

    segments: list[tuple[Path, list[int]]] = field(default_factory=list)
    """The file and the times of the frames of each segment; the last task may have several."""
    error: RGTError | None = None
    """Why nothing was computed."""
    damage: str = ""
    """What is wrong with the input; empty if nothing is known."""
    end: int | None = None
    """When the last frame that was decoded ends, in ticks."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    """Time spent computing."""


def compute_segment(task: SegmentTask, context: RunContext) -> SegmentResult:
    """Compute one segment of a video, from the input to files beside the other segments."""
    warnings: list[str] = []
    video, seconds = task.plan.video, context.options.video.segment_seconds
    grid = SegmentGrid.of(video, task.plan.span, seconds)
    frames_in_all = round(grid.length * video.rate * video.time_base)
    plan = replace(task.plan, span=task.span, frames=frames_in_all)
    context = replace(context.for_job(plan.job), warn=warnings.append)
    maker = VideoMaker(plan, context)
    reader = FrameReader(video, task.span, ReadReport(warnings.append), plan.apart)
    batch_size = context.upscaler.batch_size_for(plan.video.size)
    segments: list[tuple[Path, list[int]]] = []
    try:
        with failures_of(plan.job), closing(reader.read()) as frames:
            by_segment = itertools.groupby(frames, lambda frame: grid.index(frame.time))
            for number, (_, group) in enumerate(by_segment):
                path = task.path.with_name(f"{task.path.name}.{number}.part")
                segments.append((path, maker.encode(group, path, batch_size)))
    except RGTError as error:
        return SegmentResult(error=error, warnings=tuple(warnings))
    found = [f"{plan.video.path}: the video is damaged: {error}" for error in reader.report.errors]
    found = [str(reader.damage)] if reader.damage else found
    return SegmentResult(
        segments=segments,
        damage=found[0] if found else "",
        end=reader.report.end,
        warnings=tuple(dict.fromkeys(warnings)),
        seconds=maker.frame_upscaler.seconds,
    )


class SharedVideo:
    """A video job of which workers compute the segments. Call `close` in the end.

    Args:
        job: The job.
        context: The run, with an upscaler that describes how workers compute.

    Raises:
        RGTError: As `upscale_video`, before the first frame is computed.
    """

    def __init__(self, job: Job, context: RunContext) -> None:
        self.job, self._context = job, context.for_job(job)
        self._stack = ExitStack()
        plan = plan_video(job, self._context)
        self._maker = VideoMaker(plan, self._context)
        for warning in plan.warnings:
            context.warn(warning)
        store = SegmentStore.open(job.target, self._maker.segment_settings())
        self._store = self._stack.enter_context(store)
        self._store.report(job, plan.frames, context)
        try:
            jumpless = without_jumps(plan.video, self._store.folder, context.warn)
            self._maker.use(self._stack.enter_context(jumpless))
        except BaseException:
            self.close()
            raise
        self.plan = self._maker.plan
        self._grid = SegmentGrid.of(
            self.plan.video, self.plan.span, context.options.video.segment_seconds
        )
        last = self._store.last_time
        self._next = 0 if last is None else self._grid.index(last) + 1
        """The first segment that is not in the store."""
        self._count = max(self._next + 1, self._grid.count(self.plan.video, self.plan.frames))
        self._results: dict[int, SegmentResult] = {}
        """The results that wait for an earlier one."""
        self._warnings: list[str] = []
        self._damage = ""
        self._end: int | None = None
        self._seconds = 0.0

    def tasks(self) -> Iterator[SegmentTask]:
        """Yield what is to be computed, in order."""
        for index in range(self._next, self._count):
            span = self._grid.span(index)
            end = self.plan.span.end
            if index < self._count - 1:
                end = span.end if end is None else min(end, span.end or end)
            start = self.plan.span.start if index == 0 else span.start
            path = self._store.new_path()
            yield SegmentTask(plan=self.plan, index=index, span=Span(start, end), path=path)

    def add(self, task: SegmentTask, result: SegmentResult) -> bool:
        """Take a result, and return whether all are there.

        Raises:
            RGTError: The segment could not be computed, or not be stored.
        """
        if result.error:
            raise result.error
        self._results[task.index] = result
        while (ready := self._results.pop(self._next, None)) is not None:
            for path, times in ready.segments:
                self._store.add(path, times)
            self._seconds += ready.seconds
            self._damage = self._damage or ready.damage
            self._end = ready.end if ready.segments else self._end
            self._next += 1
            for warning in ready.warnings:
                if warning not in self._warnings:
                    self._warnings.append(warning)
                    self._context.warn(warning)
        self._context.on_progress(self.job, self._store.frames, self.plan.frames or self._store.frames)
        return self._next == self._count

    def finish(self) -> Outcome:
        """Join the segments with all else of the input.

        Raises:
            InputError: There is no frame.
            OutputError: The output cannot be written.
        """
        plan, store = self.plan, self._store
        assert plan.output
        assert plan.streams
        damage = InputError(self._damage) if self._damage else None
        if not store.segments:
            raise damage or plan.no_frames()
        ends = [end for end in (self._end, plan.span.end) if end is not None]
        video = replace(plan.video, end=min(ends, default=None))
        with self._context.recorded(self.job):
            assemble(video, store.segments, self.job.target, plan.output, plan.streams, plan.span)
        frames = store.frames
        store.remove()
        return Outcome(
            job=self.job,
            error=damage,
            source_size=plan.video.size,
            target_size=plan.size,
            frames=frames,
            seconds=self._seconds,
            warnings=(*plan.warnings, *self._warnings),
        )

    def close(self) -> None:
        """Release the segments; those that are in the store are used by the next run."""
        self._stack.close()
