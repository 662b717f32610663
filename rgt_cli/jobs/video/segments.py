"""The finished segments of a video, in a hidden folder from which the next run continues."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgt_cli.errors import UsageError
from rgt_cli.files import AppendLog, FileStamp, cannot_write, exclusive
from rgt_cli.jobs.job import Job, RunContext
from rgt_cli.media.video.join import Segment
from rgt_cli.media.video.probe import Span
from rgt_cli.size import Dimensions

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import NetworkUpscaler

logger = logging.getLogger(__name__)

FOLDER = ".rgt-{}.segments"
"""The name of the folder, with a hash of the output's name."""
_LOG = "segments.jsonl"


@dataclass(frozen=True, kw_only=True)
class PassSettings:
    """What the result of one pass through a network depends on."""

    model: str
    dtype: str
    tile: int | str
    """Pixels, "auto" or "none"."""
    overlap: int | None
    """Pixels."""
    self_ensemble: bool

    @classmethod
    def of(cls, upscaler: NetworkUpscaler) -> PassSettings:
        """Return the settings of an upscaler."""
        return cls(
            model=upscaler.name,
            dtype=str(upscaler.dtype),
            tile=upscaler.tile,
            overlap=upscaler.overlap,
            self_ensemble=upscaler.self_ensemble,
        )


@dataclass(frozen=True, kw_only=True)
class SegmentSettings:
    """Everything that segments depend on. Segments made with other settings are discarded.

    Segments before another end of the span are not.
    """

    source: FileStamp | None
    """State of the input."""
    passes: tuple[PassSettings, ...]
    alpha_by_network: bool
    """Whether the network upscales transparency."""
    size: Dimensions
    """Size of the upscaled frames."""
    arguments: tuple[str, ...]
    """Arguments of ffmpeg that encode the frames."""
    span: Span
    deinterlacing: str
    """What becomes of fields; see `fields.Deinterlacing`."""
    segment_seconds: float

    @staticmethod
    def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
        """Return in words what differs between settings as the log stores them."""
        return [words for key, words in _WORDS.items() if one.get(key) != other.get(key)]

    def to_json(self) -> dict[str, Any]:
        """Return the settings as the log stores them."""
        stored: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return stored


_WORDS = {
    "source": "the input",
    "passes": "the model, precision or tiles",
    "alpha_by_network": "--alpha",
    "size": "the size",
    "arguments": "the codec or its options",
    "span": "--start or --end",
    "deinterlacing": "the treatment of fields",
    "segment_seconds": "--segment-seconds",
}
"""The fields of `SegmentSettings` -> what messages call them."""


@dataclass(frozen=True, kw_only=True)
class SegmentFolder:
    """A folder of segments that a run which was interrupted has left."""

    path: Path
    size: int
    """Bytes of its files."""
    target: Path | None
    """The video that a run would finish with it; None if the folder does not reveal it."""


def find_segment_folders(folder: Path) -> list[SegmentFolder]:
    """Return the hidden folders with segments in `folder` and below it that no running process uses."""
    found = []
    for path in sorted(folder.rglob(FOLDER.format("*"))):
        if not path.is_dir() or path.is_symlink():
            continue
        try:
            with exclusive(path):
                files = [file for file in path.iterdir() if file.is_file()]
                size = sum(file.stat().st_size for file in files)
                header = next(iter(AppendLog.read(path / _LOG)), {})
        except (UsageError, OSError):
            continue
        name = header.get("target")
        is_name = isinstance(name, str) and bool(name) and name == Path(name).name
        target = path.with_name(str(name)) if is_name else None
        found.append(SegmentFolder(path=path, size=size, target=target))
    return found


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What the log stores about one segment."""

    name: str
    size: int
    """Bytes."""
    times: list[int]
    """Times of its frames, in ticks of the input's time base."""

    def segment(self, folder: Path) -> Segment | None:
        """Return the segment, or None if its file is not complete."""
        path = folder / self.name
        with suppress(OSError):
            if path.stat().st_size == self.size:
                return Segment(path, tuple(self.times))
        return None


def _segment_name(index: int) -> str:
    return f"{index:06}.mkv"


