"""A video that is killed while it is encoded, and killed again while it is joined."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rgt_cli.jobs.options import VideoOptions
from rgt_cli.media.video.ffmpeg import executable
from tests.helpers.process import names_in
from tests.helpers.scripts import SCRIPTS
from tests.helpers.videos import X264, ffmpeg, upscale

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses a shell script and SIGKILL")


def kill_when(pattern: str, source: Path, target: Path, program: Path) -> None:
    """Upscale a video in a process that is killed once its hidden folder contains a file."""
    root = SCRIPTS.parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "IMAGEIO_FFMPEG_EXE": str(program)}
    command = [sys.executable, str(SCRIPTS / "upscale_video.py"), str(source), str(target)]
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while not list(target.parent.glob(f".rgt-*.segments/{pattern}")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("in.ts", "mkv"), ("in.avi", "mkv"), ("in.mkv", "mkv"), ("in.mp4", "mp4"), ("in.mkv", "gif")],
)
def test_resumed_after_both_phases(tmp_path: Path, name: str, suffix: str) -> None:
    source, folder = tmp_path / name, tmp_path / "out"
    folder.mkdir()
    whole, target = tmp_path / f"whole.{suffix}", folder / f"out.{suffix}"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2", "-f", "lavfi", "-i",
        "sine=duration=2", *X264, "-bf", "0" if name == "in.avi" else "2", "-g", "10", "-c:a",
        "mp3" if name == "in.avi" else "aac", source,
    )  # fmt: skip
    upscale(source, whole, video=VideoOptions(segment_seconds=0.2))
    # The output is complete, but not yet in its place, when the run is killed.
    slow = tmp_path / "ffmpeg"
    slow.write_text(
        f'#!/bin/sh\n"{executable()}" "$@"\ncase "$*" in *.segments/output.*) sleep 2;; esac\n'
    )
    slow.chmod(0o755)
    kill_when("000001.mkv", source, target, Path(executable()))
    kill_when("output.*.part", source, target, slow)
    assert not target.exists()
    upscale(source, target, video=VideoOptions(segment_seconds=0.2))
    assert target.read_bytes() == whole.read_bytes()
    assert names_in(folder) == {target.name}
