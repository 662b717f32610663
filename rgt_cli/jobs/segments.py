"""The segments of a film that is being made, so that a later run goes on after the last of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from rgt_cli.errors import OutputError
from rgt_cli.media.video.mux import Segment


class SegmentStore:
    """The segments of a film that is being made, and what is known of them, in a folder of their own."""

    def __init__(self, target: Path, settings: dict[str, Any]) -> None:
        key = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
        self.folder = target.parent / f".rgt-{key}.film"
        self.segments: list[Segment] = []
        self._notes = self.folder / "segments.jsonl"
        try:
            self._take_up(settings)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def _take_up(self, settings: dict[str, Any]) -> None:
        lines: list[dict[str, Any]] = []
        with suppress(FileNotFoundError):
            whole = self._notes.read_bytes().split(b"\n")[:-1]  # a line that was cut short is no line
            lines = [json.loads(line) for line in whole]
        if not lines or lines[0] != settings:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            lines = [settings]
        for note in lines[1:]:
            path = self.folder / note["name"]
            if not path.is_file() or path.stat().st_size != note["bytes"]:
                break
            self.segments.append(Segment(path, tuple(note["times"])))
        kept = {self._notes, *(segment.path for segment in self.segments)}
        for stray in set(self.folder.iterdir()) - kept:
            stray.unlink()
        text = "".join(json.dumps(line) + "\n" for line in lines[: 1 + len(self.segments)])
        self._notes.write_text(text)
        self._file = self._notes.open("a")

    def __enter__(self) -> SegmentStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def frames(self) -> int:
        """How many are done."""
        return sum(len(segment.times) for segment in self.segments)

    def new_segment(self) -> Path:
        """A name for the next segment as long as it is not whole."""
        # A process that was killed may leave an encoder that goes on writing: never to the same file.
        return self.folder / f"{len(self.segments):06}.{os.urandom(4).hex()}.part"

    def add(self, partial: Path, times: list[int]) -> None:
        """Take up a segment that is whole."""
        path = partial.with_name(f"{len(self.segments):06}.mkv")
        try:
            os.replace(partial, path)
            note = {"name": path.name, "bytes": path.stat().st_size, "times": times}
            self._file.write(json.dumps(note) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from error
        self.segments.append(Segment(path, tuple(times)))

    def remove(self) -> None:
        """Remove the folder: the film is whole."""
        self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)