class SegmentStore:
    """The finished segments of one video, in the order of their frames. Create it with `open`.

    The folder contains the segments, a log of them, and the segment that is being encoded. A segment
    counts once the log has an entry for it, so a crash at any moment loses at most the current segment.
    """

    def __init__(self, folder: Path, log: AppendLog, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self.discarded = 0
        """Number of frames of an earlier run that cannot be used."""
        self.reason = ""
        """Why frames were discarded, in words."""
        self._log = log
        self._resume(settings)

    @classmethod
    @contextmanager
    def open(cls, target: Path, settings: SegmentSettings) -> Iterator[SegmentStore]:
        """Open the store of an output for one process at a time, and continue what an earlier run began.

        On exit, the folder is removed if it contains no finished segment.

        Raises:
            UsageError: Another process is writing this output.
            OutputError: The folder cannot be created or written.
        """
        key = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
        folder = target.parent / FOLDER.format(key)
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(folder))
            except UsageError as error:
                raise UsageError(
                    f"{target}: another rgt process is writing this video; wait until it has finished"
                ) from error
            try:
                folder.mkdir(parents=True, exist_ok=True)
                log = stack.enter_context(AppendLog(folder / _LOG))
            except OSError as error:
                raise cannot_write(folder, error) from error
            store = cls(folder, log, {"target": target.name, **settings.to_json()})
            try:
                yield store
            finally:
                if not store.segments:
                    store.remove()

    def _resume(self, settings: dict[str, Any]) -> None:
        """Load the segments of an earlier run, and remove all other files of the folder."""
        before, *entries = self._log.entries or [{}]
        complete = list(self._complete(entries))
        if before != settings:
            changes = SegmentSettings.differences(before, settings) or ["the version of rgt"]
            start, end = settings["span"]
            is_prefix = changes == [_WORDS["span"]] and before["span"][0] == start
            usable = complete if is_prefix else []
            if is_prefix and before["span"][1] is not None:
                usable = complete[:-1]  # the last one may have been cut at the end of that span
            self.segments = [one for one in usable if end is None or one.times[-1] < end]
            self.reason = f"{' and '.join(changes)} changed"
        else:
            self.segments, self.reason = complete, "some segments are damaged"
        self.discarded = sum(len(entry.get("times", ())) for entry in entries) - self.frames
        if before != settings or len(entries) != len(self.segments):
            self._log.replace([settings, *entries[: len(self.segments)]])
        used = {self.folder / _LOG, *(segment.path for segment in self.segments)}
        for stray in set(self.folder.iterdir()) - used:
            with suppress(OSError):  # on Windows, the encoder of a killed run may still have it open
                stray.unlink()
        logger.info("%s: %d finished segments are used", self.folder, len(self.segments))

    def report(self, job: Job, frames: int | None, context: RunContext) -> None:
        """Report which frames of an earlier run are used, and which are discarded.

        Args:
            job: The job.
            frames: The number of frames of the whole output; None if it is unknown.
            context: The run.
        """
        if self.discarded:
            context.warn(
                f"{job.target_name}: {self.discarded} finished frames of an earlier run are discarded, "
                f"because {self.reason}"
            )
        if self.segments:
            total = f"of {frames} " if frames else ""
            context.inform(f"resuming {job.target_name}: {self.frames} {total}frames are done")

    def _complete(self, entries: list[dict[str, Any]]) -> Iterator[Segment]:
        """Yield the segments up to the first one that is missing or damaged."""
        for index, fields in enumerate(entries):
            try:
                entry = _Entry(**fields)
            except TypeError:  # other fields
                return
            segment = entry.segment(self.folder)
            if segment is None or entry.name != _segment_name(index):
                return
            yield segment

    @property
    def frames(self) -> int:
        """Number of frames in all segments."""
        return sum(len(segment.times) for segment in self.segments)

    @property
    def last_time(self) -> int | None:
        """Time of the last frame in ticks; None if there is no segment."""
        return self.segments[-1].times[-1] if self.segments else None

    def new_path(self) -> Path:
        """Return an unused path for a segment that is being encoded."""
        # A process that was killed may leave an encoder that goes on writing: never to the same file.
        return self.folder / f"{len(self.segments):06}.{secrets.token_hex(4)}.part"

    def add(self, partial: Path, times: list[int]) -> None:
        """Add a segment that is completely written.

        Args:
            partial: Its file, from `new_path`.
            times: The times of its frames, in ticks of the input's time base.

        Raises:
            OutputError: The folder cannot be written.
        """
        path = self.folder / _segment_name(len(self.segments))
        try:
            os.replace(partial, path)
            entry = _Entry(name=path.name, size=path.stat().st_size, times=times)
            self._log.append(asdict(entry))
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.segments.append(Segment(path, tuple(times)))

    def remove(self) -> None:
        """Remove the folder."""
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
