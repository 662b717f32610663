"""Streams and tags that PyAV does not read well; ffmpeg makes them, and reads what is written."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from rgt_cli.jobs.job import Job
from rgt_cli.jobs.video.plan import plan_video
from rgt_cli.media import format_named
from rgt_cli.media.video.probe import probe
from rgt_cli.size import Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.videos import SMALL, X264, facts, ffmpeg, lavfi, upscale


def with_sound(path: Path, *arguments: str) -> None:
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=1", "-t", "0.4", *X264,
        *arguments, path,
    )  # fmt: skip


def test_channels_in_an_unusual_order(tmp_path: Path) -> None:
    """As in the files of cameras, which list their channels one by one."""
    source = tmp_path / "in.mov"
    swapped = "aformat=channel_layouts=stereo,channelmap=map=1|0:channel_layout=FR+FL"
    with_sound(source, "-af", swapped, "-c:a", "pcm_s16le")
    job = Job(source, tmp_path / "out.webm", format_named("webm"))
    plan = plan_video(job, make_context(nearest_upscaler(Size(scale=2))))
    assert plan.streams
    (sound,) = plan.streams.streams
    assert sound.channels == 2
    assert sound.options(1) == ["-b:1", "192000"]
    assert upscale(source, tmp_path / "out.mkv").warnings == ()
    assert [stream[:2] for stream in facts(tmp_path / "out.mkv").streams] == [("audio", "pcm_s16le")]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_sound_of_an_unknown_codec_is_left_out(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    with_sound(source, "-c:a", "aac")
    content = source.read_bytes()
    assert content.count(b"A_AAC") == 1
    source.write_bytes(content.replace(b"A_AAC", b"A_XYZ"))
    (warning,) = upscale(source, target).warnings
    assert "left out: audio 1 (unknown codec)" in warning
    assert len(facts(target).times) == 10


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_tags_that_are_not_unicode(tmp_path: Path, suffix: str) -> None:
    """As old programs write them. ffmpeg copies their bytes."""
    source, target = tmp_path / f"in.{suffix}", tmp_path / "out.mkv"
    lavfi("-t", "0.2", "-c:v", "mpeg4", "-metadata", "title=Grosse Reise", "-metadata", "artist=Me")(
        source
    )
    content = source.read_bytes()
    assert content.count(b"Grosse") == 1
    source.write_bytes(content.replace(b"Grosse", b"Gro\xdfe "))
    assert probe(source).size == (64, 48)
    assert upscale(source, target).warnings == ()
    with av.open(str(target), metadata_encoding="latin-1") as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert (tags["title"], tags["artist"]) == ("Große  Reise", "Me")


def write_bitmap_subtitles(path: Path) -> None:
    """Write a Blu-ray subtitle of 4 x 2 white pixels, shown from 0.1 s to 0.3 s."""
    screen, window = struct.pack(">HHB", 64, 48, 0x10), struct.pack(">BBHHHH", 1, 0, 4, 4, 4, 2)
    pixels = b"\1\1\1\1\0\0" * 2
    image = (len(pixels) + 4).to_bytes(3) + struct.pack(">HH", 4, 2) + pixels
    shown = screen + struct.pack(">HBBBBHBBHH", 0, 0x80, 0, 0, 1, 0, 0, 0, 4, 4)
    hidden = screen + struct.pack(">HBBBB", 1, 0, 0, 0, 0)
    palette = bytes([0, 0, 1, 235, 128, 128, 255])
    parts = [
        (0.1, 0x16, shown), (0.1, 0x17, window), (0.1, 0x14, palette),
        (0.1, 0x15, b"\0\0\0\xc0" + image), (0.1, 0x80, b""),
        (0.3, 0x16, hidden), (0.3, 0x17, window), (0.3, 0x80, b""),
    ]  # fmt: skip
    headers = [
        b"PG" + struct.pack(">IIBH", int(time * 90000), 0, kind, len(data)) for time, kind, data in parts
    ]
    path.write_bytes(b"".join(header + part[2] for header, part in zip(headers, parts, strict=True)))


def test_mov_does_not_receive_what_nothing_reads_from_it(tmp_path: Path) -> None:
    """Its muxer writes the sound and the subtitles of Blu-rays under the numbers of MPEG-TS."""
    source, target, subtitles = tmp_path / "in.m2ts", tmp_path / "out.mov", tmp_path / "a.sup"
    write_bitmap_subtitles(subtitles)
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000", "-i",
        subtitles, "-map", "0", "-map", "1", "-map", "2", "-t", "0.4", *X264,
        "-c:a", "pcm_bluray", "-ac", "2", "-c:s", "copy", source,
    )  # fmt: skip
    left_out, converted = upscale(source, target).warnings
    assert "left out: subtitle 2 (pgssub)" in left_out
    assert "converted: audio 1 (pcm_bluray) to pcm_s16le" in converted
    assert [stream[:2] for stream in facts(target).streams] == [("audio", "pcm_s16le")]
    assert upscale(source, tmp_path / "out.mkv").warnings[0].count("pgssub") == 0
    assert ("subtitle", "pgssub") in [stream[:2] for stream in facts(tmp_path / "out.mkv").streams]


def test_subtitles_without_an_end(tmp_path: Path) -> None:
    """Matroska stores the largest number for them, which MP4 does not support."""
    source, target, subtitles = tmp_path / "in.mkv", tmp_path / "out.mp4", tmp_path / "a.sup"
    write_bitmap_subtitles(subtitles)
    ffmpeg("-f", "lavfi", "-i", SMALL, "-i", subtitles, "-t", "0.4", *X264, "-c:s", "dvdsub", source)
    assert upscale(source, target).warnings == ()
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video", "subtitle"]
        assert container.duration == pytest.approx(400_000, abs=2000)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_tags_of_all_characters(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    tags = {
        "title": "C:\\Videos\\",
        "artist": "one\r\ntwo\rthree\n[CHAPTER]\n;four",
        "comment": "=#\\=; \\",
        "genre": "last",
    }
    chapters = tmp_path / "chapters.txt"
    chapters.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=100\ntitle=[one\\]\n")
    given = [part for key, value in tags.items() for part in ("-metadata", f"{key}={value}")]
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-i", chapters, "-map_chapters", "1", "-t", "0.2", *X264, *given,
        "-metadata:c:0", "START=50", "-metadata:c:0", "END=60", source,
    )  # fmt: skip
    upscale(source, target)
    assert {key.lower(): value for key, value in facts(target).tags.items()}.items() >= tags.items()
    assert facts(target).chapters == [(Fraction(0), Fraction(1, 10), "[one]")]
