"""The times, shapes and codecs of joined videos in each container; ffprobe is the independent reader."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rgt_cli.errors import UsageError
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.options import JobOptions, VideoOptions
from rgt_cli.jobs.video.plan import plan_video
from rgt_cli.media import format_named
from rgt_cli.size import Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.process import names_in
from tests.helpers.videos import (
    X264,
    facts,
    ffmpeg,
    flash_and_click,
    lavfi,
    stream_tags,
    sync_of,
    upscale,
    with_everything,
)

SHORT = "testsrc2=size=64x48:rate=25:duration=0.4"
NEEDS_FFPROBE = pytest.mark.skipif(
    shutil.which("ffprobe") is None, reason="ffprobe, of the package ffmpeg, is not installed"
)


def ffprobe(path: Path, *arguments: str) -> Any:
    command = ["ffprobe", "-v", "error", "-of", "json", *arguments, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.parametrize(
    ("codec", "suffix", "encoder"),
    [("prores", "mp4", "prores_ks"), ("av1", "mov", "libsvtav1"), ("vp9", "mov", "libvpx-vp9"),
     ("x264", "webm", "libx264"), ("x265", "webm", "libx265"), ("ffv1", "mov", "ffv1"),
     ("ffv1", "webm", "ffv1"), ("huffyuv", "mkv", "huffyuv"), ("x264", "gif", "libx264")],
)  # fmt: skip
def test_codecs_that_a_container_does_not_support(
    tmp_path: Path, codec: str, suffix: str, encoder: str
) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    lavfi(*X264, source=SHORT)(source)
    with pytest.raises(
        UsageError, match=f"^{suffix} does not support video by {encoder} .*omit --codec"
    ):
        upscale(source, target, video=VideoOptions(codec=codec))
    assert names_in(tmp_path) == {"in.mkv"}


@pytest.mark.parametrize(
    "arguments",
    [
        "-t 0.2",
        "-frames:v 3",
        "-vf scale=32:24",
        "-filter:v null",
        "-s 32x24",
        "-movflags +faststart",
        "-r 5",
    ],
)
def test_arguments_that_do_not_concern_the_encoder(tmp_path: Path, arguments: str) -> None:
    source = tmp_path / "in.mkv"
    lavfi(*X264, source=SHORT)(source)
    with pytest.raises(UsageError, match=f"--encoder-args {arguments.split()[0]}"):
        upscale(source, tmp_path / "out.mp4", video=VideoOptions(encoder_args=tuple(arguments.split())))
    assert names_in(tmp_path) == {"in.mkv"}


@pytest.mark.parametrize(
    ("codec", "arguments"),
    [("libtheora", ()), ("libtheora", ("-q:v", "10")),
     ("libopenh264", ("-allow_skip_frames", "1", "-b:v", "1k"))],
)  # fmt: skip
def test_an_encoder_that_drops_frames(tmp_path: Path, codec: str, arguments: tuple[str, ...]) -> None:
    """It is refused before any frame of the input is upscaled."""
    source = tmp_path / "in.mkv"
    lavfi("-c:v", "ffv1", source=SHORT)(source)
    options = JobOptions(video=VideoOptions(codec=codec, encoder_args=arguments))
    job = Job(source, tmp_path / "out.mkv", format_named("mkv"))
    with pytest.raises(UsageError, match="frames from 6: use another --codec"):
        plan_video(job, make_context(nearest_upscaler(Size(scale=2)), options))


@NEEDS_FFPROBE
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("x264", "mkv"), ("x264", "mov"), ("x265", "mp4"), ("av1", "mp4"), ("av1", "mkv"), ("ffv1", "mkv"),
     ("vp9", "mp4"), ("vp9", "mkv"), ("prores", "mov")],
)  # fmt: skip
def test_the_shape_of_pixels(tmp_path: Path, codec: str, suffix: str) -> None:
    source, target = tmp_path / "in.mpg", tmp_path / f"out.{suffix}"
    shape = ("-vf", "setsar=64/45", "-c:v", "mpeg2video", "-q:v", "2")
    lavfi(*shape, source="testsrc2=size=48x40:rate=25:duration=0.2")(source)
    upscale(source, target, video=VideoOptions(codec=codec))
    (stream,) = ffprobe(target, "-show_streams")["streams"]
    assert stream["display_aspect_ratio"] == "16:9"


@NEEDS_FFPROBE
@pytest.mark.parametrize(
    ("aspect", "target"),
    [("128/117", "x264.mkv"), ("237/235", "x264.mkv"), ("1001/1000", "x265.mp4"), ("237/235", "vp9.mp4"),
     ("128/117", "prores.mov"), ("237/235", "x265.mkv"), ("237/235", "av1.mkv"), ("237/235", "vp9.mkv"),
     ("237/235", "ffv1.mkv")],
)  # fmt: skip
def test_shapes_with_large_terms(tmp_path: Path, aspect: str, target: str) -> None:
    source = tmp_path / "in.mp4"
    shape = ("-vf", f"setsar={aspect}:max=10000")
    lavfi(*shape, *X264, source="testsrc2=size=48x40:rate=25:duration=0.2")(source)
    upscale(source, tmp_path / target, video=VideoOptions(codec=target.split(".")[0]))
    (stream,) = ffprobe(tmp_path / target, "-show_streams")["streams"]
    assert stream["sample_aspect_ratio"] == aspect.replace("/", ":")
    assert facts(tmp_path / target).times == facts(source).times


@NEEDS_FFPROBE
@pytest.mark.parametrize(
    ("pix_fmt", "profile", "tag"),
    [("yuv422p10le", "3", "apch"), ("yuv422p10le", "0", "apco"), ("yuva444p10le", "4444", "ap4h")],
)
def test_the_tags_of_prores(tmp_path: Path, pix_fmt: str, profile: str, tag: str) -> None:
    source, target = tmp_path / "in.mov", tmp_path / "out.mov"
    lavfi("-c:v", "prores_ks", "-profile:v", profile, "-pix_fmt", pix_fmt, source=SHORT)(source)
    arguments = () if profile == "4444" else ("-profile:v", profile)
    upscale(source, target, video=VideoOptions(codec="prores", encoder_args=arguments))
    assert ffprobe(target, "-show_streams")["streams"][0]["codec_tag_string"] == tag


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_videos_play_while_they_are_downloaded(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    lavfi(*X264, source=SHORT)(source)
    upscale(source, target)
    content = target.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


@NEEDS_FFPROBE
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "gif"])
def test_the_last_frame_is_shown_as_long_as_in_the_input(tmp_path: Path, suffix: str) -> None:
    animation, slides = tmp_path / "in.gif", tmp_path / "slides.mkv"
    images = [Image.new("RGB", (32, 32), (60 * number, 0, 0)) for number in range(4)]
    images[0].save(
        animation, save_all=True, append_images=images[1:], duration=[100, 300, 40, 2000], loop=0
    )
    shown = "testsrc2=size=64x48:rate=1:duration=4,setpts='if(lt(N\\,3)\\,N\\,9)/TB'"
    passthrough = ("-fps_mode", "passthrough", "-bsf:v", r"setts=duration=if(eq(N\,3)\,5/TB\,DURATION)")
    lavfi(*X264, "-bf", "0", *passthrough, source=shown)(slides)
    for source, expected in ((animation, 2.44), (slides, 14.0)):
        target = tmp_path / f"out.{suffix}"
        upscale(source, target)
        duration = float(ffprobe(target, "-show_format")["format"]["duration"])
        assert duration == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_all_images_of_a_slide_show_are_shown(tmp_path: Path, suffix: str) -> None:
    """FFmpeg does not know when a short file with reordered frames starts."""
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    lavfi(*X264, "-bf", "2", source="testsrc2=size=64x48:rate=1/3:duration=12")(source)
    upscale(source, target)
    assert facts(target).times == [0, 3, 6, 9]
    assert float(ffprobe(target, "-show_format")["format"]["duration"]) == pytest.approx(12)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_gap_near_the_end_does_not_make_the_output_longer(tmp_path: Path, suffix: str) -> None:
    """Frames are reordered across it."""
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    gap = "testsrc2=size=64x48:rate=10:duration=0.8,setpts='if(gte(N\\,4)\\,N+40\\,N)'"
    lavfi("-fps_mode", "passthrough", "-c:v", "ffv1", source=gap)(source)
    upscale(source, target)
    assert facts(target).times == [Fraction(time, 10) for time in (0, 1, 2, 3, 44, 45, 46, 47)]
    assert float(ffprobe(target, "-show_format")["format"]["duration"]) == pytest.approx(4.8, abs=0.001)


@NEEDS_FFPROBE
def test_the_end_of_a_stream_that_starts_later(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    statistics = ("-metadata:s:v", "_STATISTICS_WRITING_APP=mkvmerge")
    lavfi(*X264, "-bf", "0", "-output_ts_offset", "0.02", *statistics, source=SHORT)(source)
    content = source.read_bytes()
    assert b"00:00:00.420000000" in content  # as ffmpeg writes it
    source.write_bytes(content.replace(b"00:00:00.420000000", b"00:00:00.400000000"))
    upscale(source, target)
    assert float(ffprobe(target, "-show_format")["format"]["duration"]) == pytest.approx(0.4)


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_gif_of_several_segments(tmp_path: Path, seconds: float) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.gif"
    lavfi("-c:v", "ffv1", source="testsrc2=size=48x36:rate=5:duration=3")(source)
    upscale(source, target, video=VideoOptions(segment_seconds=seconds))
    with Image.open(target) as animation:
        assert getattr(animation, "n_frames", 1) == 15
    assert len(facts(target).times) == 15


def test_frames_within_a_tick_of_the_container(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    fast = (
        "-vf",
        "settb=1/90000,setpts='N*30'",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1:90000",
    )
    lavfi(*fast, *X264, "-video_track_timescale", "90000", source=SHORT)(source)
    for suffix in ("mp4", "mkv", "webm"):
        target = tmp_path / f"out.{suffix}"
        upscale(source, target)
        times = facts(target).times
        assert len(set(times)) == len(times) == 10
    assert facts(tmp_path / "out.mp4").times == [Fraction(n * 30, 90000) for n in range(10)]


DVD = ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "ac3")


@pytest.mark.parametrize(
    ("name", "target"),
    [("zero.mp4", "out.mp4"), ("zero.mp4", "out.webm"), ("offset.ts", "out.mp4"),
     ("delayed.mkv", "out.mp4"), ("gap.ts", "out.mp4"), ("gap.ts", "out.webm"),
     ("program.mpg", "out.mkv"), ("gap.vob", "out.mp4"), ("back.vob", "out.mkv"),
     ("reordered.avi", "out.mp4")],
)  # fmt: skip
def test_video_and_audio_are_in_sync(tmp_path: Path, name: str, target: str) -> None:
    source = tmp_path / name
    match name:
        case "offset.ts":
            flash_and_click(source, "-output_ts_offset", "36000")
        case "delayed.mkv":
            flash_and_click(source, "-output_ts_offset", "7.3")
        case "gap.ts" | "gap.vob" | "back.vob":
            for number, start in enumerate((60, 0) if name == "back.vob" else (0, 60)):
                part = tmp_path / f"part{number}{source.suffix}"
                codecs = DVD if source.suffix == ".vob" else ()
                flash_and_click(part, *codecs, "-output_ts_offset", str(start))
                with source.open("ab") as joined:
                    joined.write(part.read_bytes())
        case _:
            flash_and_click(source)
    upscale(source, tmp_path / target, video=VideoOptions(segment_seconds=0.7))
    flashes, clicks = sync_of(tmp_path / target)
    is_joined = name.startswith(("gap", "back"))
    expected = [0.48, 1.48, 2.48, 3.48] if is_joined else [0.48, 1.48]
    assert flashes == pytest.approx(expected, abs=0.06)
    assert clicks == pytest.approx(flashes, abs=0.02)
    upscale(source, tmp_path / target, video=VideoOptions(start=1.1, end=1.8))
    flashes, clicks = sync_of(tmp_path / target)
    assert flashes == pytest.approx([0.38], abs=0.06)
    assert clicks == pytest.approx(flashes, abs=0.02)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_subtitles_at_both_ends_of_a_span_are_cut(tmp_path: Path, suffix: str) -> None:
    source, target, cues = tmp_path / "in.mkv", tmp_path / f"out.{suffix}", tmp_path / "out.srt"
    with_everything(source)
    upscale(source, target, video=VideoOptions(start=0.5, end=1.5))
    ffmpeg("-i", target, "-map", "0:s", cues)
    assert cues.read_text().split("\n\n")[:2] == [
        "1\n00:00:00,000 --> 00:00:00,700\nHello", "2\n00:00:00,800 --> 00:00:01,000\nthere",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "timecode", "start", "expected"),
    [("25", "01:02:03:04", 0.4, "01:02:03:14"), ("25", "23:59:59:24", 0.04, "00:00:00:00"),
     ("30000/1001", "01:02:59;28", 0.1, "01:03:00;03"),
     ("30000/1001", "01:09:59;28", 0.1, "01:10:00;01")],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_timecode_advances_with_the_start(
    tmp_path: Path, rate: str, timecode: str, start: float, expected: str, suffix: str
) -> None:
    source, target = tmp_path / "in.mov", tmp_path / f"out.{suffix}"
    lavfi(*X264, "-timecode", timecode, source=f"testsrc2=size=64x48:rate={rate}:duration=0.6")(source)
    upscale(source, target, video=VideoOptions(start=start))
    tags = {key.lower(): value for tags in stream_tags(target) for key, value in tags.items()}
    assert tags["timecode"] == expected


def test_languages_and_titles_in_mp4(tmp_path: Path) -> None:
    plain, source = tmp_path / "plain.mkv", tmp_path / "in.mkv"
    with_everything(plain)
    ffmpeg("-i", plain, "-map", "0", "-c", "copy", "-metadata:s:a:0", "language=pt-BR",
           "-metadata:s:a:0", "title=Commentary; 50% = \\ #1", source)  # fmt: skip
    for name in ("one.mp4", "two.mp4", "three.mkv"):
        upscale(source, tmp_path / name)
        source = tmp_path / name
        tags = stream_tags(source)[1]
        assert tags["language"] == "por"
        assert "Commentary; 50% = \\ #1" in (tags.get("title"), tags.get("name"))


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s24be", "pcm_f32le", "pcm_s16le"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "webm"])
def test_sound_that_is_not_compressed(tmp_path: Path, codec: str, suffix: str) -> None:
    source, target = tmp_path / "in.mov", tmp_path / f"out.{suffix}"
    sound = ("-f", "lavfi", "-i", "sine=duration=0.4")
    ffmpeg("-f", "lavfi", "-i", SHORT, *sound, *X264, "-c:a", codec, source)
    for warning in upscale(source, target).warnings:
        assert f"converted: audio 1 ({codec}) to" in warning
    ((kind, name, *_),) = facts(target).streams
    assert kind == "audio"
    # Older versions of ffmpeg do not support PCM in MP4.
    assert str(name).startswith("opus" if suffix == "webm" else ("pcm", "alac"))


@NEEDS_FFPROBE
@pytest.mark.parametrize(
    ("aspect", "suffix", "expected"),
    [("64/45", "mp4", (136, 80)), ("64/45", "gif", (137, 80)), ("1/2", "mkv", (96, 160)),
     ("1", "mp4", (96, 80))],
)  # fmt: skip
def test_square_pixels(tmp_path: Path, aspect: str, suffix: str, expected: tuple[int, int]) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    picture = "testsrc2=size=48x40:rate=25:duration=0.4"
    lavfi("-vf", f"setsar={aspect}", "-c:v", "ffv1", "-pix_fmt", "yuv420p", source=picture)(source)
    outcome = upscale(source, target, video=VideoOptions(square_pixels=True))
    assert (outcome.target_size, outcome.warnings) == (expected, ())
    (stream,) = ffprobe(target, "-show_streams")["streams"]
    assert (stream["width"], stream["height"]) == expected
    assert stream.get("sample_aspect_ratio", "1:1") == "1:1"


def test_a_second_video_keeps_its_times(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    odd = "testsrc2=size=32x24:rate=30000/1001:duration=0.4"
    lavfi("-f", "lavfi", "-i", odd, "-map", "0", "-map", "1", *X264, source=SHORT)(source)
    assert upscale(source, target).warnings == ()
    before, after = facts(source), facts(target)
    assert after.times == before.times
    assert after.packets == before.packets
    assert len(after.packets["video", 0]) == 12
