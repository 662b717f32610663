"""`upscale_video`: everything but the pixels is preserved, and the pixels are the upscaled ones."""

import logging
import pickle
import re
import subprocess
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from rgt_cli.errors import InputError, UsageError
from rgt_cli.files import FileStamp
from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.jobs.job import Job, RunContext, Stopped
from rgt_cli.jobs.options import JobOptions, OutputOptions, VideoOptions
from rgt_cli.jobs.plan import plan_file
from rgt_cli.jobs.run import process
from rgt_cli.jobs.video.plan import plan_video
from rgt_cli.jobs.video.samples import preview_frames
from rgt_cli.jobs.video.upscale import upscale_video
from rgt_cli.media import format_of
from rgt_cli.media.video.ffmpeg import executable
from rgt_cli.media.video.probe import probe
from rgt_cli.media.video.resolution import FrameSizeError
from rgt_cli.size import Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import Counting, nearest_upscaler
from tests.helpers.process import names_in
from tests.helpers.videos import (
    CLIPS,
    COLORS,
    HDR10,
    SMALL,
    TAGS,
    X264,
    facts,
    ffmpeg,
    frame_count,
    lavfi,
    planes,
    upscale,
    with_everything,
)


def visible(folder: Path) -> set[str]:
    """Return the names in a folder without hidden ones."""
    return {name for name in names_in(folder) if not name.startswith(".")}


def make_job(source: Path, target: Path) -> Job:
    return Job(source, target, format_of(target))


@pytest.mark.parametrize("name", CLIPS)
def test_everything_but_the_pixels_is_preserved(tmp_path: Path, name: str) -> None:
    suffix, make = CLIPS[name]
    source = tmp_path / f"in.{suffix}"
    make(source)
    before = names_in(tmp_path)
    target = tmp_path / f"out.{'mkv' if suffix in ('ts', 'avi') else suffix}"
    options = VideoOptions(
        deinterlace=name == "interlaced", segment_seconds=100 if name == "ten minutes" else 0.7
    )
    outcome = upscale(source, target, video=options)
    assert outcome.error is None
    given, made = facts(source), facts(target)
    assert outcome.frames == len(given.times) == len(made.times)
    # Matroska counts in milliseconds, whatever the input does.
    slack = Fraction(1, 2000) if target.suffix == ".mkv" and suffix != "mkv" else 0
    begin = given.times[0] if suffix == "ts" else 0  # the earliest moment becomes zero
    assert max(abs(a - b + begin) for a, b in zip(made.times, given.times, strict=True)) <= slack
    width, height = given.size[::-1] if given.rotation else given.size
    assert outcome.source_size == (width, height)
    assert made.size == (2 * width, 2 * height) == outcome.target_size
    assert made.rotation == 0
    assert made.streams == given.streams
    for key, packets in given.packets.items():
        assert [digest for _, digest in made.packets[key]] == [digest for _, digest in packets]
        for (time, _), (expected, _) in zip(made.packets[key], packets, strict=True):
            assert abs(time - expected) <= Fraction(1, 1000)
    assert made.color_tags == given.color_tags
    assert made.side_data == given.side_data
    assert (made.aspect, made.bits, made.chapters) == (given.aspect, given.bits, given.chapters)
    assert made.tags.get("title") == given.tags.get("title")
    assert names_in(tmp_path) == before | {target.name}


@pytest.mark.parametrize(
    ("pix_fmt", "matrix", "color_range"),
    [("yuv420p", "bt709", "tv"), ("yuv420p", "smpte170m", "pc"), ("yuv422p10le", "bt709", "tv"),
     ("yuv420p10le", "bt2020nc", "tv"), ("yuv444p", "bt470bg", "tv"), ("yuv444p12le", "bt709", "pc"),
     ("gbrp", "gbr", "pc")],
)  # fmt: skip
def test_colors_return_within_one(tmp_path: Path, pix_fmt: str, matrix: str, color_range: str) -> None:
    """At x1, without a network and with a lossless encoder."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    zimg = {"bt709": "709", "smpte170m": "170m", "bt470bg": "470bg", "bt2020nc": "2020_ncl"}
    filters = ["format=gbrp"]
    if matrix in zimg:
        limits = {"tv": "limited", "pc": "full"}[color_range]
        filters.append(f"zscale=matrix={zimg[matrix]}:range={limits}:chromal=left")
    filters.append(f"format={pix_fmt}")
    lavfi("-vf", ",".join(filters), "-c:v", "ffv1", source=COLORS)(source)
    upscale(source, target, 1, video=VideoOptions(codec="ffv1"))
    assert facts(source).color_tags == facts(target).color_tags
    before, after = planes(source, pix_fmt), planes(target, pix_fmt)
    difference = np.abs(before.astype(int) - after.astype(int))
    assert difference.max() <= 1
    assert before.std() > 10


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
def test_chroma_stays_in_its_place(tmp_path: Path, location: str) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    filters = f"format=gbrp,zscale=matrix=709:range=limited:chromal={location},format=yuv420p"
    lavfi("-vf", filters, "-c:v", "ffv1", source=COLORS)(source)
    upscale(source, target, 1, video=VideoOptions(codec="ffv1"))
    assert probe(source).color.chroma_location == probe(target).color.chroma_location == location
    difference = planes(source, "yuv420p").astype(int) - planes(target, "yuv420p")
    assert np.abs(difference).max() <= 1


def test_frames_equal_the_upscaled_ones(tmp_path: Path) -> None:
    """Bit for bit, where nothing is lost: RGB in FFV1."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(source)
    upscale(source, target, video=VideoOptions(codec="ffv1", segment_seconds=0.5))
    before = planes(source, "rgb24").reshape(50, 48, 64, 3)
    after = planes(target, "rgb24").reshape(50, 96, 128, 3)
    np.testing.assert_array_equal(after, before.repeat(2, 1).repeat(2, 2))


