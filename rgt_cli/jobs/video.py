"""One film into a larger one, in segments that survive whatever interrupts the run."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rgt_cli.errors import InputError, UsageError
from rgt_cli.jobs.image import ProgressCallback, Recipe
from rgt_cli.jobs.journal import stamp
from rgt_cli.jobs.pipeline import BackgroundWriter, Prefetcher
from rgt_cli.jobs.plan import Job
from rgt_cli.jobs.segments import SegmentStore
from rgt_cli.media import ImageSequence, Metadata, Picture, format_named, write_images
from rgt_cli.media.video.codecs import Codec, codec_for
from rgt_cli.media.video.decode import Frame, read_frames
from rgt_cli.media.video.encode import (
    SegmentWriter,
    encoder_arguments,
    fitted_size,
    keeps_alpha,
    pixel_format_for,
    try_encoder,
)
from rgt_cli.media.video.mux import assemble, unsupported_streams
from rgt_cli.media.video.probe import Video, probe
from rgt_cli.size import Dimensions

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler

_NUMBERED = re.compile(r"%0?\d*d")


@dataclass(frozen=True)
class VideoPlan:
    """All that is decided before the first frame of a film is computed."""

    video: Video
    codec: Codec
    pix_fmt: str
    enlarged: tuple[int, int]
    """Width and height that the network's frames have, in pixels."""
    size: tuple[int, int]
    """Width and height that are encoded: what the pixel format cannot hold is cut off."""
    arguments: list[str]
    """What the encoder is told."""
    span: tuple[int | None, int | None]
    """From when until when, in ticks of the source's time base."""
    frames: int | None
    """How many there will be, as far as is known."""
    warnings: tuple[str, ...]
    """What will be lost."""


class Stopped(Exception):  # noqa: N818 - a signal, no error
    """A person stopped the run before a film was whole; its segments are kept."""


@dataclass
class VideoResult:
    """What became of a film."""

    source_size: tuple[int, int]
    target_size: tuple[int, int]
    frames: int = 0
    seconds: float = 0.0
    """Spent on computing, in this run."""
    warnings: tuple[str, ...] = ()
    damage: InputError | None = None
    """Why frames may be missing from the source; None if it is whole."""


def plan_video(job: Job, recipe: Recipe, upscaler: MultiPassUpscaler) -> VideoPlan:
    """Decide how a film is made, and refuse what cannot be.

    Raises:
        InputError: the source is no film.
        UsageError: it is interlaced and nobody said what to do about it; the encoder refuses.
    """
    video, film = probe(job.source), recipe.film
    if video.is_interlaced and not film.deinterlace:
        raise UsageError(f"{job.source}: is interlaced; pass --deinterlace to make whole frames of it")
    span = (
        None if film.start is None else video.start + round(film.start / video.time_base),
        None if film.end is None else video.start + round(film.end / video.time_base),
    )
    frames = video.frames
    if frames is not None and span != (None, None):
        length = min(film.end or frames / video.rate, frames / video.rate) - (film.start or 0)
        frames = max(0, round(length * video.rate))
    enlarged = upscaler.size.of(Dimensions(video.width, video.height))
    lost = []
    if is_numbered(job.target):
        plain = Codec("png")
        return VideoPlan(video, plain, "rgb48le", enlarged, enlarged, [], span, frames, ())
    if job.format.muxer is None:
        raise UsageError(f"{job.target}: is a picture; write frames/%06d.png for every frame of a film")
    codec = codec_for(video, job.format, film.encoding)
    pix_fmt = pixel_format_for(video, codec, film.encoding)
    size = fitted_size(*enlarged, pix_fmt)
    if size != enlarged:
        cut = "{}x{}".format(*enlarged), "{}x{}".format(*size)
        lost.append(f"{cut[0]} pixels are cut to {cut[1]}, for {pix_fmt}")
    if video.has_alpha and not keeps_alpha(pix_fmt):
        lost.append(f"its transparency, which {codec.encoder} with {pix_fmt} does not hold")
    streams = unsupported_streams(video, job.format)
    if streams:
        lost.append(f"{job.format.name} cannot hold {', '.join(streams)}, left out")
    arguments = encoder_arguments(video, codec, film.encoding, pix_fmt, size)
    try_encoder(arguments, size, video.has_alpha)
    warnings = tuple(f"{job.target}: {loss}" for loss in lost)
    return VideoPlan(video, codec, pix_fmt, enlarged, size, arguments, span, frames, warnings)


