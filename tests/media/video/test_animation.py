"""Animated images as videos: exact pixels, times and transparency."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media.video.animation import open_animation
from rgt_cli.media.video.decode import ReadReport, read_frames
from rgt_cli.media.video.probe import probe
from tests.helpers.videos import X264, facts, lavfi, upscale

DELAYS = [100, 300, 40, 2000]
"""Milliseconds."""
STARTS = [0.0, 0.1, 0.4, 0.44]


def pictures(transparent: bool) -> list[np.ndarray]:
    """Return four frames in which a block moves, on a transparent or a blue background."""
    frames = np.zeros((4, 24, 32, 4), np.uint8)
    frames[...] = (0, 0, 0, 0) if transparent else (0, 0, 200, 255)
    for number in range(4):
        frames[number, 4:12, 4 * number : 4 * number + 8] = (60 * number, 200, 10, 255)
        if transparent:
            frames[number, 6:9, 4 * number + 2 : 4 * number + 5] = 0
    return list(frames)


def write(path: Path, transparent: bool) -> list[np.ndarray]:
    """Write an animation, and return its frames."""
    frames = pictures(transparent)
    images = [Image.fromarray(frame) for frame in frames]
    if not transparent:
        images = [image.convert("RGB") for image in images]
    kind: dict[str, dict[str, Any]] = {
        ".gif": {"disposal": 2},
        ".webp": {"lossless": True},
        ".avif": {"quality": 100},
    }
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=DELAYS, **kind.get(path.suffix, {})
    )
    return frames


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("suffix", ["gif", "webp", "avif", "png"])
def test_frames(tmp_path: Path, suffix: str, transparent: bool) -> None:
    path, report = tmp_path / f"in.{suffix}", ReadReport()
    expected = write(path, transparent)
    video = probe(path)
    assert video.has_alpha == transparent
    assert (video.size, video.others, video.bits) == ((32, 24), (), 8)
    frames = list(read_frames(video, report=report))
    assert [float(frame.time * video.time_base) for frame in frames] == STARTS
    assert float((report.end or 0) * video.time_base) == 2.44
    for frame, whole in zip(frames, expected, strict=True):
        visible = whole[..., 3] > 0
        difference = np.abs(frame.pixels / 257 - whole[..., :3])[visible]
        # AVIF stores YUV with a quarter of the chroma samples.
        assert difference.mean() < (20 if suffix == "avif" else 0.01)
        if transparent:
            assert frame.alpha is not None
            np.testing.assert_array_equal(frame.alpha // 257, whole[..., 3])
    later = list(read_frames(video, frames[1].time, resumes=True))
    assert [frame.time for frame in later] == [frame.time for frame in frames[2:]]


@pytest.mark.parametrize("suffix", ["gif", "webp", "avif"])
@pytest.mark.parametrize("target", ["out.webm", "out.mov", "out.mkv", "out.mp4"])
def test_animations_become_videos(tmp_path: Path, suffix: str, target: str) -> None:
    path = tmp_path / f"in.{suffix}"
    write(path, transparent=True)
    outcome = upscale(path, tmp_path / target)
    assert outcome.error is None
    assert any("transparency" in warning for warning in outcome.warnings) == (target == "out.mp4")
    made = facts(tmp_path / target)
    assert [round(float(time), 3) for time in made.times] == STARTS
    assert made.streams == []


def test_still_images_in_animations_are_no_frames(tmp_path: Path) -> None:
    """AVIF stores a still image beside its tracks, for readers without support for animations."""
    path, target = tmp_path / "in.avif", tmp_path / "out.mp4"
    write(path, transparent=False)
    assert upscale(path, target).frames == 4
    assert (len(facts(target).times), facts(target).streams) == (4, [])


def test_other_files_are_not_animations(tmp_path: Path) -> None:
    lavfi("-t", "0.2", *X264)(tmp_path / "in.mp4")
    Image.new("RGB", (8, 8)).save(tmp_path / "still.webp")
    (tmp_path / "short.webp").write_bytes(b"RIFF")
    assert [open_animation(path) for path in sorted(tmp_path.iterdir())] == [None] * 3


def test_damaged_animation_yields_what_it_contains(tmp_path: Path) -> None:
    path = tmp_path / "in.webp"
    write(path, transparent=True)
    data = bytearray(path.read_bytes())
    last = data.rindex(b"ANMF")
    data[last + 40 : last + 60] = bytes(20)
    path.write_bytes(data)
    frames, count = read_frames(probe(path)), 0
    with pytest.raises(InputError, match="damaged"):  # noqa: PT012
        for _ in frames:
            count += 1
    assert count == 3
