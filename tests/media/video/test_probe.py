"""`probe`: what a video is, and which files are not videos."""

from fractions import Fraction
from pathlib import Path

import pytest

from rgt_cli.errors import InputError
from rgt_cli.media.video.probe import BT709, SMPTE170M, UNSPECIFIED, Color, probe
from tests.helpers.videos import CLIPS, HDR10, X264, ffmpeg, lavfi, with_everything


def write_unreadable(path: Path, kind: str) -> None:
    good = path.with_name("good.mkv")
    match kind:
        case "audio only":
            ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", path)
        case "text":
            path.write_text("this is not a video" * 100)
        case "unknown codec":
            plain = path.with_name("plain.avi")
            lavfi("-t", "0.2", "-c:v", "mpeg4")(plain)
            path.write_bytes(plain.read_bytes().replace(b"FMP4", b"ZZZZ"))
        case "encrypted":
            plain = path.with_name("plain.mp4")
            lavfi("-t", "0.2", *X264)(plain)
            ffmpeg(
                "-i", plain, "-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key",
                "0123456789abcdef" * 2, "-encryption_kid", "fedcba9876543210" * 2, path,
            )  # fmt: skip
        case "empty":
            path.write_bytes(b"")
        case "playlist":
            lavfi("-t", "0.2", *X264)(good)
            path.write_text(f"#EXTM3U\n#EXTINF:2,\n{good}\n#EXT-X-ENDLIST\n")
        case "concat script":
            lavfi("-t", "0.2", *X264)(good)
            path.write_text(f"ffconcat version 1.0\nfile '{good}'\n")


@pytest.mark.parametrize(
    "kind", ["audio only", "text", "unknown codec", "encrypted", "empty", "playlist", "concat script"]
)
def test_files_that_are_not_videos(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in.mp4"
    write_unreadable(path, kind)
    with pytest.raises(InputError, match=r"in\.mp4"):
        probe(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in\.mp4"):
        probe(tmp_path / "in.mp4")


def test_usual_video(tmp_path: Path) -> None:
    with_everything(tmp_path / "whole.mkv")
    ffmpeg("-i", tmp_path / "whole.mkv", "-map", "0", "-c", "copy", "-t", "1.9", tmp_path / "in.mkv")
    video = probe(tmp_path / "in.mkv")
    assert (video.codec, video.size, video.pixel_format) == ("h264", (64, 48), "yuv420p")
    assert (video.bits, video.has_alpha, video.is_interlaced) == (8, False, False)
    assert (video.rate, video.frames, video.start) == (Fraction(25), 50, 0)
    assert (video.sample_aspect, video.time_base) == (Fraction(1), Fraction(1, 1000))
    assert (video.index, video.others) == (0, (1, 2, 3, 4))
    assert video.color.matrix == UNSPECIFIED


@pytest.mark.parametrize(
    ("name", "facts"),
    [("rotated phone", {"size": (48, 64)}), ("interlaced", {"is_interlaced": True}),
     ("VP9 with alpha", {"has_alpha": True}), ("odd sides", {"size": (63, 47)}),
     ("anamorphic", {"sample_aspect": Fraction(32, 27)}), ("ProRes", {"bits": 10}),
     ("AV1", {"bits": 10, "pixel_format": "yuv420p10le"}), ("starts at 7.3 s", {"start": 657000})],
)  # fmt: skip
def test_properties(tmp_path: Path, name: str, facts: dict[str, object]) -> None:
    suffix, make = CLIPS[name]
    make(tmp_path / f"in.{suffix}")
    video = probe(tmp_path / f"in.{suffix}")
    assert {key: getattr(video, key) for key in facts} == facts


def test_hdr(tmp_path: Path) -> None:
    suffix, make = CLIPS["HEVC HDR10"]
    make(tmp_path / f"in.{suffix}")
    color = probe(tmp_path / f"in.{suffix}").color
    assert (color.primaries, color.transfer, color.matrix, color.full_range) == (9, 16, 9, False)
    assert color.mastering_display
    assert f"master-display={color.mastering_display}:max-cll={color.content_light}" in HDR10


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    cover, plain, path = tmp_path / "cover.jpg", tmp_path / "plain.mp4", tmp_path / "in.mp4"
    lavfi("-frames:v", "1", source="color=red:size=640x480")(cover)
    lavfi(*X264)(plain)
    ffmpeg("-i", cover, "-i", plain, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0",
           "attached_pic", path)  # fmt: skip
    video = probe(path)
    assert video.size == (64, 48)
    assert len(video.others) == 1


def test_unspecified_matrix_depends_on_the_height() -> None:
    assert [Color().matrix_at(height) for height in (719, 720)] == [SMPTE170M, BT709]
    assert [Color(matrix=9).matrix_at(height) for height in (719, 720)] == [9, 9]
