"""The frames of a video job: decoded ahead of their turn, upscaled in batches, written as images."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rgt_cli.errors import InputError
from rgt_cli.jobs.pipeline import Prefetcher
from rgt_cli.media import ImageSequence, Metadata, Picture
from rgt_cli.media.video.decode import Frame, ReadReport, read_frames
from rgt_cli.media.video.probe import Span, Video
from rgt_cli.size import Dimensions

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler

_NUMBER = re.compile(r"%0?\d*d")


def is_numbered(target: Path) -> bool:
    """Return whether an output is a pattern such as frames/%06d.png: an image for each frame."""
    return bool(_NUMBER.search(target.name))


def numbered_path(target: Path, number: int) -> Path:
    """Return the path of the image of one frame; `number` counts from 1."""
    return target.with_name(_NUMBER.sub(lambda match: match[0] % number, target.name, count=1))


def image_of(frame: Frame, video: Video) -> ImageSequence:
    """Return a frame as an image, of 8 bits a channel if the video has 8."""
    picture = Picture(frame.pixels, frame.alpha, Metadata())
    return ImageSequence([picture.with_bits(8) if video.bits <= 8 else picture])


@dataclass
class FrameReader:
    """Reads a span of a video, and remembers whether the video is damaged."""

    video: Video
    span: Span
    report: ReadReport = field(default_factory=ReadReport)
    """What is found out while the frames are read."""
    damage: InputError | None = None
    """Why frames may be missing; None as long as no damage is found."""

    def read(self, after: int | None = None) -> Generator[Frame]:
        """Yield the frames of the span in the order of their times, decoded in the background.

        Damage ends the frames and is recorded in `damage`.

        Args:
            after: A time in ticks; only later frames are yielded.
        """
        resumes = after is not None
        # Streams may announce a start after their first frame, which belongs to the output all the same.
        origin = round(self.video.origin / self.video.time_base)
        if after is None and self.span.start is not None and self.span.start > origin:
            after = self.span.start - 1
        frames = read_frames(self.video, after, resumes=resumes, report=self.report)
        with Prefetcher(frames) as ahead:
            try:
                for frame in ahead:
                    if self.span.end is not None and frame.time >= self.span.end:
                        return
                    yield frame
            except InputError as error:
                self.damage = error


class FrameUpscaler:
    """Upscales the frames of a video. A frame that equals the one before it is not computed again.

    Args:
        upscaler: Upscales frames to at least `size`.
        size: The size of the results. Larger frames are cropped at the right and at the bottom.
    """

    def __init__(self, upscaler: MultiPassUpscaler, size: Dimensions) -> None:
        self.seconds = 0.0
        """Time spent computing."""
        self._upscaler, self._size = upscaler, size
        self._last_source: Frame | None = None
        self._last_result: tuple[np.ndarray, np.ndarray | None] | None = None

    def upscale(self, frames: list[Frame]) -> list[Frame]:
        """Upscale consecutive frames of one size at once.

        Returns:
            A frame for each of `frames`, with the same time. Equal frames share their arrays.

        Raises:
            OutOfMemoryError: As `Upscaler.upscale`.
        """
        started = time.perf_counter()
        changed = [self._has_changed(frame) for frame in frames]
        pending = [(f.pixels, f.alpha) for f, is_new in zip(frames, changed, strict=True) if is_new]
        computed = iter(self._upscaler.upscale_batch(pending))
        results = []
        for frame, is_new in zip(frames, changed, strict=True):
            if is_new:
                self._last_result = self._cropped(*next(computed))
            assert self._last_result
            pixels, alpha = self._last_result
            results.append(Frame(frame.time, pixels, alpha))
        self.seconds += time.perf_counter() - started
        return results

    def _cropped(
        self, pixels: np.ndarray, alpha: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        width, height = self._size
        return pixels[:height, :width], None if alpha is None else alpha[:height, :width]

    def _has_changed(self, frame: Frame) -> bool:
        before, self._last_source = self._last_source, frame
        return before is None or not _equal(frame, before)


def _equal(one: Frame, other: Frame) -> bool:
    return np.array_equal(one.pixels, other.pixels) and (
        one.alpha is other.alpha is None
        or (one.alpha is not None and other.alpha is not None and np.array_equal(one.alpha, other.alpha))
    )