def test_frames_share_a_batch_and_repeated_ones_are_computed_once(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    still = "color=red:size=32x24:rate=10:duration=1"
    moving = "testsrc2=size=32x24:rate=10:duration=1,format=gbrp,noise=alls=30:allf=t"
    ffmpeg("-f", "lavfi", "-i", still, "-f", "lavfi", "-i", moving, "-filter_complex",
           "[0]format=gbrp[a];[a][1]concat", "-pix_fmt", "gbrp", "-c:v", "ffv1", source)  # fmt: skip
    network = Counting()
    upscaler = MultiPassUpscaler(
        Size(scale=2), lambda scale: NetworkUpscaler(network, device="cpu", batch_size=4), [2]
    )
    progress: list[tuple[int, int]] = []
    context = make_context(
        upscaler,
        JobOptions(video=VideoOptions(codec="ffv1", segment_seconds=0.6)),
        on_progress=lambda job, done, total: progress.append((done, total)),
    )
    outcome = upscale_video(make_job(source, target), context)
    assert outcome.frames == 20
    # Segments of 6 frames in batches of 4: the still frames are computed once, the moving ones all.
    assert network.seen == [1, 2, 4, 2, 2]
    assert progress == [(done, 20) for done in range(1, 21)]
    before = planes(source, "rgb24").reshape(20, 24, 32, 3)
    np.testing.assert_array_equal(
        planes(target, "rgb24").reshape(20, 48, 64, 3), before.repeat(2, 1).repeat(2, 2)
    )


@pytest.mark.parametrize("output", [OutputOptions(), OutputOptions(strip=True)])
def test_transparency_is_preserved(tmp_path: Path, output: OutputOptions) -> None:
    source, target = tmp_path / "in.webm", tmp_path / "out.webm"
    CLIPS["VP9 with alpha"][1](source)
    upscale(source, target, output=output)

    def alpha(path: Path) -> np.ndarray:
        extract = ["-vf", "alphaextract", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
        command = [executable(), "-v", "error", "-c:v", "libvpx-vp9", "-i", str(path), *extract]
        return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)

    before = alpha(source).reshape(48, 64).repeat(2, 0).repeat(2, 1).astype(int)
    assert np.abs(alpha(target).reshape(96, 128) - before).mean() < 3
    assert before.std() > 50


def test_part_of_a_video(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with_everything(source)
    outcome = upscale(source, target, video=VideoOptions(start=0.5, end=1.5))
    before, after = facts(source), facts(target)
    half = Fraction(1, 2)
    assert after.times == [time - half for time in before.times if half <= time < 3 * half]
    assert len(after.times) == outcome.frames == 25
    assert [(float(a), float(b), name) for a, b, name in after.chapters] == [
        (0, 0.4, "One"), (0.4, 1, "Two"),
    ]  # fmt: skip
    for number in (0, 1):
        given, made = before.packets["audio", number], after.packets["audio", number]
        expected = [(time - half, digest) for time, digest in given if half <= time < 3 * half]
        assert [digest for _, digest in made] == [digest for _, digest in expected]
        assert all(
            abs(a - b) <= Fraction(1, 1000) for (a, _), (b, _) in zip(made, expected, strict=True)
        )


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [("x265", "mp4", "hevc"), ("av1", "webm", "av1"), ("vp9", "mkv", "vp9"), ("prores", "mov", "prores"),
     ("ffv1", "mkv", "ffv1"), (None, "webm", "vp9"), (None, "gif", "gif")],
)  # fmt: skip
def test_encoders(tmp_path: Path, codec: str | None, suffix: str, name: str) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / f"out.{suffix}"
    lavfi("-t", "0.4", *X264)(source)
    upscale(source, target, video=VideoOptions(codec=codec, segment_seconds=0.2))
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name.removeprefix("lib").replace("dav1d", "av1") == name
        assert sum(1 for _ in container.decode(stream)) == 10


def test_gif_to_video(tmp_path: Path) -> None:
    gif = tmp_path / "in.gif"
    lavfi("-t", "0.4")(gif)
    upscale(gif, tmp_path / "out.mp4")
    assert len(facts(tmp_path / "out.mp4").times) == len(facts(gif).times)


def test_an_image_of_each_frame(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", "-c:v", "ffv1", "-pix_fmt", "gbrp")(source)
    pattern = tmp_path / "frames" / "50%_%03d.png"
    assert upscale(source, pattern).frames == 5
    assert visible(tmp_path / "frames") == {f"50%_{number:03}.png" for number in range(1, 6)}
    with av.open(str(tmp_path / "frames" / "50%_003.png")) as container:
        (frame,) = container.decode(video=0)
    third = planes(source, "rgb24").reshape(5, 48, 64, 3)[2]
    np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), third.repeat(2, 0).repeat(2, 1))


