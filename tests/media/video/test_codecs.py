"""Which encoder is the default."""

import logging
import re

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.media import container_of, format_named
from rgt_cli.media.formats import Container
from rgt_cli.media.video.codecs import CODECS, VideoEncoding, codec_for
from rgt_cli.media.video.ffmpeg import executable
from tests.helpers.videos import describe

MKV = Container(name="mkv", suffixes=(".mkv",), muxer="matroska")


def choose(container_name: str, encoding: VideoEncoding | None = None, **video: object) -> str:
    container = container_of(format_named(container_name))
    assert container
    return codec_for(describe(**video), container, encoding or VideoEncoding()).encoder


@pytest.mark.parametrize(
    ("container", "bits", "has_alpha", "encoder"),
    [("mp4", 8, False, "libx264"), ("mp4", 10, False, "libx265"), ("mkv", 12, False, "libx265"),
     ("mkv", 8, True, "ffv1"), ("mov", 10, True, "prores_ks"), ("mp4", 8, True, "libx264"),
     ("webm", 8, False, "libvpx-vp9"), ("webm", 10, True, "libvpx-vp9"), ("gif", 8, True, "gif")],
)  # fmt: skip
def test_default(container: str, bits: int, has_alpha: bool, encoder: str) -> None:
    assert choose(container, bits=bits, has_alpha=has_alpha) == encoder


def test_requested() -> None:
    for name, codec in CODECS.items():
        assert choose("mkv", VideoEncoding(codec=name)) == codec.encoder
    assert choose("webm", VideoEncoding(codec="libaom-av1")) == "libaom-av1"


@pytest.mark.parametrize(
    ("name", "quality", "is_lossless"),
    [("libx264", "-crf", False), ("libaom-av1", "-crf", False), ("mpeg4", None, False),
     ("utvideo", None, True), ("libx264rgb", "-crf", False)],
)  # fmt: skip
def test_encoders_without_a_short_name(name: str, quality: str | None, is_lossless: bool) -> None:
    codec = codec_for(describe(), MKV, VideoEncoding(codec=name))
    assert (codec.encoder, codec.quality, codec.is_lossless) == (name, quality, is_lossless)


def test_choice_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        choose("mkv", bits=10)
    assert "libx265" in caplog.text
    assert "10 bits" in caplog.text


def test_an_encoder_that_does_not_exist() -> None:
    """The error names the program that was asked, and the usual encoders."""
    with pytest.raises(UsageError, match=f"--codec foo: .*{re.escape(executable())}.* use x264, x265,"):
        choose("mkv", VideoEncoding(codec="foo"))
