"""`read_frames`: from the start, and from any other frame."""

import itertools
import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from rgt_cli.errors import InputError
from rgt_cli.media.video.decode import read_frames
from rgt_cli.media.video.probe import probe
from tests.helpers.videos import X264, lavfi, planes

LONG = "testsrc2=size=32x24:rate=10:duration=30"
OPEN_GOP = ("-bf", "3", "-g", "50", "-x264-params", "open-gop=1")


def test_frames_are_those_of_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(path)
    frames = list(read_frames(probe(path)))
    assert [frame.time for frame in frames] == [40 * number for number in range(50)]
    assert all(frame.pixels.dtype == np.uint16 and frame.alpha is None for frame in frames)
    expected = planes(path, "rgb24").reshape(50, 48, 64, 3).astype(np.uint16) * 257
    np.testing.assert_array_equal([frame.pixels for frame in frames], expected)


def test_transparency(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    lavfi("-t", "0.2", "-vf", "format=gbrap,geq=g='X':b='Y':r='X':a='X*4'", "-c:v", "ffv1")(path)
    frame = next(read_frames(probe(path)))
    expected = np.arange(64, dtype=np.uint16) * 4 * 257
    assert frame.alpha is not None
    np.testing.assert_array_equal(frame.alpha, np.tile(expected, (48, 1)))


def test_reading_from_the_middle_yields_the_same_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "in.mkv"
    lavfi(*X264, *OPEN_GOP, source=LONG)(path)
    video = probe(path)
    frames = list(read_frames(video))
    with caplog.at_level(logging.INFO):
        later = list(read_frames(video, after=frames[170].time))
    assert "decoding from 7.0" in caplog.text
    assert [frame.time for frame in later] == [frame.time for frame in frames[171:]]
    for one, other in zip(later, frames[171:], strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("after", [None, 15_000])
def test_damage_is_reported_after_the_frames(tmp_path: Path, after: int | None) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    lavfi(*X264, *OPEN_GOP, source=LONG)(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    frames = read_frames(probe(cut), after)
    count = 0
    with pytest.raises(InputError, match="damaged"):  # noqa: PT012
        for _ in frames:
            count += 1
    assert count > 50


def test_closing_early_ends_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    lavfi(*X264, source=LONG)(path)
    with closing(read_frames(probe(path))) as frames:
        assert [frame.time for frame in itertools.islice(frames, 2)] == [0, 100]


def test_interlaced_fields_become_whole_frames(tmp_path: Path) -> None:
    """The lines of a moving edge are jagged before, and smooth after."""
    path = tmp_path / "in.mkv"
    moving = "nullsrc=size=64x48:rate=50:duration=1,geq=lum='219*lt(X,T*64)+16':cb=128:cr=128"
    lavfi("-vf", "interlace,format=yuv420p", "-c:v", "ffv1", "-field_order", "tt", source=moving)(path)
    video = probe(path)

    def jaggedness(deinterlace: bool) -> float:
        greens = [frame.pixels[..., 1].astype(float) for frame in read_frames(video, None, deinterlace)]
        return float(np.abs(np.diff(greens[2:-2], axis=1)).mean())

    assert video.is_interlaced
    assert jaggedness(True) < jaggedness(False) / 2
