"""Samples from several places of a video."""

from pathlib import Path

import pytest

from rgt_cli.media.video.probe import probe
from rgt_cli.media.video.sampling import count_frames, is_interlaced
from tests.helpers.videos import SMALL, X264, ffmpeg, lavfi

INTERLACED = ("-vf", "interlace", *X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1")


def progressive_then_interlaced(path: Path) -> None:
    """Write 25 progressive frames and 25 interlaced ones, as a broadcast with a logo before it."""
    one, other = path.with_name("one.ts"), path.with_name("other.ts")
    lavfi("-t", "1", *X264)(one)
    lavfi(*INTERLACED, "-output_ts_offset", "1")(other)
    joined = path.with_name("joined.ts")
    joined.write_bytes(one.read_bytes() + other.read_bytes())
    ffmpeg("-i", joined, "-c", "copy", path)


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_interlaced_frames_after_progressive_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.{suffix}"
    progressive_then_interlaced(path)
    video = probe(path)
    assert not video.is_interlaced
    assert is_interlaced(video)


@pytest.mark.parametrize(
    ("suffix", "arguments", "expected"),
    [("mkv", X264, False), ("mkv", INTERLACED, True), ("h264", INTERLACED, True), ("h264", X264, False),
     ("webm", ("-t", "0.2", "-c:v", "libvpx"), False)],
)  # fmt: skip
def test_uniform_videos(tmp_path: Path, suffix: str, arguments: tuple[str, ...], expected: bool) -> None:
    path = tmp_path / f"in.{suffix}"
    lavfi(*arguments)(path)
    assert is_interlaced(probe(path)) == expected


def test_frames_of_a_video_without_a_duration(tmp_path: Path) -> None:
    path = tmp_path / "in.h264"
    lavfi(*X264, source=SMALL)(path)
    video = probe(path)
    assert video.frames is None
    assert count_frames(video) == 50
