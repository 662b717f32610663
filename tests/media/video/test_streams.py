"""Streams and tags that PyAV does not read well; ffmpeg makes them, and reads what is written."""

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
