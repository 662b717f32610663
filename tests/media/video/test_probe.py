"""`probe`: what a video is, and which files are not videos."""

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rgt_cli.errors import InputError
from rgt_cli.media import VIDEO_READABLE
from rgt_cli.media.video.decode import read_frames
from rgt_cli.media.video.probe import BT709, SMPTE170M, UNSPECIFIED, Color, probe
from rgt_cli.size import Dimensions
from tests.helpers.process import NEEDS_MKVMERGE
from tests.helpers.videos import CLIPS, HDR10, SMALL, X264, ffmpeg, lavfi, planes, with_everything


def write_unreadable(path: Path, kind: str) -> None:
    good = path.with_name("good.mkv")
    match kind:
        case "audio only":
            ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", path)
        case "no frames":
            lavfi("-frames:v", "0", *X264)(path)
        case "cover":
            cover = path.with_name("cover.png")
            lavfi("-frames:v", "1")(cover)
            ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", "0", "-map", "1", "-c:a",
                   "aac", "-c:v", "copy", "-disposition:v", "attached_pic", path)  # fmt: skip
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
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.write_bytes(b"")
        case "playlist":
            lavfi("-t", "0.2", *X264)(good)
            path.write_text(f"#EXTM3U\n#EXTINF:2,\n{good}\n#EXT-X-ENDLIST\n")
        case "concat script":
            lavfi("-t", "0.2", *X264)(good)
            path.write_text(f"ffconcat version 1.0\nfile '{good}'\n")


