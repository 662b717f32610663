"""Which tags and streams reach the output; exiftool and ffmpeg are the independent readers."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import ExifTags, Image

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.options import JobOptions, OutputOptions, VideoOptions
from rgt_cli.jobs.video.plan import plan_video
from rgt_cli.media import container_of, format_named
from rgt_cli.media.video.join import Segment
from rgt_cli.media.video.metadata import MetadataPolicy
from rgt_cli.media.video.mux import Output, assemble
from rgt_cli.media.video.probe import Video, probe
from rgt_cli.media.video.streams import StreamPlan
from rgt_cli.size import Dimensions, Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.process import NEEDS_EXIFTOOL, names_in
from tests.helpers.videos import (
    CHAPTERS,
    SMALL,
    X264,
    facts,
    ffmpeg,
    lavfi,
    stream_tags,
    upscale,
    with_everything,
)

PLACE = "+48.8577+002.2950/"
TELEMETRY = "1\n00:00:00,000 --> 00:00:01,000\nF/2.8, ISO 100, GPS (2.2950, 48.8577, 15)\n"


def phone_video(path: Path) -> None:
    """Write a video with the tags of a phone: locations of the file and of a stream, model and time."""
    tags = {
        "location": PLACE,
        "location-eng": PLACE,
        "com.apple.quicktime.location.ISO6709": "+48.8577+002.2950+035.000/",
        "com.apple.quicktime.location.accuracy.horizontal": "4.766567",
        "com.apple.quicktime.model": "iPhone 12",
        "creation_time": "2024-05-06T07:08:09.000000Z",
        "title": "Holiday",
    }
    arguments = [part for key, value in tags.items() for part in ("-metadata", f"{key}={value}")]
    if path.suffix in (".mov", ".mp4"):
        arguments += ["-movflags", "use_metadata_tags"]
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *X264, "-c:a", "aac",
        *arguments, "-metadata:s:a:0", f"location={PLACE}", "-metadata:s:a:0", "language=deu", path,
    )  # fmt: skip


def exif_of(path: Path) -> dict[str, object]:
    """Return all tags that exiftool finds, also in timed metadata, without those of the file system."""
    command = ["exiftool", "-json", "-ee", "-G1", "-a", "-api", "largefilesupport=1", str(path)]
    (found,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {key: value for key, value in found.items() if not key.startswith(("System", "SourceFile"))}


def places_in(path: Path) -> set[str]:
    """Return the tags with the location of the test videos."""
    digits = ("48.85", "48 deg 51", "2.295", "2 deg 17")
    return {key for key, value in exif_of(path).items() if any(part in str(value) for part in digits)}


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("output", [OutputOptions(strip_gps=True), OutputOptions(strip=True)])
@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_location_is_left_out(tmp_path: Path, suffix: str, output: OutputOptions) -> None:
    source, target, usual = (tmp_path / f"{name}.{suffix}" for name in ("in", "out", "usual"))
    phone_video(source)
    assert places_in(source)
    outcome = upscale(source, target, output=output)
    assert outcome.warnings == ()
    assert places_in(target) == set()
    assert b"48.8577" not in target.read_bytes()
    assert "location" not in json.dumps(facts(target).tags).lower()
    upscale(source, usual)
    assert places_in(usual) == places_in(source)


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_other_tags_survive_without_the_location(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    phone_video(source)
    upscale(source, target, output=OutputOptions(strip_gps=True))
    tags = {key.lower(): value for key, value in facts(target).tags.items()}
    assert tags["title"] == "Holiday"
    assert tags["com.apple.quicktime.model"] == "iPhone 12"
    assert facts(target).streams == facts(source).streams


@NEEDS_EXIFTOOL
@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_strip_leaves_out_all_tags(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    phone_video(source)
    upscale(source, target, output=OutputOptions(strip=True))
    shown = json.dumps(exif_of(target))
    for word in ("iPhone", "Holiday", "2024"):
        assert word in json.dumps(exif_of(source)) or suffix == "mkv"
        assert word not in shown
        assert word.encode() not in target.read_bytes()
    assert facts(target).streams == facts(source).streams  # with languages and dispositions


def test_strip_preserves_what_playing_needs(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with_everything(source)
    outcome = upscale(source, target, output=OutputOptions(strip=True))
    assert outcome.warnings == ()
    before, after = facts(source), facts(target)
    assert after.streams == before.streams
    assert after.packets.keys() == before.packets.keys()
    assert "title" not in after.tags
    assert [chapter[:2] for chapter in after.chapters] == [chapter[:2] for chapter in before.chapters]
    assert [title for _, _, title in after.chapters] == [None, None]


def test_timecode_is_a_tag(tmp_path: Path) -> None:
    source = tmp_path / "in.mov"
    lavfi(*X264, "-timecode", "01:02:03:04")(source)
    for name, output, expected in (
        ("gps", OutputOptions(strip_gps=True), True),
        ("all", OutputOptions(strip=True), False),
    ):
        upscale(source, tmp_path / f"{name}.mov", output=output)
        assert any("timecode" in tags for tags in stream_tags(tmp_path / f"{name}.mov")) == expected


def with_data_stream(path: Path, tag: bytes, text: str = TELEMETRY) -> None:
    """Write an MP4 with timed metadata whose sample entry is called `tag`."""
    subtitles, plain = path.with_name("a.srt"), path.with_name("plain.mp4")
    subtitles.write_text(text)
    ffmpeg("-f", "lavfi", "-i", SMALL, "-i", subtitles, *X264, "-c:s", "mov_text", plain)
    path.write_bytes(plain.read_bytes().replace(b"tx3g", tag).replace(b"sbtl", b"meta"))


@pytest.mark.parametrize("tag", [b"gpmd", b"mebx", b"camm"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_timed_metadata_is_left_out_with_the_location(tmp_path: Path, tag: bytes, suffix: str) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / f"out.{suffix}"
    with_data_stream(source, tag)
    outcome = upscale(source, target, output=OutputOptions(strip_gps=True))
    (warning,) = outcome.warnings
    assert "data 1" in warning
    assert "location" in warning
    assert b"GPS" not in target.read_bytes()
    assert facts(target).streams == []
    assert upscale(source, target, output=OutputOptions(strip=True)).warnings == ()
    assert b"GPS" not in target.read_bytes()


def test_timed_metadata_is_usually_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with_data_stream(source, b"gpmd")
    assert upscale(source, target).warnings == ()
    assert b"GPS (2.2950" in target.read_bytes()


def test_subtitles_of_drones_are_left_out_with_the_location(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    (tmp_path / "a.srt").write_text(TELEMETRY)
    (tmp_path / "b.srt").write_text(TELEMETRY.replace("GPS (2.2950, 48.8577, 15)", "Where is my GPS?"))
    ffmpeg("-f", "lavfi", "-i", SMALL, "-i", tmp_path / "a.srt", "-i", tmp_path / "b.srt", "-map", "0",
           "-map", "1", "-map", "2", *X264, "-c:s", "mov_text", source)  # fmt: skip
    (warning,) = upscale(source, target, output=OutputOptions(strip_gps=True)).warnings
    assert "subtitle 1" in warning
    assert "subtitle 2" not in warning
    content = target.read_bytes()
    assert b"48.8577" not in content
    assert b"Where is my GPS?" in content


def test_cover_art_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    cover, plain, source = tmp_path / "cover.png", tmp_path / "plain.mp4", tmp_path / "in.mp4"
    Image.new("RGB", (32, 32)).save(cover)
    lavfi(*X264)(plain)
    ffmpeg("-i", plain, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1",
           "attached_pic", source)  # fmt: skip
    for suffix in ("mov", "webm"):
        (warning,) = upscale(source, tmp_path / f"out.{suffix}").warnings
        assert "video 1 (png)" in warning
    assert upscale(source, tmp_path / "out.mkv").warnings == ()
    assert ("video", "png", None, "cover.png", 1024) in facts(tmp_path / "out.mkv").streams


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("has_place", [True, False])
def test_cover_art(tmp_path: Path, suffix: str, has_place: bool) -> None:
    cover, plain, source = tmp_path / "cover.jpg", tmp_path / "plain.mp4", tmp_path / f"in.{suffix}"
    target = tmp_path / f"out.{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    if has_place:
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 51.0, 27.0)
    Image.new("RGB", (32, 32)).save(cover, exif=exif)
    lavfi(*X264)(plain)
    if suffix == "mkv":
        ffmpeg("-i", plain, "-c", "copy", "-attach", cover, "-metadata:s:t", "mimetype=image/jpeg",
               "-metadata:s:t", "filename=cover.jpg", source)  # fmt: skip
    else:
        ffmpeg("-i", plain, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1",
               "attached_pic", source)  # fmt: skip
    assert upscale(source, target).warnings == ()
    assert b"somebody" in target.read_bytes()
    warnings = upscale(source, target, output=OutputOptions(strip_gps=True)).warnings
    assert (b"somebody" in target.read_bytes()) != has_place
    assert len(warnings) == has_place
    assert upscale(source, target, output=OutputOptions(strip=True)).warnings == ()
    assert b"somebody" not in target.read_bytes()


def test_attachments_other_than_fonts_are_private(tmp_path: Path) -> None:
    plain, source, target = tmp_path / "plain.mkv", tmp_path / "in.mkv", tmp_path / "out.mkv"
    (tmp_path / "track.gpx").write_text("<gpx><trkpt lat='48.8577' lon='2.2950'/></gpx>")
    with_everything(plain)
    ffmpeg("-i", plain, "-map", "0", "-c", "copy", "-attach", tmp_path / "track.gpx",
           "-metadata:s:t:1", "mimetype=application/gpx+xml", source)  # fmt: skip
    assert upscale(source, target).warnings == ()
    assert b"trkpt" in target.read_bytes()
    (warning,) = upscale(source, target, output=OutputOptions(strip_gps=True)).warnings
    assert "attachment 5" in warning
    assert b"trkpt" not in target.read_bytes()
    assert ("attachment", "a.ttf", None, "a.ttf", 0) in facts(target).streams
    upscale(source, target, output=OutputOptions(strip=True))
    assert b"trkpt" not in target.read_bytes()
    assert ("attachment", "a.ttf", None, "a.ttf", 0) in facts(target).streams


def test_locations_in_chapters(tmp_path: Path) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    (tmp_path / "chapters.txt").write_text(CHAPTERS.replace("title=Two", f"title=Two\nLOCATION={PLACE}"))
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-i", tmp_path / "chapters.txt", "-map_chapters", "1", *X264, source
    )
    assert PLACE.encode() in source.read_bytes()
    upscale(source, target, output=OutputOptions(strip_gps=True))
    assert PLACE.encode() not in target.read_bytes()
    assert [title for _, _, title in facts(target).chapters] == ["One", "Two"]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_chapter_tracks_of_mp4_are_rebuilt_without_a_warning(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "in.mp4", tmp_path / f"out.{suffix}"
    (tmp_path / "chapters.txt").write_text(CHAPTERS)
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-i", tmp_path / "chapters.txt", "-map_chapters", "1", *X264, source
    )
    for output in (OutputOptions(), OutputOptions(strip_gps=True)):
        assert upscale(source, target, output=output).warnings == ()
        assert facts(target).chapters == facts(source).chapters


def planned(video: Video, suffix: str, maps: tuple[str, ...] = ()) -> StreamPlan:
    """Return which streams go into a container."""
    job = Job(video.path, video.path.with_name(f"out.{suffix}"), format_named(suffix))
    options = JobOptions(video=VideoOptions(maps=maps))
    plan = plan_video(job, make_context(nearest_upscaler(Size(scale=2)), options))
    assert plan.streams
    return plan.streams


def test_streams_by_container(tmp_path: Path) -> None:
    with_everything(tmp_path / "in.mkv")
    video = probe(tmp_path / "in.mkv")
    mkv, mp4, webm, gif = (planned(video, name) for name in ("mkv", "mp4", "webm", "gif"))
    assert (mkv.copied, mkv.converted) == ((1, 2, 3, 4), ())
    assert mp4.copied == (1, 2, 3)
    assert mp4.converted[-1] == "subtitle 3 (srt) to mov_text"
    assert mp4.converted[:-1] in ((), ("audio 2 (flac) to alac",))  # older versions of ffmpeg convert it
    assert mp4.unsupported == ("attachment 4 (font/ttf)",)
    assert webm.converted == (
        "audio 1 (aac) to opus",
        "audio 2 (flac) to opus",
        "subtitle 3 (srt) to webvtt",
    )
    assert gif.copied == ()
    assert len(gif.unsupported) == 4
    assert mp4.withheld == ()


@pytest.mark.parametrize(
    ("maps", "copied"),
    [
        (("0:a:1",), (2,)),
        (("0", "-0:s"), (1, 2, 4)),
        (("0:m:language:eng",), (1,)),
        (("0:s?", "0:d?"), (3,)),
    ],
)
def test_streams_are_selected_as_in_ffmpeg(
    tmp_path: Path, maps: tuple[str, ...], copied: tuple[int, ...]
) -> None:
    with_everything(tmp_path / "in.mkv")
    assert planned(probe(tmp_path / "in.mkv"), "mkv", maps).copied == copied


@pytest.mark.parametrize(("selection", "reason"), [("0:a:7", "no such stream"), ("nonsense", "Invalid")])
def test_streams_that_are_not_there(tmp_path: Path, selection: str, reason: str) -> None:
    path = tmp_path / "a map.mkv"
    with_everything(path)
    with pytest.raises(UsageError, match=f"--map {selection}: [^#]*{reason}"):
        planned(probe(path), "mkv", (selection,))


def encoded_segment(path: Path) -> tuple[Video, Segment]:
    """Return a video and the only segment of an output that equals it."""
    lavfi("-c:v", "ffv1", "-pix_fmt", "gbrp")(path)
    return probe(path), Segment(path, tuple(range(0, 2000, 40)))


def mkv_output() -> Output:
    container = container_of(format_named("mkv"))
    assert container
    return Output(container=container, size=Dimensions(64, 48))


def test_output_is_replaced_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    video, segment = encoded_segment(tmp_path / "in.mkv")
    target, streams = tmp_path / "out.mkv", StreamPlan(policy=MetadataPolicy.KEEP)
    target.write_text("an older output")
    short = Segment(segment.path, segment.times[:-1])
    with pytest.raises(OutputError, match="50 frames instead of 49"):
        assemble(video, [short], target, mkv_output(), streams)
    assert target.read_text() == "an older output"
    assemble(video, [segment], target, mkv_output(), streams)
    assert facts(target).times == [Fraction(time, 1000) for time in segment.times]
    assert names_in(tmp_path) == {"in.mkv", "out.mkv"}


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    video, segment = encoded_segment(tmp_path / "in.mkv")
    streams = StreamPlan(policy=MetadataPolicy.KEEP)
    with pytest.raises(OutputError, match=r"out\.mkv: cannot be written"):
        assemble(video, [segment], tmp_path / "missing" / "out.mkv", mkv_output(), streams)


def test_packets_are_decoded_before_they_are_shown(tmp_path: Path) -> None:
    """With B-frames and several segments, at a variable rate."""
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    filters = "settb=1/1000,setpts='N*40+13*mod(N,3)'"
    lavfi("-vf", filters, "-fps_mode", "passthrough", "-enc_time_base", "1:1000", *X264, "-bf", "3")(
        source
    )
    upscale(source, target, video=VideoOptions(segment_seconds=0.5))
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert len(packets) == 50
    decoded = [packet.dts for packet in packets if packet.dts is not None]
    assert decoded == sorted(decoded)
    assert all((packet.pts or 0) >= (packet.dts or 0) for packet in packets)
    assert facts(target).times == facts(source).times