def test_images_of_frames_that_exist_are_skipped(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", "-c:v", "ffv1", "-pix_fmt", "gbrp")(source)
    upscale(source, tmp_path / "frame%d.png")
    own = tmp_path / "frame2.png"
    own.write_text("not written again")
    (tmp_path / "frame3.png").unlink()
    outcome = upscale(source, tmp_path / "frame%d.png")
    assert outcome.frames == 5
    (warning,) = outcome.warnings
    assert "4 images" in warning
    assert own.read_text() == "not written again"
    assert (tmp_path / "frame3.png").exists()


@pytest.mark.parametrize("target", ["out.mkv", "frame%d.png"])
def test_nothing_within_the_span(tmp_path: Path, target: str) -> None:
    source = tmp_path / "in.mkv"
    lavfi(*X264)(source)
    with pytest.raises(InputError, match=r"no frame to upscale after --start: it lasts 2\.000 s"):
        upscale(source, tmp_path / target, video=VideoOptions(start=60))
    assert names_in(tmp_path) == {"in.mkv"}


def test_interlaced_video_needs_a_decision(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    CLIPS["interlaced"][1](source)
    with pytest.raises(UsageError, match="--deinterlace"):
        upscale(source, tmp_path / "out.mkv")
    assert names_in(tmp_path) == {"in.mkv"}


def test_interlaced_frames_after_progressive_ones_need_a_decision(tmp_path: Path) -> None:
    source, parts = tmp_path / "in.mkv", [tmp_path / "0.mkv", tmp_path / "1.mkv"]
    lavfi("-t", "1", *X264)(parts[0])
    CLIPS["interlaced"][1](parts[1])
    list_of_parts = tmp_path / "parts.txt"
    list_of_parts.write_text("".join(f"file '{path}'\n" for path in parts))
    ffmpeg("-f", "concat", "-safe", "0", "-i", list_of_parts, "-c", "copy", source)
    with pytest.raises(UsageError, match="--deinterlace"):
        upscale(source, tmp_path / "out.mkv")


def test_fields_become_twice_as_many_frames(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    CLIPS["interlaced"][1](source)
    fields = upscale(source, target, 1, video=VideoOptions(deinterlace=True, fields=True))
    made = facts(target)
    assert fields.frames == len(made.times) == 2 * len(facts(source).times)
    assert made.times[:4] == [Fraction(40 * number, 1000) for number in range(4)]


@pytest.mark.parametrize("suffix", ["ts", "vob"])
def test_stopped_and_continued_far_from_a_keyframe(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in.{suffix}", tmp_path / "out.mkv"
    codec = ("-c:v", "mpeg2video", "-g", "600", "-bf", "2", "-sc_threshold", "1000000000")
    lavfi(*codec, source="testsrc2=size=32x24:rate=25:duration=40")(source)
    context = stopping_context(600, threading.Event(), Recorded(), segment_seconds=5)
    with pytest.raises(Stopped):
        upscale_video(make_job(source, target), context)
    outcome = upscale_video(make_job(source, target), replace(context, stop=threading.Event()))
    assert outcome.error is None
    assert outcome.frames == frame_count(target) == 1000


def test_preview_of_a_video_without_a_duration(tmp_path: Path) -> None:
    source = tmp_path / "in.h264"
    lavfi(*X264)(source)
    job, context = make_job(source, tmp_path / "out.mkv"), make_context(nearest_upscaler())
    images = [path.read_bytes() for path in preview_frames(job, context, 3)]
    assert len(set(images)) == 3


@pytest.mark.parametrize(
    "options",
    [VideoOptions(codec="nonsense"), VideoOptions(preset="warp"), VideoOptions(pix_fmt="yuv420p99"),
     VideoOptions(encoder_args=("-bf", "lots")), VideoOptions(codec="ffv1", preset="slow")],
)  # fmt: skip
def test_options_that_the_encoder_rejects(tmp_path: Path, options: VideoOptions) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", *X264)(source)
    with pytest.raises(UsageError) as raised:
        upscale(source, tmp_path / "out.mkv", video=options)
    assert "0x" not in str(raised.value)  # an address
    assert names_in(tmp_path) == {"in.mkv"}


def test_images_do_not_support_videos(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", *X264)(source)
    with pytest.raises(UsageError, match="%06d"):
        upscale(source, tmp_path / "out.png")


def test_unreadable_input_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in.mp4").write_text("this is not a video" * 100)
    with pytest.raises(InputError, match=r"in\.mp4"):
        upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert names_in(tmp_path) == {"in.mp4"}


def test_truncated_video_yields_what_it_contains(tmp_path: Path) -> None:
    whole, source, target = tmp_path / "whole.mkv", tmp_path / "in.mkv", tmp_path / "out.mkv"
    with_everything(whole)
    data = whole.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    outcome = upscale(source, target)
    assert isinstance(outcome.error, InputError)
    assert "damaged" in str(outcome.error)
    assert 5 < outcome.frames < 50
    assert facts(target).times == facts(whole).times[: outcome.frames]
    with av.open(str(target)) as container:  # although the input states its full length
        assert (container.duration or 0) / av.time_base < 0.04 * outcome.frames + 0.1


@pytest.mark.parametrize(
    "name",
    ["-i.mkv", "concat:a|b.mkv", "%d.mkv", "a'b [1]\\,x;y.mkv", "pipe:0.mkv", "\udcff.mkv"],
)
def test_names_are_only_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lavfi("-t", "0.2", *X264)(tmp_path / "a.mkv")
    (tmp_path / "a.mkv").rename(tmp_path / name)
    (tmp_path / "out").mkdir()
    upscale(Path(name), Path("out", name))
    assert names_in(tmp_path / "out") == {name}


def test_streams_that_the_container_does_not_support(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mp4"
    with_everything(source)
    context_warnings: list[str] = []
    context = make_context(nearest_upscaler(), warn=context_warnings.append)
    outcome = upscale_video(make_job(source, target), context)
    left_out, converted = outcome.warnings
    assert context_warnings == [left_out, converted]
    assert "attachment 4" in left_out
    assert "subtitle 3 (srt) to mov_text" in converted
    streams = [stream[:2] for stream in facts(target).streams if stream[0] != "data"]
    assert streams == [("audio", "aac"), ("audio", "flac"), ("subtitle", "mov_text")]


def test_odd_sides_and_transparency_that_cannot_be_encoded(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", "-vf", "scale=63:47,format=bgra", "-c:v", "ffv1")(source)
    outcome = upscale(source, tmp_path / "out.mp4", 1)
    assert outcome.target_size == (62, 46) == facts(tmp_path / "out.mp4").size
    cropped, transparency = outcome.warnings
    assert "63 x 47" in cropped
    assert "62 x 46" in cropped
    assert "transparency" in transparency


class Recorded:
    """A journal in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def begin(self, job: Job, source: FileStamp | None = None) -> None:
        assert not job.target.exists()
        self.lines.append(("begin", job.target.name))

    def done(self, job: Job) -> None:
        assert job.target.exists()
        self.lines.append(("done", job.target.name))


def stopping_context(
    frames: int, stop: threading.Event, journal: Recorded, segment_seconds: float
) -> RunContext:
    """Return a context that is stopped after a number of frames."""

    def on_progress(job: Job, done: int, total: int) -> None:
        if done >= frames:
            stop.set()

    return make_context(
        nearest_upscaler(),
        JobOptions(video=VideoOptions(codec="ffv1", segment_seconds=segment_seconds)),
        journal=journal,
        on_progress=on_progress,
        stop=stop,
    )


def test_stopped_and_continued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(source)
    journal, stop, warnings = Recorded(), threading.Event(), list[str]()
    context = stopping_context(12, stop, journal, segment_seconds=0.4)
    with pytest.raises(Stopped):
        upscale_video(make_job(source, target), replace(context, warn=warnings.append))
    assert journal.lines == [("begin", "out.mkv")]
    (folder,) = tmp_path.glob(".rgt-*")
    assert [f"20 frames stay in {folder}" in warning for warning in warnings] == [True]
    assert sorted(path.name for path in folder.glob("*.mkv")) == ["000000.mkv", "000001.mkv"]
    computed: list[int] = []
    again = replace(
        context, stop=threading.Event(), on_progress=lambda job, done, total: computed.append(done)
    )
    with caplog.at_level(logging.INFO):
        outcome = upscale_video(make_job(source, target), again)
    assert "2 finished segments" in caplog.text
    assert computed == list(range(21, 51))
    assert outcome.frames == 50
    assert journal.lines[-1] == ("done", "out.mkv")
    before = planes(source, "rgb24").reshape(50, 48, 64, 3)
    after = planes(target, "rgb24").reshape(50, 96, 128, 3)
    np.testing.assert_array_equal(after, before.repeat(2, 1).repeat(2, 2))
    assert names_in(tmp_path) == {"in.mkv", "out.mkv"}


def test_stopped_within_the_last_segment(tmp_path: Path) -> None:
    """The video is complete by then."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    lavfi(*X264)(source)
    context = stopping_context(45, threading.Event(), Recorded(), segment_seconds=1)
    assert upscale_video(make_job(source, target), context).frames == frame_count(target) == 50


def test_stopped_between_images_of_frames(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi(*X264)(source)
    context = replace(
        stopping_context(3, threading.Event(), Recorded(), segment_seconds=1), journal=None
    )
    with pytest.raises(Stopped):
        upscale_video(make_job(source, tmp_path / "%d.png"), replace(context, options=JobOptions()))
    assert visible(tmp_path) == {"in.mkv", "1.png", "2.png", "3.png"}


def test_segments_of_other_settings_are_discarded(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(source)
    context = stopping_context(12, threading.Event(), Recorded(), segment_seconds=0.4)
    with pytest.raises(Stopped):
        upscale_video(make_job(source, target), context)
    computed: list[int] = []
    other = replace(
        context,
        upscaler=nearest_upscaler(Size(scale=3)),
        stop=threading.Event(),
        on_progress=lambda job, done, total: computed.append(done),
    )
    upscale_video(make_job(source, target), other)
    assert computed == list(range(1, 51))
    assert facts(target).size == (192, 144)


def test_plan_describes_the_output_and_writes_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with_everything(source)
    before = names_in(tmp_path)
    options = JobOptions(video=VideoOptions(start=0.5, end=1.5))
    plan = plan_video(make_job(source, target), make_context(nearest_upscaler(), options))
    assert (plan.size, plan.frames) == ((128, 96), 25)
    assert (plan.codec.encoder, plan.pix_fmt, plan.warnings) == ("libx264", "yuv420p", ())
    images = plan_video(make_job(source, tmp_path / "%d.jpg"), make_context(nearest_upscaler(), options))
    assert (images.size, images.frames, images.codec.encoder) == ((128, 96), 25, "jpeg")
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("start", [None, 1.0])
def test_preview_frames_are_spread_over_the_span(tmp_path: Path, start: float | None) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(source)
    context = make_context(nearest_upscaler(), JobOptions(video=VideoOptions(start=start)))
    paths = list(preview_frames(make_job(source, tmp_path / "out.mkv"), context, 3))
    assert [path.name for path in paths] == [f"out_preview{number}.png" for number in (1, 2, 3)]
    frames = planes(source, "rgb24").reshape(50, 48, 64, 3).repeat(2, 1).repeat(2, 2)
    for path, index in zip(paths, (8, 25, 41) if start is None else (29, 37, 45), strict=True):
        with av.open(str(path)) as container:
            (shown,) = container.decode(video=0)
        np.testing.assert_array_equal(shown.to_ndarray(format="rgb24"), frames[index])
    assert names_in(tmp_path) == {"in.mkv", *(path.name for path in paths)}


def test_more_previews_than_frames(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", *X264)(source)
    warnings: list[str] = []
    context = make_context(nearest_upscaler(), warn=warnings.append)
    assert len(list(preview_frames(make_job(source, tmp_path / "out.mkv"), context, 300))) == 5
    assert warnings == [f"{source}: has 5 frames, not 300"]


@pytest.mark.parametrize(
    "options",
    [VideoOptions(codec="x264"), VideoOptions(crf=20), VideoOptions(preset="fast"),
     VideoOptions(pix_fmt="yuv420p"), VideoOptions(encoder_args=("-g", "9"))],
)  # fmt: skip
def test_images_of_frames_have_no_encoder(tmp_path: Path, options: VideoOptions) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", *X264)(source)
    with pytest.raises(UsageError, match="has no effect where each frame becomes an image"):
        upscale(source, tmp_path / "%d.png", video=options)


@pytest.mark.parametrize("times", [{"start": 2, "end": 1}, {"start": 1, "end": 1}, {"end": 0}])
def test_empty_part_of_a_video(times: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="--end"):
        VideoOptions(**times)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("codec", "suffix", "full", "most"),
    [("ffv1", "mkv", 2, 1), ("x264", "mkv", 2, 6), ("x265", "mkv", 2, 6), ("av1", "mkv", 2, 12),
     ("vp9", "webm", 2, 6), ("prores", "mov", 1, 6)],
)  # fmt: skip
def test_full_range(tmp_path: Path, codec: str, suffix: str, full: int, most: int) -> None:
    """The samples mean what the tag says, and FFV1 stores them as they are."""
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    ramp = "format=gray,geq=lum='X*4+Y/16',scale=out_range=full,format=yuv422p"
    tags = TAGS.format("bt709", "bt709", "bt709", "pc")
    lavfi("-t", "0.2", "-vf", f"{ramp},{tags}", "-c:v", "mjpeg", "-color_range", "pc", "-q:v", "1")(
        source
    )
    upscale(source, target, 1, video=VideoOptions(codec=codec))
    assert facts(target).color_tags[3] == full
    before, after = planes(source, "gray"), planes(target, "gray")
    assert before.min() < 5
    assert before.max() > 250
    assert np.abs(before.astype(int) - after).max() <= most


@pytest.mark.parametrize(
    ("arguments", "suffix", "height", "matrix"),
    [(("-c:v", "apng", "-pix_fmt", "rgb24"), "apng", 48, 6), (("-c:v", "libx264rgb"), "mkv", 48, 6),
     (("-c:v", "ffv1", "-pix_fmt", "gbrp"), "mkv", 720, 1), (("-pix_fmt", "pal8"), "gif", 48, 6)],
)  # fmt: skip
def test_rgb_becomes_what_players_expect(
    tmp_path: Path, arguments: tuple[str, ...], suffix: str, height: int, matrix: int
) -> None:
    """In limited range with all tags, with chroma of half the size."""
    source, target = tmp_path / f"in.{suffix}", tmp_path / "out.mp4"
    lavfi("-frames:v", "2", "-vf", f"scale=64:{height}", *arguments)(source)
    upscale(source, target, 1)
    assert facts(target).color_tags == (1, 13, matrix, 1)
    with av.open(str(target)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
    before, after = planes(source, "rgb24").astype(int), planes(target, "rgb24").astype(int)
    assert abs(before.mean() - after.mean()) < 2


def test_transparency_of_prores_in_webm(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mov", tmp_path / "out.webm"
    lavfi("-t", "0.2", "-vf", "format=rgba,geq=r='X':g='Y':b=0:a='X*4'", "-c:v", "prores_ks",
          "-profile:v", "4444", "-pix_fmt", "yuva444p10le")(source)  # fmt: skip
    assert upscale(source, target, 1).warnings == ()
    assert probe(target).has_alpha
    assert b"\x53\xc0\x81\x01" in target.read_bytes()  # AlphaMode, which players go by


@pytest.mark.parametrize(("rate", "fewest"), [("60", 30), ("50", 50), ("25", 25), ("60000/1001", 29)])
def test_gifs_have_delays_that_browsers_respect(tmp_path: Path, rate: str, fewest: int) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.gif"
    lavfi(*X264, source=f"testsrc2=size=64x48:rate={rate}:duration=1")(source)
    outcome = upscale(source, target, 1)
    with av.open(str(target)) as container:
        times = [frame.pts for frame in container.decode(video=0) if frame.pts is not None]
    gaps = np.diff(times)
    assert gaps.min() >= 2
    assert fewest <= outcome.frames <= 50
    assert times[-1] >= 94
    assert any("50 a second" in warning for warning in outcome.warnings) == (float(Fraction(rate)) > 50)


HDR_FILTERS = TAGS.format("bt2020", "smpte2084", "bt2020nc", "tv") + ",format=yuv420p10le"
HDR_ENCODER = ("-t", "0.2", "-c:v", "libx265", "-x265-params", HDR10)


def test_images_of_hdr_frames(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    lavfi("-vf", HDR_FILTERS + ",setsar=64/45", *HDR_ENCODER)(source)
    assert upscale(source, tmp_path / "%d.png", 1).warnings == ()
    with av.open(str(tmp_path / "3.png")) as container:
        (frame,) = container.decode(video=0)
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)
    assert (int(frame.color_primaries), int(frame.color_trc)) == (9, 16)
    assert facts(tmp_path / "3.png").side_data.keys() == facts(source).side_data.keys()
    assert frame.format.name == "rgb48be"
    (warning,) = upscale(source, tmp_path / "%d.jpg", 1).warnings
    assert "HDR color tags, the pixel aspect ratio (not supported by jpeg, but by png)" in warning


@pytest.mark.parametrize(
    ("transfer", "white", "gray"), [("smpte2084", 0.58, 0.35), ("arib-std-b67", 0.75, 0.4)]
)
def test_hdr_becomes_a_gif_of_sdr(tmp_path: Path, transfer: str, white: float, gray: float) -> None:
    """Diffuse white, at 203 cd/m2, is bright, and a dark gray stays dark."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.gif"
    limited = [64 + round(share * 876) for share in (gray, white)]
    filters = f"geq=lum='if(lt(X,32),{limited[0]},{limited[1]})':cb=512:cr=512"
    tags = TAGS.format("bt2020", transfer, "bt2020nc", "tv")
    lavfi("-vf", f"format=yuv420p10le,{filters},{tags}", *HDR_ENCODER)(source)
    (warning,) = upscale(source, target, 1).warnings
    assert "HDR" in warning
    shown = planes(target, "gray").reshape(-1, 48, 64)[0]
    assert shown[:, 48:].mean() > 190
    assert 20 < shown[:, :16].mean() < 120


@pytest.mark.parametrize("other", ["video", "size", "start"])
def test_two_kinds_of_frames_in_one_folder(tmp_path: Path, other: str) -> None:
    source, second = tmp_path / "in.mkv", tmp_path / "in2.mkv"
    lavfi("-t", "0.2", *X264)(source)
    lavfi("-t", "0.4", *X264)(second)
    pattern = tmp_path / "frames" / "%d.png"
    upscale(second if other == "video" else source, pattern)
    with pytest.raises(UsageError, match="images of another video"):
        upscale(
            source, pattern, 1 if other == "size" else 2,
            video=VideoOptions(start=0.08 if other == "start" else None),
        )  # fmt: skip
    assert len(visible(tmp_path / "frames")) == (10 if other == "video" else 5)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_each_frame_of_an_animation_becomes_an_image(tmp_path: Path, suffix: str) -> None:
    source, pattern = tmp_path / f"in.{suffix}", tmp_path / "frames" / "%d.png"
    first, *others = [Image.new("RGB", (16, 12), (80 * number, 0, 0)) for number in range(4)]
    first.save(source, save_all=True, append_images=others, duration=[100, 200, 100, 300])
    job = plan_file(source, pattern, OutputOptions())
    assert process(job, make_context(nearest_upscaler(Size(scale=2)))).frames == 4
    images = [np.asarray(Image.open(pattern.with_name(f"{number}.png"))) for number in range(1, 5)]
    assert [image.shape[:2] for image in images] == [(24, 32)] * 4
    assert [int(image[12, 16, 0]) for image in images] == pytest.approx([0, 80, 160, 240], abs=3)


def test_one_image_may_have_the_name_of_a_pattern(tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / "%d.png"
    Image.new("RGB", (16, 12)).save(source)
    process(plan_file(source, target, OutputOptions()), make_context(nearest_upscaler(Size(scale=2))))
    assert target.exists()


def numbered(folder: Path, *arguments: str, count: int = 6, suffix: str = "png") -> tuple[Path, ...]:
    """Write numbered images with the real ffmpeg."""
    folder.mkdir()
    lavfi("-frames:v", str(count), *arguments)(folder / f"%06d.{suffix}")
    return tuple(sorted(folder.iterdir()))


@pytest.mark.parametrize(
    ("pix_fmt", "suffix", "exact", "dtype"),
    [("rgb24", "png", "gbrp", np.uint8), ("rgba", "png", "gbrap", np.uint8),
     ("rgb48be", "png", "gbrp16le", np.uint16), ("rgba64be", "png", "gbrap16le", np.uint16),
     ("gray", "png", "gbrp", np.uint8), ("rgb48le", "tiff", "gbrp16le", np.uint16)],
)  # fmt: skip
def test_numbered_images_become_a_video(
    tmp_path: Path, pix_fmt: str, suffix: str, exact: str, dtype: type
) -> None:
    """Bit for bit, where nothing is lost."""
    ramp = "format=rgba64le,geq=r='X*1000':g='Y*1300+N*3':b='X*Y*20':a='65535-X*900'"
    images = numbered(tmp_path / "in", "-vf", ramp, "-pix_fmt", pix_fmt, suffix=suffix)
    target = tmp_path / "out.mkv"
    options = VideoOptions(codec="ffv1", fps=Fraction(24), segment_seconds=0.1)
    job = replace(make_job(images[0], target), images=images)
    context = make_context(nearest_upscaler(Size(scale=1)), JobOptions(video=options))
    outcome = upscale_video(job, context)
    assert (outcome.frames, outcome.warnings) == (6, ())
    assert facts(target).times == [round(Fraction(n * 1000, 24)) * Fraction(1, 1000) for n in range(6)]
    assert planes(target, exact).dtype == dtype
    before = np.concatenate([planes(image, exact) for image in images])
    np.testing.assert_array_equal(planes(target, exact), before)


def test_numbered_images_in_hdr_return(tmp_path: Path) -> None:
    source, back = tmp_path / "in.mkv", tmp_path / "back.mkv"
    lavfi("-vf", HDR_FILTERS + ",setsar=64/45", *HDR_ENCODER)(source)
    upscale(source, tmp_path / "frames" / "%d.png", 1)
    images = tuple((tmp_path / "frames" / f"{number}.png") for number in range(1, 6))
    job = replace(make_job(images[0], back), images=images)
    context = make_context(
        nearest_upscaler(Size(scale=1)), JobOptions(video=VideoOptions(pix_fmt="yuv420p10le"))
    )
    upscale_video(job, context)
    given, made = facts(source), facts(back)
    assert made.color_tags == given.color_tags
    assert made.side_data == given.side_data
    assert len(made.side_data) == 2
    assert abs(made.aspect / given.aspect - 1) < Fraction(1, 1000)  # in MKV, a ratio of whole pixels
    assert len(made.times) == 5
    difference = planes(source, "yuv420p10le").astype(int) - planes(back, "yuv420p10le")
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize(
    ("change", "reason"),
    [("size", "000003.png has 32 x 24 pixels, but 000001.png has 64 x 48"),
     ("pages", "contains 3 images"), ("damage", r"000003\.png")],
)  # fmt: skip
def test_images_that_are_not_the_frames_of_one_video(tmp_path: Path, change: str, reason: str) -> None:
    images = numbered(tmp_path / "in")
    if change == "size":
        lavfi("-frames:v", "1", "-vf", "scale=32:24")(images[2])
    elif change == "pages":
        lavfi("-frames:v", "3", "-f", "apng")(images[0])
    else:
        images[2].write_bytes(images[2].read_bytes()[:200])
    job = replace(make_job(images[0], tmp_path / "out.mkv"), images=images)
    context = make_context(nearest_upscaler())
    if change == "damage":
        outcome = upscale_video(job, context)
        assert outcome.frames == 2
        error: Exception | None = outcome.error
    else:
        with pytest.raises((UsageError, InputError)) as raised:
            upscale_video(job, context)
        error = raised.value
    assert re.search(reason, str(error))


def test_an_image_that_changes_discards_the_segments(tmp_path: Path) -> None:
    images = numbered(tmp_path / "in")
    job = replace(make_job(images[0], tmp_path / "out.mkv"), images=images)
    before = job.stamp
    images[3].write_bytes(images[4].read_bytes() + b"1")
    assert job.stamp != before


RECORDING = ("-g", "10", "-c:a", "mp2", "-mpegts_copyts", "1", "-muxdelay", "0")


def record(path: Path, start: float) -> bytes:
    """Write a recording of two seconds with sound that starts at a time, and return it."""
    ffmpeg("-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *X264, *RECORDING,
           "-output_ts_offset", f"{start:g}", path)  # fmt: skip
    return path.read_bytes()


@pytest.mark.parametrize("target", ["out.mkv", "out.mp4"])
@pytest.mark.parametrize(
    ("starts", "seconds"),
    [((95442.5,), 2), ((59857,), 2), ((60, 0), 4), ((0, 60), 4), ((5, 6.7), 4), ((5, 90_000, 5), 6)],
)
def test_recordings_start_at_zero_and_have_no_gaps(
    tmp_path: Path, starts: tuple[float, ...], seconds: int, target: str
) -> None:
    """The first recording passes the time at which the clock of MPEG-TS returns to zero."""
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(record(tmp_path / f"{start}.ts", start) for start in starts))
    outcome = upscale(source, tmp_path / target, 1)
    assert outcome.error is None
    assert outcome.frames == 25 * seconds
    assert any("jump" in warning for warning in outcome.warnings) == (len(starts) > 1)
    made = facts(tmp_path / target)
    sound = [float(time) for time, _ in made.packets["audio", 0]]
    frames = [float(time) for time in made.times]
    assert min(*sound, *frames) == pytest.approx(0, abs=0.001)
    assert sound[0] == pytest.approx(frames[0], abs=0.05)
    assert sound[-1] == pytest.approx(frames[-1], abs=0.1 * len(starts))
    assert frames[-1] - frames[0] == pytest.approx(seconds - 0.04, abs=0.15 * len(starts))
    assert names_in(tmp_path) == {f"{start}.ts" for start in starts} | {"in.ts", target}


@pytest.mark.parametrize("target", ["out.mkv", "out.mp4", "out.webm"])
@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_last_frame_is_shown_as_long_as_in_the_input(
    tmp_path: Path, suffix: str, target: str
) -> None:
    source = tmp_path / f"in.{suffix}"
    images = [Image.new("RGB", (32, 24), (60 * number, 0, 0)) for number in range(4)]
    images[0].save(source, save_all=True, append_images=images[1:], duration=[100, 300, 40, 2000])
    upscale(source, tmp_path / target)
    with av.open(str(tmp_path / target)) as container:
        assert container.duration == 2_440_000


def test_a_resolution_that_changes_is_an_error(tmp_path: Path) -> None:
    """The finished segments stay, and a run that ends before the change uses them."""
    source, target = tmp_path / "in.h264", tmp_path / "out.mkv"  # has no places to look at beforehand
    for size, duration in (("64:48", "2"), ("32:24", "0.3")):
        part = tmp_path / "part.h264"
        lavfi("-t", duration, "-vf", f"scale={size}", *X264, "-bf", "0", "-g", "5")(part)
        with source.open("ab") as joined:
            joined.write(part.read_bytes())
    job, messages = make_job(source, target), list[str]()
    with pytest.raises(FrameSizeError, match="from 64 x 48 to 32 x 24 at 2 s") as caught:
        upscale_video(job, noting_context(messages, segment_seconds=0.4))
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert not target.exists()
    assert "40 frames stay in" in messages[-1]
    upscale_video(job, noting_context(messages, segment_seconds=0.4, end=2))
    assert messages[-1] == f"resuming {target}: 40 frames are done"
    assert frame_count(target) == 50


def noting_context(messages: list[str], **video: float) -> RunContext:
    """Return a context that collects all messages."""
    options = JobOptions(video=VideoOptions(**video))  # type: ignore[arg-type]
    context = make_context(nearest_upscaler(Size(scale=2)), options)
    return replace(context, warn=messages.append, inform=messages.append)