def is_numbered(target: Path) -> bool:
    """Whether a target stands for a picture of every frame: frames/%06d.png."""
    return bool(_NUMBERED.search(target.name))


def numbered(target: Path, number: int) -> Path:
    """The picture of one frame."""
    return target.with_name(_NUMBERED.sub(lambda place: place[0] % number, target.name, count=1))


def upscale_video(
    job: Job,
    recipe: Recipe,
    upscaler: MultiPassUpscaler,
    report: ProgressCallback,
    stop: threading.Event | None = None,
    warn: Callable[[str], None] = lambda warning: None,
) -> VideoResult:
    """Enlarge one film from file to file.

    It is made in segments, which lie in a hidden folder beside the target until that is whole; a later
    run goes on after the last of them.

    Args:
        report: told of (frames done, in all).
        stop: when it is set, the segment in hand is finished.
        warn: told, before the start, of what will be lost.

    Raises:
        Stopped: by `stop`.
        InputError, UsageError: as `plan_video`; there is not a single frame.
        OutOfMemoryError: as `Upscaler.upscale` says.
        OutputError: the segments or the target cannot be written.
    """
    plan = plan_video(job, recipe, upscaler)
    for warning in plan.warnings:
        warn(warning)
    result = VideoResult((plan.video.width, plan.video.height), plan.size, warnings=plan.warnings)
    making = _VideoJob(plan, recipe, upscaler, report, result, stop or threading.Event())
    if is_numbered(job.target):
        there = making.pictures(job)
        if there:
            warn(f"{job.target}: {there} pictures were there already and stay as they are")
        return result
    with SegmentStore(job.target, making.settings(job)) as work:
        making.segments(work)
        if not work.segments:
            raise result.damage or InputError(f"{job.source}: there is no frame to enlarge")
        assemble(plan.video, work.segments, job.target, job.format, plan.span)
        work.remove()
    return result


