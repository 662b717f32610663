"""Films of every kind, made by the real ffmpeg, in and out: frames, times, streams and tags."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from rgt_cli.errors import InputError, UsageError
from rgt_cli.inference import MultiPassUpscaler, Upscaler
from rgt_cli.jobs import Job, Outcome, Recipe, VideoOptions, run_job
from rgt_cli.media import format_of
from rgt_cli.media.video.codecs import VideoEncoding
from rgt_cli.media.video.decode import read_frames
from rgt_cli.media.video.ffmpeg import executable
from rgt_cli.media.video.probe import probe
from rgt_cli.size import Size
from tests.conftest import Counting, nearest_upscaler

SMALL = "testsrc2=size=64x48:rate=25:duration=2"
TAGS = "setparams=color_primaries={}:color_trc={}:colorspace={}:range={}"
HDR10 = (
    "log-level=error:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,1):max-cll=1000,400"
)
SUBTITLES = "1\n00:00:00,100 --> 00:00:01,200\nHello\n\n2\n00:00:01,300 --> 00:00:01,900\nthere\n"
CHAPTERS = """;FFMETADATA1
title=The film
[CHAPTER]
TIMEBASE=1/1000
START=0
END=900
title=One
[CHAPTER]
TIMEBASE=1/1000
START=900
END=2000
title=Two
"""


def ffmpeg(*arguments: str | Path) -> None:
    command = [executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


@dataclass
class Facts:
    """What a reader sees of a film."""

    times: list[Fraction]
    size: tuple[int, int]
    streams: list[tuple]
    packets: dict[tuple, list]
    """Of the other streams: when, and a digest of what."""
    tags: tuple
    sides: dict[int, bytes]
    aspect: Fraction
    chapters: list[tuple]
    title: str | None
    bits: int
    rotation: int


def facts(path: Path) -> Facts:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        hdr = {Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL}
        known = {
            "times": [f.pts * stream.time_base for f in frames],
            "size": (first.width, first.height),
            "tags": (
                int(first.color_primaries), int(first.color_trc), int(first.colorspace),
                int(first.color_range) or 1,  # limited is what it means if it is not told
            ),
            "sides": {d.type.value: bytes(d) for d in first.side_data if d.type in hdr},
            "aspect": Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
            "chapters": [
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title"))
                for c in container.chapters()
            ],
            "title": container.metadata.get("title"),
            "bits": max(c.bits for c in first.format.components),
            "rotation": first.rotation,
        }  # fmt: skip
        index = stream.index
    with av.open(str(path)) as container:
        others = [s for s in container.streams if s.index != index]
        named = {s.index: (s.type, i) for i, s in enumerate(others)}
        known["streams"] = [
            (s.type, getattr(s, "name", ""), s.metadata.get("language"), s.metadata.get("filename"),
             int(s.disposition))
            for s in others
        ]  # fmt: skip
        packets: dict[tuple, list] = {name: [] for name in named.values()}
        moving = [s for s in others if s.type != "attachment"]
        for packet in container.demux(moving) if moving else ():
            if packet.size:
                when = packet.pts * packet.time_base
                digest = hashlib.md5(bytes(packet)).hexdigest()
                packets[named[packet.stream.index]].append((when, digest))
        return Facts(packets=packets, **known)


Make = Callable[[Path], None]


def lavfi(*arguments: str, source: str = SMALL) -> Make:
    return lambda path: ffmpeg("-f", "lavfi", "-i", source, *arguments, path)


def rotated(path: Path) -> None:
    plain = path.with_name("plain.mov")
    lavfi("-c:v", "libx264", "-pix_fmt", "yuv420p")(plain)
    ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", path)


def with_everything(path: Path) -> None:
    folder = path.parent
    (folder / "a.srt").write_text(SUBTITLES)
    (folder / "a.ttf").write_bytes(bytes(range(256)) * 5)
    (folder / "chapters.txt").write_text(CHAPTERS)
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=frequency=440:duration=2",
        "-f", "lavfi", "-i", "sine=frequency=880:duration=2", "-i", folder / "a.srt",
        "-i", folder / "chapters.txt", "-map", "0", "-map", "1", "-map", "2", "-map", "3",
        "-map_metadata", "4", "-map_chapters", "4", "-c:v", "libx264", "-c:a:0", "aac", "-c:a:1", "flac",
        "-c:s", "srt", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu",
        "-metadata:s:s:0", "language=fra", "-disposition:a:1", "default", "-disposition:s:0", "forced",
        "-attach", folder / "a.ttf", "-metadata:s:t", "mimetype=font/ttf", "-pix_fmt", "yuv420p", path,
    )  # fmt: skip


def cut_by_an_edit_list(path: Path) -> None:
    whole = path.with_name("whole.mp4")
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", "-c:v", "libx264",
        "-pix_fmt", "yuv420p", "-c:a", "aac", whole,
    )  # fmt: skip
    ffmpeg("-ss", "0.5", "-i", whole, "-c", "copy", path)


def late(path: Path) -> None:
    lavfi("-c:v", "libx264", "-pix_fmt", "yuv420p", "-muxdelay", "0", "-output_ts_offset", "7.3")(path)


VARIABLE = (
    "settb=1/90000,setpts='N*1001/24000/TB+0.011*mod(N,3)/TB'", "-fps_mode", "passthrough",
    "-enc_time_base", "1:90000", "-video_track_timescale", "90000",
)  # fmt: skip
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
CLIPS: dict[str, tuple[str, Make]] = {
    "x264": ("mp4", lambda p: ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *X264, "-c:a", "aac", p)),
    "variable rate": ("mp4", lavfi("-vf", *VARIABLE, *X264, "-bf", "3")),
    "open GOP, B-frames": (
        "mkv", lavfi(*X264, "-bf", "3", "-g", "12", "-x264-params", "open-gop=1:b-pyramid=normal")),
    "HEVC HDR10": ("mp4", lavfi(
        "-vf", TAGS.format("bt2020", "smpte2084", "bt2020nc", "tv") + ",format=yuv420p10le",
        "-c:v", "libx265", "-x265-params", HDR10)),
    "HEVC HLG": ("mkv", lavfi(
        "-vf", TAGS.format("bt2020", "arib-std-b67", "bt2020nc", "tv") + ",format=yuv420p10le",
        "-c:v", "libx265", "-x265-params", "log-level=error")),
    "VP9": ("webm", lavfi("-c:v", "libvpx-vp9", "-cpu-used", "8", "-pix_fmt", "yuv420p")),
    "VP9 with alpha": ("webm", lavfi(
        "-vf", "format=yuva420p,geq=lum='lum(X,Y)':a='X*4'", "-c:v", "libvpx-vp9", "-cpu-used", "8",
        "-pix_fmt", "yuva420p", "-auto-alt-ref", "0")),
    "ProRes": ("mov", lavfi("-c:v", "prores_ks", "-profile:v", "3", "-pix_fmt", "yuv422p10le")),
    "interlaced": ("mkv", lavfi(
        "-vf", "interlace", *X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1")),
    "rotated phone": ("mov", rotated),
    "two sounds, subtitles, font, chapters": ("mkv", with_everything),
    "odd sides": ("mkv", lavfi("-vf", "scale=63:47,format=yuv420p", "-c:v", "ffv1")),
    "full range": ("mp4", lavfi(
        "-vf", "scale=out_range=full," + TAGS.format("bt709", "bt709", "bt709", "pc"), *X264)),
    "anamorphic": ("mp4", lavfi("-vf", "setsar=32/27", *X264)),
    "one frame": ("mp4", lavfi("-frames:v", "1", *X264)),
    "begins at 7.3 s": ("ts", late),
    "timecode": ("mov", lavfi(*X264, "-timecode", "01:02:03:04")),
    "edit list": ("mp4", cut_by_an_edit_list),
    "AV1": ("mkv", lavfi("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p10le")),
    "MPEG-4 in AVI": ("avi", lavfi("-c:v", "mpeg4")),
    "ten minutes": ("mkv", lavfi(*X264, "-preset", "ultrafast",
        source="testsrc2=size=16x16:rate=24000/1001:duration=600")),
}  # fmt: skip


def upscale(source: Path, target: Path, scale: float = 2, **film: object) -> Outcome:
    recipe = Recipe(film=VideoOptions(**film))
    job = Job(source, target, format_of(target))
    outcome = run_job(job, recipe, nearest_upscaler(Size(scale=scale)), lambda done, total: None)
    assert outcome
    return outcome


@pytest.mark.parametrize("name", CLIPS)
def test_all_but_the_pixels_is_kept(tmp_path: Path, name: str) -> None:
    suffix, make = CLIPS[name]
    source = tmp_path / f"in.{suffix}"
    make(source)
    target = tmp_path / f"out.{'mkv' if suffix in ('ts', 'avi') else suffix}"
    outcome = upscale(source, target, deinterlace=name == "interlaced", segment_seconds=0.7 if name !=
                      "ten minutes" else 100)  # fmt: skip
    assert outcome.error is None
    before, after = facts(source), facts(target)
    assert outcome.frames == len(before.times) == len(after.times)
    # Matroska counts in milliseconds, whatever its sources do.
    slack = Fraction(1, 2000) if target.suffix == ".mkv" and suffix != "mkv" else 0
    assert max(abs(a - b) for a, b in zip(after.times, before.times, strict=True)) <= slack
    turned = before.size[::-1] if before.rotation else before.size
    assert after.size == (2 * turned[0], 2 * turned[1]) == outcome.target_size
    assert after.rotation == 0
    assert after.streams == before.streams
    for key, packets in before.packets.items():
        assert [p for _, p in after.packets[key]] == [p for _, p in packets]
        assert all(abs(a - b) <= Fraction(1, 1000) for (a, _), (b, _) in zip(
            after.packets[key], packets, strict=True))  # fmt: skip
    assert after.tags == before.tags
    assert after.sides == before.sides
    assert (after.aspect, after.title, after.chapters) == (before.aspect, before.title, before.chapters)
    assert after.bits == before.bits
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".rgt")} == set()


def planes(path: Path, pix_fmt: str) -> np.ndarray:
    """Every sample of a film, as ffmpeg decodes it."""
    dtype = np.uint16 if "le" in pix_fmt else np.uint8
    command = [executable(), "-v", "error", "-i", path, "-map", "0:v", "-fps_mode", "passthrough",
               "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]  # fmt: skip
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, dtype)


COLORS = "mandelbrot=size=96x64:rate=5:start_scale=2,trim=duration=1,gblur=sigma=6"


@pytest.mark.parametrize(
    ("pix_fmt", "matrix", "scale_range"),
    [("yuv420p", "bt709", "tv"), ("yuv420p", "smpte170m", "pc"), ("yuv422p10le", "bt709", "tv"),
     ("yuv420p10le", "bt2020nc", "tv"), ("yuv444p", "bt470bg", "tv"), ("yuv444p12le", "bt709", "pc"),
     ("gbrp", "gbr", "pc")],
)  # fmt: skip
def test_colors_come_back_within_one(
    tmp_path: Path, pix_fmt: str, matrix: str, scale_range: str
) -> None:
    """At x1, without a network and without a loss in the encoder."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    filters = f"zscale=matrix={matrix}:range={scale_range}:chromal=left," * (matrix != "gbr").real
    filters = filters.replace("smpte170m", "170m").replace("bt470bg", "470bg").replace("bt709", "709")
    filters = filters.replace("bt2020nc", "2020_ncl").replace("tv:", "limited:").replace("pc:", "full:")
    lavfi("-vf", f"format=gbrp,{filters}format={pix_fmt}", "-c:v", "ffv1", source=COLORS)(source)
    upscale(source, target, 1, encoding=VideoEncoding("ffv1"))
    assert facts(source).tags == facts(target).tags
    before, after = planes(source, pix_fmt), planes(target, pix_fmt)
    difference = np.abs(before.astype(int) - after.astype(int))
    assert difference.max() <= 1
    assert before.std() > 10


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
def test_chroma_stays_where_it_is(tmp_path: Path, location: str) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    filters = f"format=gbrp,zscale=matrix=709:range=limited:chromal={location},format=yuv420p"
    lavfi("-vf", filters, "-c:v", "ffv1", source=COLORS)(source)
    upscale(source, target, 1, encoding=VideoEncoding("ffv1"))
    assert probe(source).color.chroma_location == probe(target).color.chroma_location == location
    difference = planes(source, "yuv420p").astype(int) - planes(target, "yuv420p")
    assert np.abs(difference).max() <= 1


