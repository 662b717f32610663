"""How long a video takes and how large it becomes, from a trial on parts of it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av

from rgt_cli.jobs.job import RunContext
from rgt_cli.jobs.video.frames import frames_of, image_of
from rgt_cli.jobs.video.plan import VideoPlan
from rgt_cli.media import ImageFormat, write_images
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.encode import SegmentWriter
from rgt_cli.media.video.probe import is_cover
from rgt_cli.media.video.streams import open_source
from rgt_cli.size import Dimensions

_PLACES = (0.25, 0.75)
"""Where the trial parts begin, as shares of the video. Together they are a second long."""
_FEWEST_FRAMES = 4
"""Number of frames of a trial part, also where they are slow or large."""
_MOST_PIXELS = 100_000_000
"""Number of pixels of a trial part, of the output."""
_GROUP = 250
"""Number of frames from one keyframe to the next; most encoders have about this default."""
_OVERHEAD = 24
"""Bytes that a container needs for a frame."""
_PLAUSIBLE = (0.5, 3.0)
"""The least and the greatest plausible effect of the network on the bytes."""
_COPIED_BYTES = 8 << 20
"""Bytes of the input from which the share of its other streams is found."""


@dataclass(frozen=True, kw_only=True)
class TrialFrames:
    """Two frames that the network upscaled."""

    seconds: float
    """Time for the second frame: the first one warms everything up."""
    sources: list[Frame]
    results: list[Frame]
    """The same frames at the size of the output."""


def try_frames(plan: VideoPlan, context: RunContext) -> TrialFrames:
    """Upscale the first two frames of a video.

    Raises:
        InputError: The video is damaged.
        OutOfMemoryError: As `NetworkUpscaler.upscale`.
    """
    width, height = plan.frame_size
    sources, results, seconds = list[Frame](), list[Frame](), 0.0
    with closing(frames_of(plan.video, plan.span.start)) as frames:
        for frame in islice(frames, 2):
            started = time.perf_counter()
            pixels, alpha = context.upscaler.upscale(frame.pixels, frame.alpha)
            seconds = time.perf_counter() - started
            alpha = None if alpha is None else alpha[:height, :width]
            sources.append(frame)
            results.append(Frame(frame.time, pixels[:height, :width], alpha))
    return TrialFrames(seconds=seconds, sources=sources, results=results)


def estimate_bytes(plan: VideoPlan, context: RunContext, trial: TrialFrames) -> float:
    """Return about how large the output of a video becomes.

    A second of the video is encoded as the output will be, but upscaled by interpolation, since the
    network would take long. Its effect on the bytes is measured on the frames of the trial.

    Args:
        plan: The plan; its number of frames is known.
        context: What the job shares with others.
        trial: From `try_frames`.

    Raises:
        InputError: The video is damaged.
        OutputError: The encoder fails.
    """
    assert plan.frames is not None
    with tempfile.TemporaryDirectory(prefix="rgt-") as folder:
        scratch = Path(folder)
        if plan.image_format:
            return plan.frames * _bytes_of_image(plan, plan.image_format, context, trial, scratch)
        parts = [_encoded(plan, part, scratch, True) for part in _parts(plan)]
        by_network = _encoded(plan, trial.results, scratch, False)
        interpolated = _encoded(plan, trial.sources, scratch, True)
    keys = [size for part in parts for size in part.keyframes]
    others = [size for part in parts for size in part.others]
    key = _mean(keys) * _effect(by_network.keyframes, interpolated.keyframes)
    other = _mean(others) * _effect(by_network.others, interpolated.others)
    group = min(_GROUP, max(1.0, float(plan.video.rate) * context.options.video.segment_seconds))
    count = math.ceil(plan.frames / group) if others else plan.frames
    frames = count * key + (plan.frames - count) * other
    return frames + plan.frames * _OVERHEAD + _copied_bytes(plan)


def _mean(sizes: list[int]) -> float:
    return sum(sizes) / max(1, len(sizes))


def _effect(by_network: list[int], interpolated: list[int]) -> float:
    """Return how many times the bytes of interpolated frames those of the network have."""
    if not by_network or not interpolated:
        return 1.0
    least, greatest = _PLAUSIBLE
    return min(max(_mean(by_network) / _mean(interpolated), least), greatest)


def _bytes_of_image(
    plan: VideoPlan, image_format: ImageFormat, context: RunContext, trial: TrialFrames, folder: Path
) -> float:
    """Return the bytes of the image of one frame."""
    path, options = folder / f"frame{image_format.suffixes[0]}", context.options.image
    images = image_of(trial.results[-1], plan.video, options.bits)
    write_images(images, path, image_format, options.encoding)
    return path.stat().st_size


def _parts(plan: VideoPlan) -> Iterator[list[Frame]]:
    """Yield the frames of the trial parts: of all of a short video, else from several places."""
    video, frames = plan.video, plan.frames or 1
    pixels = plan.size.width * plan.size.height
    count = min(round(video.rate / len(_PLACES)), _MOST_PIXELS // pixels)
    count = max(count, _FEWEST_FRAMES)
    first = video.start if plan.span.start is None else plan.span.start
    ticks = 1 / (video.rate * video.time_base)
    is_short = frames <= len(_PLACES) * count
    for place in (0.0,) if is_short else _PLACES:
        after = first + round((int(frames * place) - 0.5) * ticks)
        with closing(frames_of(video, after)) as decoded:
            yield list(_spaced(islice(decoded, frames if is_short else count), plan.apart))


def _spaced(frames: Iterable[Frame], apart: int) -> Iterator[Frame]:
    """Yield the frames that the output contains, given the ticks that they are apart at least."""
    last: int | None = None
    for frame in frames:
        if last is None or frame.time - last >= apart:
            last = frame.time
            yield frame


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """The bytes of encoded frames."""

    keyframes: list[int]
    others: list[int]


def _encoded(plan: VideoPlan, frames: list[Frame], folder: Path, interpolate: bool) -> _Sizes:
    """Encode frames as the output will be, and return their bytes."""
    path, arguments, size = folder / "trial.mkv", list(plan.final_arguments), plan.frame_size
    if not frames:
        return _Sizes(keyframes=[], others=[])
    if interpolate:
        height, width = frames[0].pixels.shape[:2]
        size = Dimensions(width, height)
        at = arguments.index("-vf") + 1
        arguments[at] = (
            f"scale={plan.frame_size.width}:{plan.frame_size.height}:flags=lanczos,{arguments[at]}"
        )
    with SegmentWriter(path, plan.video, arguments, size) as writer:
        for frame in frames:
            writer.add(frame)
        writer.close()
    sizes = _Sizes(keyframes=[], others=[])
    with av.open(ffmpeg.url(path)) as container:
        for packet in container.demux(video=0):
            if packet.size:
                (sizes.keyframes if packet.is_keyframe else sizes.others).append(packet.size)
    return sizes


def _copied_bytes(plan: VideoPlan) -> float:
    """Return about how many bytes the copied streams have, from the first packets of the input."""
    copied = set(plan.streams.copied) if plan.streams else set()
    if not copied:
        return 0.0
    total = chosen = covers = 0
    with open_source(plan.video) as source, suppress(av.FFmpegError):
        for packet in source.demux():
            if is_cover(packet.stream):
                covers += packet.size if packet.stream.index in copied else 0
                continue
            total += packet.size
            chosen += packet.size if packet.stream.index in copied else 0
            if total > _COPIED_BYTES:
                break
    share = (plan.frames or 0) / (plan.video.frames or plan.frames or 1)
    return plan.video.path.stat().st_size * chosen / max(1, total) * share + covers