@pytest.mark.parametrize(
    "kind",
    ["audio only", "no frames", "cover", "text", "unknown codec", "encrypted", "empty", "pipe",
     "playlist", "concat script"],
)  # fmt: skip
def test_files_that_are_not_videos(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in.mp4"
    write_unreadable(path, kind)
    expected = {"encrypted": "encrypted", "empty": "the file is empty", "audio only": "only audio$",
                "pipe": "is not a file", "no frames": "no video in it$",
                "cover": "only audio and cover art", "concat script": "not supported"}  # fmt: skip
    with pytest.raises(InputError, match=r"in\.mp4.*" + expected.get(kind, "")):
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


def crop_mkv(path: Path) -> None:
    """Write a Matroska file of 64 x 48 that asks players to cut off 6 rows at the top and the bottom."""
    plain = path.with_name("plain.mkv")
    lavfi("-vf", "setsar=2", "-pix_fmt", "gbrp", "-c:v", "ffv1", "-write_crc32", "0")(plain)
    data = plain.read_bytes()
    display = bytes.fromhex("54b08108 54ba8103 54b28103")  # width, height and unit
    assert data.count(display) == 1
    path.write_bytes(data.replace(display, bytes.fromhex("54bb8106 54aa8106 ec820000")))


def test_cropping_of_the_container_is_applied_once(tmp_path: Path) -> None:
    crop_mkv(tmp_path / "in.mkv")
    video = probe(tmp_path / "in.mkv")
    assert video.size == (64, 36)
    frame = next(read_frames(video))
    whole = planes(tmp_path / "plain.mkv", "rgb24").reshape(-1, 48, 64, 3)[0]
    np.testing.assert_array_equal(frame.pixels, whole[6:42].astype(np.uint16) * 257)


def test_rotations_other_than_quarter_turns_are_refused(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.mp4", tmp_path / "in.mp4"
    lavfi(*X264)(plain)
    ffmpeg("-display_rotation", "45", "-i", plain, "-c", "copy", path)
    with pytest.raises(InputError, match="quarter turns"):
        probe(path)


def test_theora_that_begins_with_repeated_frames(tmp_path: Path) -> None:
    path = tmp_path / "in.ogv"
    still = "color=red:size=64x48:rate=25:duration=1"
    lavfi("-c:v", "libtheora", "-q:v", "7", source=still)(path)
    assert probe(path).size == (64, 48)


def test_rate_of_raw_dv(tmp_path: Path) -> None:
    path = tmp_path / "in.dv"
    lavfi("-c:v", "dvvideo", "-pix_fmt", "yuv420p", source="testsrc2=size=720x576:rate=25:duration=1")(
        path
    )
    assert (probe(path).rate, probe(path).frames) == (Fraction(25), 25)


@pytest.mark.parametrize(
    ("suffix", "offset", "origin"),
    [("ts", 600, 600), ("mkv", 0, 0), ("mp4", 0, 0), ("ts", 95440.3, -3.417689)],
)
def test_origin_is_the_earliest_start(tmp_path: Path, suffix: str, offset: float, origin: float) -> None:
    path = tmp_path / f"in.{suffix}"
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *X264, "-c:a", "mp2",
        "-muxdelay", "0", "-mpegts_copyts", "1", "-output_ts_offset", str(offset), path,
    )  # fmt: skip
    video = probe(path)
    assert float(video.origin) == pytest.approx(origin, abs=0.1)
    assert video.origin <= video.start * video.time_base


@pytest.mark.parametrize(("matrix", "name"), [("bt2020c", "constant luminance"), ("ictcp", "ICtCp")])
def test_color_spaces_that_are_not_supported(tmp_path: Path, matrix: str, name: str) -> None:
    path = tmp_path / "in.mkv"
    lavfi("-t", "0.1", "-vf", f"format=yuv420p,setparams=colorspace={matrix}", "-c:v", "ffv1")(path)
    with pytest.raises(InputError, match=name):
        probe(path)


SUFFIXES = {
    "264": X264, "265": ("-f", "hevc", "-c:v", "libx265", "-x265-params", "log-level=error"),
    "divx": ("-f", "avi", "-c:v", "mpeg4", "-vtag", "DIVX"), "f4v": X264,
    "hevc": ("-c:v", "libx265", "-x265-params", "log-level=error"),
    "ivf": ("-c:v", "libvpx", "-cpu-used", "8"), "m1v": ("-c:v", "mpeg1video"),
    "m2t": ("-f", "mpegts", *X264),
    "m2v": ("-c:v", "mpeg2video", "-bf", "2"), "mk3d": ("-f", "matroska", *X264),
    "mod": ("-f", "vob", "-c:v", "mpeg2video"), "ogm": ("-f", "ogg", "-c:v", "libtheora"),
    "qt": ("-f", "mov", "-c:v", "mjpeg"), "rm": ("-c:v", "rv10"), "wtv": ("-c:v", "mpeg2video"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats_without_a_muxer_of_ours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.{suffix}"
    lavfi("-t", "1", *SUFFIXES[suffix])(path)
    assert f".{suffix}" in VIDEO_READABLE
    video = probe(path)
    assert (video.size, video.rate, video.is_interlaced) == (Dimensions(64, 48), Fraction(25), False)
    frames = list(read_frames(video))
    assert len(frames) == 25 or suffix == "ogm"  # where a frame that does not change is not stored
    resumed = read_frames(video, frames[-4].time, resumes=True)
    assert [frame.time for frame in resumed] == [frame.time for frame in frames[-3:]]


@pytest.mark.parametrize("suffix", ["avi", pytest.param("mkv", marks=NEEDS_MKVMERGE)])
def test_frames_that_are_decoded_early_are_shown_in_time(tmp_path: Path, suffix: str) -> None:
    """The sound of AVI is in step with the numbers of the frames, also when Matroska contains it."""
    original, path = tmp_path / "in.avi", tmp_path / f"in.{suffix}"
    lavfi("-c:v", "mpeg4", "-bf", "2", source=SMALL)(original)
    if suffix == "mkv":
        subprocess.run(["mkvmerge", "--quiet", "-o", path, original], check=True)
        assert b"V_MS/VFW/FOURCC" in path.read_bytes()
    video = probe(path)
    assert (video.start, video.first) == (0, 0)
    times = [frame.time * video.time_base for frame in read_frames(video)]
    assert times == [Fraction(number, 25) for number in range(50)]
