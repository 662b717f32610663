"""Frames that change their size in the stream, as captures of broadcasts do."""

from pathlib import Path

import pytest

from rgt_cli.jobs.options import VideoOptions
from rgt_cli.media.video.decode import read_frames
from rgt_cli.media.video.probe import Span, probe
from rgt_cli.media.video.resolution import FrameSizeError, check_size
from tests.helpers.process import names_in
from tests.helpers.videos import X264, facts, lavfi, upscale


def changing(path: Path, *sizes: str) -> Path:
    """Write a recording of 64 x 48 that changes to other sizes, each for a second."""
    for number, size in enumerate(sizes):
        part = path.with_name(f"{number}.ts")
        options = ("-vf", f"scale={size}", "-output_ts_offset", str(number))
        lavfi("-t", "1", *options, *X264, "-bf", "0")(part)
        with path.open("ab") as joined:
            joined.write(part.read_bytes())
        part.unlink()
    return path


def test_a_change_is_found_before_the_first_frame(tmp_path: Path) -> None:
    source, target = changing(tmp_path / "in.ts", "64:48", "64:48", "32:24"), tmp_path / "out.mkv"
    expected = r"from 64 x 48 to 32 x 24 at 2 s: .* --end 2 and --start 2$"
    with pytest.raises(FrameSizeError, match=expected):
        upscale(source, target)
    assert names_in(tmp_path) == {"in.ts"}


def test_the_parts_of_a_change(tmp_path: Path) -> None:
    source, target = changing(tmp_path / "in.ts", "64:48", "32:24"), tmp_path / "out.mkv"
    for options, size in (
        (VideoOptions(end=1), (128, 96)),
        (VideoOptions(start=1), (64, 48)),
        (VideoOptions(start=1.2, end=1.6), (64, 48)),
    ):
        upscale(source, target, video=options)
        found = facts(target)
        assert (found.size, len(found.times)) == (size, 10 if options.start == 1.2 else 25)


def test_a_change_that_no_sample_shows(tmp_path: Path) -> None:
    """The frames before it stay, and a run that ends there continues after them."""
    video = probe(changing(tmp_path / "in.ts", "64:48", "32:24", "64:48"))
    start, second = video.start, round(1 / video.time_base)
    assert check_size(video, Span(start, start + second)) == video
    frames, count = read_frames(video), 0
    with pytest.raises(FrameSizeError, match="at 1 s"):  # noqa: PT012
        for _ in frames:
            count += 1
    assert count == 25
    later = list(read_frames(video, start + 2 * second - 1))
    assert {frame.pixels.shape for frame in later} == {(48, 64, 3)}
    assert len(later) == 25
