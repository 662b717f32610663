"""Numbered images as the frames of a video."""

from fractions import Fraction
from pathlib import Path

import pytest

from rgt_cli.media.video.images import TICKS, describe_images, read_image_frames
from tests.helpers.videos import lavfi


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Five images of 64 x 48."""
    lavfi("-frames:v", "5")(tmp_path / "%d.png")
    return sorted(tmp_path.iterdir())


def test_times_of_the_frames(images: list[Path]) -> None:
    rate = Fraction(30000, 1001)
    video = describe_images("in", images, rate)
    assert (video.rate, video.frames, video.size, video.bits) == (rate, 5, (64, 48), 8)
    times = [frame.time * video.time_base for frame in read_image_frames(video)]
    assert times == [number / rate for number in range(5)]


@pytest.mark.parametrize(
    ("after", "first"), [(-1, 0), (0, 1), (TICKS - 1, 1), (TICKS, 2), (250, 3), (399, 4)]
)
def test_reading_from_a_time(images: list[Path], after: int, first: int) -> None:
    video = describe_images("in", images, Fraction(25))
    frames = list(read_image_frames(video, after))
    assert [frame.time for frame in frames] == [number * TICKS for number in range(first, 5)]
    assert list(read_image_frames(video, 4 * TICKS)) == []


def test_the_carrier_lives_as_long_as_the_video(images: list[Path]) -> None:
    video = describe_images("in", images, Fraction(25))
    path = video.path
    assert path.is_file()
    del video
    assert not path.parent.exists()