def test_frames_are_the_enlarged_ones(tmp_path: Path) -> None:
    """Bit for bit, where nothing is lost: RGB in FFV1."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(source)
    upscale(source, target, encoding=VideoEncoding("ffv1"), segment_seconds=0.5)
    before = planes(source, "rgb24").reshape(50, 48, 64, 3)
    after = planes(target, "rgb24").reshape(50, 96, 128, 3)
    np.testing.assert_array_equal(after, before.repeat(2, 1).repeat(2, 2))


def test_frames_share_a_batch_and_still_ones_are_not_computed_again(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    still = "color=red:size=32x24:rate=10:duration=1"
    moving = "testsrc2=size=32x24:rate=10:duration=1,format=gbrp,noise=alls=30:allf=t"
    ffmpeg("-f", "lavfi", "-i", still, "-f", "lavfi", "-i", moving, "-filter_complex",
           "[0]format=gbrp[a];[a][1]concat", "-pix_fmt", "gbrp", "-c:v", "ffv1", source)  # fmt: skip
    network = Counting()
    upscaler = MultiPassUpscaler(
        Size(scale=2), lambda scale: Upscaler(network, device="cpu", batch=4), [2]
    )
    recipe = Recipe(film=VideoOptions(VideoEncoding("ffv1"), segment_seconds=0.6))
    outcome = run_job(Job(source, target, format_of(target)), recipe, upscaler, lambda *_: None)
    assert outcome
    assert outcome.frames == 20
    # Segments of 6 frames, in batches of 4: the still ones are one, and the moving ones are all there.
    assert network.seen == [1, 2, 4, 2, 2]
    before = planes(source, "rgb24").reshape(20, 24, 32, 3)
    np.testing.assert_array_equal(
        planes(target, "rgb24").reshape(20, 48, 64, 3), before.repeat(2, 1).repeat(2, 2)
    )


def test_alpha_is_kept(tmp_path: Path) -> None:
    source, target = tmp_path / "in.webm", tmp_path / "out.webm"
    CLIPS["VP9 with alpha"][1](source)
    upscale(source, target)

    def alpha(path: Path) -> np.ndarray:
        command = [executable(), "-v", "error", "-c:v", "libvpx-vp9", "-i", path, "-vf", "alphaextract",
                   "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]  # fmt: skip
        return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)

    before = alpha(source).reshape(48, 64).repeat(2, 0).repeat(2, 1).astype(int)
    assert np.abs(alpha(target).reshape(96, 128) - before).mean() < 3
    assert before.std() > 50


def test_part_of_a_film(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with_everything(source)
    upscale(source, target, start=0.5, end=1.5)
    after = facts(target)
    assert after.times == [Fraction(i, 25) for i in range(25)] or len(after.times) == 25
    assert after.times[0] < Fraction(1, 20)
    assert [(float(a), float(b), name) for a, b, name in after.chapters] == [
        (0, 0.4, "One"), (0.4, 1, "Two"),
    ]  # fmt: skip
    sound = [when for when, _ in after.packets[("audio", 0)]]
    assert -0.1 < sound[0] < 0.05
    assert 0.9 < sound[-1] < 1.05


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [("x265", "mp4", "hevc"), ("av1", "webm", "av1"), ("vp9", "mkv", "vp9"), ("prores", "mov", "prores"),
     ("ffv1", "mkv", "ffv1"), (None, "webm", "vp9"), (None, "gif", "gif")],
)  # fmt: skip
def test_encoders(tmp_path: Path, codec: str | None, suffix: str, name: str) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / f"out.{suffix}"
    lavfi("-t", "0.4", *X264)(source)
    upscale(source, target, encoding=VideoEncoding(codec), segment_seconds=0.2)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name.removeprefix("lib").replace("dav1d", "av1") == name
        assert sum(1 for _ in container.decode(stream)) == 10


def test_gif_into_a_film_and_numbered_pictures(tmp_path: Path) -> None:
    gif = tmp_path / "in.gif"
    lavfi("-t", "0.4")(gif)
    upscale(gif, tmp_path / "out.mp4")
    assert len(facts(tmp_path / "out.mp4").times) == len(facts(gif).times)
    source = tmp_path / "in.mkv"
    lavfi("-t", "0.2", "-c:v", "ffv1", "-pix_fmt", "gbrp")(source)
    for _ in range(2):  # the second time, they are there
        outcome = upscale(source, tmp_path / "frames" / "50%_%03d.png")
        assert outcome.frames == 5
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"50%_{i:03}.png" for i in range(1, 6)]
    with av.open(str(tmp_path / "frames" / "50%_003.png")) as container:
        (frame,) = container.decode(video=0)
    third = planes(source, "rgb24").reshape(5, 48, 64, 3)[2]
    np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), third.repeat(2, 0).repeat(2, 1))


def bad(path: Path, kind: str) -> None:
    good = path.with_name("good.mkv")
    with_everything(good)
    match kind:
        case "sound alone":
            ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", path)
        case "no film":
            path.write_text("this is no film" * 100)
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
            path.write_text(f"#EXTM3U\n#EXTINF:2,\n{good}\n#EXT-X-ENDLIST\n")
        case "concat script":
            path.write_text(f"ffconcat version 1.0\nfile '{good}'\n")


@pytest.mark.parametrize(
    "kind",
    ["sound alone", "no film", "unknown codec", "encrypted", "empty", "playlist", "concat script"],
)
def test_what_is_no_film(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    bad(source, kind)
    with pytest.raises(InputError, match=r"in\.mp4"):
        upscale(source, target)
    assert not target.exists()


def test_what_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    CLIPS["interlaced"][1](source)
    with pytest.raises(UsageError, match="--deinterlace"):
        upscale(source, tmp_path / "out.mkv")
    with_everything(source)
    for encoding in (
        VideoEncoding("nonsense"), VideoEncoding(preset="warp"),
        VideoEncoding(arguments=("-bf", "lots")), VideoEncoding(pix_fmt="yuv420p99"),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            upscale(source, tmp_path / "out.mkv", encoding=encoding)
    with pytest.raises(UsageError, match="%06d"):
        upscale(source, tmp_path / "out.png")


def test_truncated_films_yield_what_they_have(tmp_path: Path) -> None:
    whole, source, target = tmp_path / "whole.mkv", tmp_path / "in.mkv", tmp_path / "out.mkv"
    with_everything(whole)
    data = whole.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    outcome = upscale(source, target)
    assert isinstance(outcome.error, InputError)
    assert "damaged" in str(outcome.error)
    assert 5 < outcome.frames < 50
    assert len(facts(target).times) == outcome.frames


def test_going_on_in_the_middle_yields_the_same_frames_and_the_damage(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    moving = "testsrc2=size=32x24:rate=10:duration=30"
    options = ("-bf", "3", "-g", "50", "-x264-params", "open-gop=1")
    lavfi(*X264, *options, source=moving)(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    video = probe(whole)
    frames = list(read_frames(video))
    late = list(read_frames(video, after=frames[170].time))
    assert [frame.time for frame in late] == [frame.time for frame in frames[171:]]
    for one, other in zip(late, frames[171:], strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    with pytest.raises(InputError, match="is damaged"):
        list(read_frames(probe(cut), after=frames[150].time))


def names_that_mislead() -> Sequence[str]:
    return ["-i.mkv", "concat:a|b.mkv", "%d.mkv", "a'b [1]\\,x;y.mkv", "pipe:0.mkv", "\udcff.mkv"]


@pytest.mark.parametrize("name", names_that_mislead())
def test_names_are_only_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lavfi("-t", "0.2", *X264)(tmp_path / "a.mkv")
    (tmp_path / "a.mkv").rename(tmp_path / name)
    (tmp_path / "out").mkdir()
    upscale(Path(name), Path("out", name.replace("%d", "percent")))
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_what_the_container_cannot_hold_is_told(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mp4"
    with_everything(source)
    outcome = upscale(source, target)
    (warning,) = outcome.warnings
    assert "subtitle 3 (srt)" in warning
    assert "attachment 4" in warning
    assert [s[0] for s in facts(target).streams if s[0] != "data"] == ["audio", "audio"]