@dataclass
class _VideoJob:
    """The making of one film."""

    plan: VideoPlan
    recipe: Recipe
    upscaler: MultiPassUpscaler
    report: ProgressCallback
    result: VideoResult
    stop: threading.Event
    _before: Frame | None = None
    _after: tuple[np.ndarray, np.ndarray | None] | None = None

    def settings(self, job: Job) -> dict[str, Any]:
        """What the segments depend on."""
        video, (width, height) = self.plan.video, self.plan.enlarged
        factor = max(width / video.width, height / video.height)
        upscalers = [self.upscaler.upscaler(step) for step in self.upscaler.steps(factor)]
        return {
            "source": stamp(job.source),
            "models": [[u.name, str(u.dtype), u.tile, u.overlap, u.self_ensemble] for u in upscalers],
            "size": list(self.plan.enlarged),
            "arguments": self.plan.arguments,
            "span": list(self.plan.span),
            "deinterlace": self.recipe.film.deinterlace,
            "segment_seconds": self.recipe.film.segment_seconds,
        }

    def segments(self, work: SegmentStore) -> None:
        """Make the segments that are missing."""
        plan = self.plan
        longest = round(self.recipe.film.segment_seconds / plan.video.time_base)
        last = work.segments[-1].times[-1] if work.segments else None
        self.result.frames = work.frames
        writer: SegmentWriter | None = None
        partial, times, batch = Path(), list[int](), list[Frame]()
        at_once = self.upscaler.batch_size(plan.video.width, plan.video.height)

        def flush() -> None:
            assert writer
            for frame, (pixels, alpha) in zip(batch, self._enlarged(batch), strict=True):
                later.submit(writer.add, frame.time, pixels, alpha)
            batch.clear()

        with BackgroundWriter() as later:
            try:
                for frame in self._frames(last):
                    if writer and frame.time - times[0] >= longest:
                        flush()
                        later.flush()
                        writer.close()
                        work.add(partial, times)
                        writer = None
                        if self.stop.is_set():
                            raise Stopped
                    if writer is None:
                        partial, times = work.new_segment(), []
                        writer = SegmentWriter(partial, plan.video, plan.arguments, plan.size)
                    times.append(frame.time)
                    batch.append(frame)
                    if len(batch) == at_once:
                        flush()
                if writer:
                    flush()
                    later.flush()
                    writer.close()
                    work.add(partial, times)
                    writer = None
            finally:
                if writer:
                    writer.abandon()

    def pictures(self, job: Job) -> int:
        """Write a picture of every frame that is not there yet; returns how many are."""
        job.target.parent.mkdir(parents=True, exist_ok=True)
        there = 0
        with BackgroundWriter() as later:
            for number, frame in enumerate(self._frames(None), 1):
                target = numbered(job.target, number)
                if target.exists():
                    self.result.frames += 1
                    there += 1
                    continue
                ((pixels, alpha),) = self._enlarged([frame])
                images = ImageSequence([picture_of(self.plan.video, pixels, alpha)])
                later.submit(write_images, images, target, job.format, self.recipe.encoding)
                if self.stop.is_set():
                    later.flush()
                    raise Stopped
            later.flush()
        return there

    def _frames(self, last: int | None) -> Iterator[Frame]:
        """The frames of the span after the last one that is done, decoded ahead of their turn."""
        start, end = self.plan.span
        after = last if last is not None else None if start is None else start - 1
        frames = read_frames(self.plan.video, after, self.recipe.film.deinterlace)
        with Prefetcher(frames) as ahead:
            try:
                for frame in ahead:
                    if end is not None and frame.time >= end:
                        return
                    yield frame
            except InputError as error:
                self.result.damage = error

    def _enlarged(self, frames: list[Frame]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Enlarge frames, at once; one that is as the frame before is not computed again."""
        started = time.perf_counter()
        width, height = self.plan.size
        new: list[tuple[np.ndarray, np.ndarray | None]] = []
        places = []
        for frame in frames:
            if self._before is None or not _same(frame, self._before):
                new.append((frame.pixels, frame.alpha))
            self._before = frame
            places.append(len(new))
        cut = [
            (pixels[:height, :width], None if alpha is None else alpha[:height, :width])
            for pixels, alpha in self.upscaler.enlarge_batch(new)
        ]
        known = [self._after, *cut]
        self._after = known[-1]
        self.result.seconds += time.perf_counter() - started
        for place in places:
            enlarged = known[place]
            assert enlarged
            self.result.frames += 1
            self.report(self.result.frames, max(self.plan.frames or 0, self.result.frames))
            yield enlarged


def _same(one: Frame, other: Frame) -> bool:
    if (one.alpha is None) != (other.alpha is None):
        return False
    same_alpha = one.alpha is None or np.array_equal(one.alpha, other.alpha)  # type: ignore[arg-type]
    return same_alpha and np.array_equal(one.pixels, other.pixels)


def picture_of(video: Video, pixels: np.ndarray, alpha: np.ndarray | None) -> Picture:
    """A frame as a picture, of 8 bits where the film has 8."""
    picture = Picture(pixels, alpha, Metadata())
    return picture.with_bits(8) if video.bits <= 8 else picture


def preview(job: Job, recipe: Recipe, upscaler: MultiPassUpscaler, count: int) -> Iterator[Path]:
    """Enlarge a few frames, spread over a film, into PNG files beside its target.

    Raises:
        As `plan_video`, `Upscaler.upscale` and `write_images` say.
    """
    plan = plan_video(job, recipe, upscaler)
    video = plan.video
    ticks = 1 / (video.rate * video.time_base)
    first = video.start if plan.span[0] is None else plan.span[0]
    for number in range(1, count + 1):
        at = int((plan.frames or 1) * (number - 0.5) / count)
        after = first + round((at - 0.5) * ticks)
        frames = read_frames(video, after, recipe.film.deinterlace)
        frame = next(frames, None)
        frames.close()  # type: ignore[attr-defined]
        if frame is None:
            raise InputError(f"{job.source}: there is no frame to enlarge")
        pixels, alpha = upscaler.enlarge(frame.pixels, frame.alpha)
        target = job.target.with_name(f"{job.target.stem}_preview{number}.png")
        images = ImageSequence([picture_of(video, pixels, alpha)])
        write_images(images, target, format_named("png"), recipe.encoding)
        yield target
