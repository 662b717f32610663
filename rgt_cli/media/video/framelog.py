"""Read what ffmpeg logs about each frame and about damage while it writes pixels to a pipe."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from queue import SimpleQueue
from typing import IO

from rgt_cli.size import Dimensions

FILTER = "showinfo=checksum=0"
"""The filter of ffmpeg that logs each frame before it is written."""
LEVEL = "level+info"
"""The log level at which ffmpeg prints what this module reads, each line with its own level."""
_MAX_ERRORS = 1000
"""Number of error lines that are kept."""
_BASE = re.compile(r"config in time_base: (\d+)/(\d+)")
_FRAME = re.compile(
    r"\bn: *\d+ pts: *(?P<pts>NOPTS|-?\d+) .*?(?:\bduration: *(?P<duration>-?\d+) .*?)?"
    r"\bfmt:(?P<format>\w+) (?:cl:(?P<chroma>\w+) )?.*?\bs:(?P<width>\d+)x(?P<height>\d+) "
    r"i:(?P<fields>.) iskey:(?P<key>\d)"
)
_ERROR = re.compile(r"(?P<context>(?:\[[^\]]* @ [^\]]*\] ?)*)\[(?:error|fatal|panic)\] (?P<text>.+)")


@dataclass(frozen=True)
class LoggedFrame:
    """What ffmpeg logs about one frame."""

    pts: int | None
    """When it is shown, in ticks of `time_base`; None if that is unknown."""
    duration: int
    """How long it is shown, in ticks; 0 if that is unknown."""
    time_base: Fraction
    """Seconds per tick."""
    size: Dimensions
    pixel_format: str
    chroma_location: str | None
    """Position of the chroma samples, as ffmpeg names it; None if it is not specified."""
    is_interlaced: bool
    is_key: bool
    """Whether it can be decoded without others."""


@dataclass(frozen=True)
class LoggedError:
    """One line in which ffmpeg reports damage."""

    text: str
    context: str
    """The part of ffmpeg that reports it, such as a decoder."""
    frames: int
    """Number of frames that were logged before."""


class LogParser:
    """Turns the lines of a log into frames and errors."""

    def __init__(self) -> None:
        self.errors: list[LoggedError] = []
        """The lines that report damage, up to a limit."""
        self.frames = 0
        """Number of frames that were logged."""
        self._time_base = Fraction(1, 1000)

    def parse(self, line: str) -> LoggedFrame | None:
        """Return the frame that a line describes, or None. A line with an error is added to `errors`."""
        # Threads write to the log at the same time, so one line may contain two messages.
        if (error := _ERROR.search(line)) and len(self.errors) < _MAX_ERRORS:
            self.errors.append(LoggedError(error["text"].strip(), error["context"], self.frames))
        if base := _BASE.search(line):
            self._time_base = Fraction(int(base[1]), int(base[2]) or 1)
        found = _FRAME.search(line)
        if not found:
            return None
        self.frames += 1
        chroma = found["chroma"]
        return LoggedFrame(
            pts=None if found["pts"] == "NOPTS" else int(found["pts"]),
            duration=max(0, int(found["duration"] or 0)),
            time_base=self._time_base,
            size=Dimensions(int(found["width"]), int(found["height"])),
            pixel_format=found["format"],
            chroma_location=None if chroma in (None, "unspecified", "unknown") else chroma,
            is_interlaced=found["fields"] in "TB",
            is_key=found["key"] == "1",
        )


class FrameLog:
    """The log of a running ffmpeg. A thread reads it, so that ffmpeg never waits for its reader.

    Args:
        pipe: The stderr of an ffmpeg that runs with the level `LEVEL` and the filter `FILTER`.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._parser = LogParser()
        self._queue: SimpleQueue[LoggedFrame | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._pipe:
                for line in self._pipe:
                    if frame := self._parser.parse(line.decode(errors="replace")):
                        self._queue.put(frame)
        finally:
            self._queue.put(None)

    def __iter__(self) -> Iterator[LoggedFrame]:
        """Yield each frame once ffmpeg has logged it, until ffmpeg ends."""
        while (frame := self._queue.get()) is not None:
            yield frame

    def errors(self) -> list[LoggedError]:
        """Return all errors. Call it when ffmpeg has ended."""
        self._thread.join()
        return self._parser.errors
