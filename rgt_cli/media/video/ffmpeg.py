"""The ffmpeg program that imageio-ffmpeg carries, in processes of its own."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from rgt_cli.errors import UsageError

DEMUXERS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,mpegvideo,nut,gif,asf,flv,ogg,mxf,yuv4mpegpipe,"
    "apng,dv,ivf,h264,hevc,rm,wtv"
)
"""What a source may be. Playlists and scripts are not among them: they lead to other files."""


def executable() -> str:
    """The ffmpeg program: the one that IMAGEIO_FFMPEG_EXE names, or that of imageio-ffmpeg.

    Raises:
        UsageError: there is none.
    """
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UsageError("no ffmpeg program is found; set IMAGEIO_FFMPEG_EXE to one") from error


def url(path: Path) -> str:
    """A file in a way that is never taken for an option, a protocol or a pattern."""
    return f"file:{path.absolute()}"


def source_options() -> dict[str, str]:
    """How sources are opened: as files, and as nothing that leads to others."""
    return {"protocol_whitelist": "file,pipe", "format_whitelist": DEMUXERS}


def source_arguments(path: Path) -> list[str]:
    """The same for the program."""
    flags = [part for name, value in source_options().items() for part in (f"-{name}", value)]
    return [*flags, "-i", url(path)]


class Process:
    """One run of the program, with one of its ends in a pipe.

    Args:
        arguments: what follows `ffmpeg`.
        reads: whether its stdin is the pipe; else its stdout is.
    """

    def __init__(self, arguments: Iterable[str], reads: bool) -> None:
        self._ended: tuple[int, list[str]] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        command = [executable(), "-hide_banner", "-v", "error", "-y", *arguments]
        if not reads:
            command.insert(1, "-nostdin")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for us: the picture in hand is finished
        )
        pipe = self._process.stdin if reads else self._process.stdout
        assert pipe
        self.pipe: IO[bytes] = pipe

    def end(self, kill: bool = False) -> tuple[int, list[str]]:
        """Wait until it ends, or end it; returns its exit code and the errors that it told."""
        if self._ended:
            return self._ended
        if kill:
            self._process.kill()
        with suppress(OSError):  # what was left to write has no reader any more
            self.pipe.close()
        code = self._process.wait()
        self._said.seek(0)
        told = self._said.read(1 << 20).decode(errors="replace").splitlines()
        self._said.close()
        self._ended = code, [line.strip() for line in told if line.strip()]
        return self._ended


def run(arguments: Iterable[str]) -> tuple[int, str, str]:
    """Run the program to its end; returns its exit code, stdout and stderr."""
    command = [executable(), "-hide_banner", "-nostdin", *arguments]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@functools.cache
def pixel_formats(encoder: str) -> tuple[str, ...]:
    """The pixel formats that an encoder takes; none where it takes any.

    Raises:
        UsageError: this ffmpeg has no such encoder.
    """
    _, said, _ = run(["-h", f"encoder={encoder}"])
    if not said.startswith("Encoder"):
        raise UsageError(f"--codec {encoder}: {executable()} has no such encoder")
    found = re.search(r"Supported pixel formats: (.*)", said)
    return tuple(found[1].split()) if found else ()


@functools.cache
def supports_mastering_display() -> bool:
    """Whether this ffmpeg can be told the mastering display of its input."""
    _, said, _ = run(["-h", "full"])
    return "-mastering_display" in said
