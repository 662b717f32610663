"""Run the ffmpeg program that imageio-ffmpeg provides, and open inputs as it does."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import av
import imageio_ffmpeg
from av.container import InputContainer

from rgt_cli.errors import InputError, UsageError

if sys.platform == "linux":
    import fcntl

DEMUXERS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,mpegvideo,nut,gif,asf,flv,ogg,mxf,yuv4mpegpipe,"
    "apng,dv,ivf,h264,hevc,m4v,vc1,rm,wtv,webp_pipe,webp_anim"
)
"""The formats that inputs may have. Playlists and scripts are excluded: they refer to other files."""
_PREFIX = re.compile(r"^(\[[^\]]* @ 0x[0-9a-f]+\]\s*)+")
"""The part of ffmpeg that reports, with an address that differs from run to run."""
_NOISE = re.compile(r"(frame|size|video)[=:]\s*\d|Svt\[(info|warn)\]|x26[45] \[(info|warning)\]")
"""How lines start that report progress or settings."""
_CONSEQUENCES = (
    "Error while opening encoder", "Error sending frames to consumers", "Task finished",
    "Terminating thread", "Could not open encoder before EOF", "Nothing was written into output file",
    "Conversion failed", "Error opening output file", "Error splitting the argument list",
    "Error applying encoder options", "Error initializing output stream", "Error while filtering",
    "ff_frame_thread_encoder_init failed", "Error setting option", "Error muxing a packet",
)  # fmt: skip
"""How lines start that only follow from an error that another line explains."""
_MAX_STDERR = 1 << 20
"""Number of bytes of error output that are read."""
_PIPE_SIZE = 1 << 20
"""Bytes that ffmpeg may write ahead of their reader."""


def executable() -> str:
    """Return the path of the ffmpeg program: IMAGEIO_FFMPEG_EXE, or the one of imageio-ffmpeg.

    Raises:
        UsageError: There is none.
    """
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise UsageError("no ffmpeg program was found: set IMAGEIO_FFMPEG_EXE to its path") from error


def url(path: Path) -> str:
    """Return a file as ffmpeg never mistakes it for an option, a protocol or a pattern."""
    return f"file:{path.absolute()}"


def source_options() -> dict[str, str]:
    """Return the options that open inputs as local files which cannot refer to others."""
    return {"protocol_whitelist": "file,pipe", "format_whitelist": DEMUXERS}


def open_source(path: Path) -> InputContainer:
    """Open an input as `source_options` requires. Tags may be in any encoding: their bytes survive.

    Raises:
        InputError: Its format is not one of `DEMUXERS`.
        av.FFmpegError: It is damaged or cannot be read.
    """
    try:
        return av.open(url(path), options=source_options(), metadata_errors="surrogateescape")
    except av.ArgumentError as error:
        reason = "its format is not supported: convert it, for example to MKV"
        raise InputError(f"{path}: cannot be read as a video: {reason}") from error


def source_arguments(path: Path) -> list[str]:
    """Return `source_options` and the input as arguments of the program."""
    flags = [part for name, value in source_options().items() for part in (f"-{name}", value)]
    return [*flags, "-i", url(path)]


def in_words(stderr_lines: Iterable[str], code: int) -> str:
    """Return why ffmpeg failed: the lines that explain it, without addresses and without progress.

    Args:
        stderr_lines: What it printed on stderr.
        code: Its exit code, which is the reason if there is no other.
    """
    cleaned = (_PREFIX.sub("", line.strip()).rstrip(" .") for line in stderr_lines)
    lines = list(dict.fromkeys(line for line in cleaned if line and not _NOISE.match(line)))
    causes = [line for line in lines if not line.startswith(_CONSEQUENCES)]
    return "; ".join((causes or lines)[:2]) or f"ffmpeg ended with {code}"


class Process:
    """A running ffmpeg, with its stdin or stdout in a pipe.

    Args:
        arguments: What follows `ffmpeg`.
        reads: True if the pipe is its stdin, False if it is its stdout.
        level: What it logs. If it is not "error", the reader of `log` must read until the end.
    """

    def __init__(self, arguments: Iterable[str], reads: bool, level: str = "error") -> None:
        self._result: tuple[int, list[str]] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        command = [executable(), "-hide_banner", "-nostats", "-v", level, "-y", *arguments]
        if not reads:
            command.insert(1, "-nostdin")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=self._stderr if level == "error" else subprocess.PIPE,
            start_new_session=True,  # Ctrl-C must not reach it: the current segment is completed first
        )
        pipe = self._process.stdin if reads else self._process.stdout
        assert pipe
        self.pipe: IO[bytes] = pipe
        self.log: IO[bytes] | None = self._process.stderr
        """Its stderr; None if it logs errors only, which `end` returns."""
        if sys.platform == "linux" and not reads:
            with suppress(OSError):  # some systems limit the memory of pipes
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def end(self, kill: bool = False) -> tuple[int, list[str]]:
        """Close the pipe, wait for the process, and return its exit code and the lines of its stderr.

        Args:
            kill: Kill the process instead of waiting until it is done.
        """
        if self._result:
            return self._result
        if kill:
            self._process.kill()
        with suppress(OSError):  # buffered data has no reader any more
            self.pipe.close()
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read(_MAX_STDERR).decode(errors="replace").splitlines()
        self._stderr.close()
        self._result = code, [line.strip() for line in lines if line.strip()]
        return self._result


def run(arguments: Iterable[str]) -> tuple[int, str, str]:
    """Run the program until it ends, and return its exit code, stdout and stderr."""
    command = [executable(), "-hide_banner", "-nostdin", *arguments]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def pixel_formats(encoder: str) -> tuple[str, ...]:
    """Return the pixel formats that an encoder supports, or nothing if it does not list them.

    Raises:
        UsageError: This ffmpeg has no such encoder.
    """
    found = re.search(r"Supported pixel formats: (.*)", _description(encoder))
    return tuple(found[1].split()) if found else ()


def crf_range(encoder: str) -> tuple[float, float] | None:
    """Return the values that an encoder accepts for its option -crf, or None if it has no such option.

    Raises:
        UsageError: As `pixel_formats`.
    """
    found = re.search(r"^ *-crf .*\(from (\S+) to (\S+)\)", _description(encoder), re.MULTILINE)
    if not found:
        return None
    lowest, highest = (float(_LIMITS.get(limit, limit)) for limit in found.groups())
    return max(lowest, 0.0), highest


_LIMITS = {"-FLT_MAX": "-inf", "FLT_MAX": "inf", "INT_MIN": "-inf", "INT_MAX": "inf"}
"""How ffmpeg writes the limits of numbers."""


@functools.cache
def _description(encoder: str) -> str:
    """Return what ffmpeg says about an encoder.

    Raises:
        UsageError: This ffmpeg has no such encoder.
    """
    _, stdout, _ = run(["-h", f"encoder={encoder}"])
    if not stdout.startswith("Encoder"):
        raise UsageError(f"--codec {encoder}: ffmpeg has no such encoder ({executable()})")
    return stdout


@functools.cache
def supports_mastering_display() -> bool:
    """Return whether this ffmpeg has an option for the mastering display of its input."""
    _, stdout, _ = run(["-h", "full"])
    return "-mastering_display" in stdout
