"""Pixel formats, arguments of encoders, and single segments."""

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.media.formats import Container
from rgt_cli.media.video.codecs import CODECS, Codec, VideoEncoding, codec_for
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.encode import (
    SegmentWriter,
    encoder_arguments,
    fitted_size,
    pixel_format_for,
    supports_alpha,
)
from rgt_cli.media.video.probe import BT709, SMPTE170M, UNSPECIFIED, Color
from rgt_cli.size import Dimensions
from tests.helpers.videos import describe, frame_count

SIZE = Dimensions(128, 96)
MKV = Container(name="mkv", suffixes=(".mkv",), muxer="matroska")


@pytest.mark.parametrize(
    ("codec", "pixel_format", "bits", "has_alpha", "expected"),
    [("x264", "yuv420p", 8, False, "yuv420p"), ("x264", "yuv444p", 8, False, "yuv444p"),
     ("x265", "yuv420p10le", 10, False, "yuv420p10le"), ("ffv1", "yuv422p", 8, False, "yuv422p"),
     ("x264", "rgb24", 8, False, "yuv420p"), ("ffv1", "gbrp10le", 10, False, "gbrp10le"),
     ("vp9", "yuva420p", 8, True, "yuva420p"), ("prores", "yuva444p12le", 12, True, "yuva444p12le"),
     ("vp9", "yuva444p12le", 12, True, "yuva420p"), ("x264", "pal8", 8, False, "yuv420p"),
     ("x265", "yuva444p12le", 12, True, "yuv444p12le"), ("x264", "bgra", 8, False, "yuv420p"),
     ("ffv1", "pal8", 8, False, "bgr0"),
     ("gif", "yuv420p", 8, False, "pal8"), ("av1", "yuv444p", 8, False, "yuv420p")],
)  # fmt: skip
def test_pixel_format_preserves_the_most(
    codec: str, pixel_format: str, bits: int, has_alpha: bool, expected: str
) -> None:
    video = describe(pixel_format=pixel_format, bits=bits, has_alpha=has_alpha)
    chosen = pixel_format_for(video, CODECS[codec], VideoEncoding())
    layout = av.VideoFormat(chosen)
    if codec == "prores":  # which version of ffmpeg it is decides about 10 or 12 bits
        assert supports_alpha(chosen)
        assert layout.chroma_width(16) == 16
    else:
        assert chosen == expected


def test_requested_pixel_format(caplog: pytest.LogCaptureFixture) -> None:
    requested = VideoEncoding(pix_fmt="yuv444p")
    assert pixel_format_for(describe(), CODECS["x264"], requested) == "yuv444p"
    for name in ("yuv420p99", "nonsense"):
        with pytest.raises(UsageError, match=name):
            pixel_format_for(describe(), CODECS["x264"], VideoEncoding(pix_fmt=name))
    for codec, supported in (("av1", "libsvtav1 supports yuv420p, "), ("gif", "gif supports pal8")):
        with pytest.raises(UsageError, match=f"--pix-fmt yuv444p: {supported}"):
            pixel_format_for(describe(), CODECS[codec], requested)
    with caplog.at_level(logging.INFO):
        pixel_format_for(describe(), CODECS["x264"], VideoEncoding())
    assert "pixel format yuv420p" in caplog.text


def test_unknown_encoder() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        pixel_format_for(describe(), Codec(encoder="nonsense"), VideoEncoding())


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [("yuv420p", (62, 46)), ("yuv422p", (62, 47)), ("yuv444p", (63, 47)), ("yuv411p", (60, 47)),
     ("gbrp", (63, 47)), ("gray", (63, 47))],
)  # fmt: skip
def test_size_has_whole_chroma_samples(pix_fmt: str, size: tuple[int, int]) -> None:
    assert fitted_size(Dimensions(63, 47), pix_fmt) == size


def test_transparency_of_pixel_formats() -> None:
    assert [supports_alpha(name) for name in ("yuva420p", "rgba", "pal8", "yuv420p", "gray")] == [
        True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "color", "written"),
    [(48, Color(), UNSPECIFIED), (400, Color(), SMPTE170M), (720, Color(), UNSPECIFIED),
     (400, Color(matrix=BT709), BT709)],
)  # fmt: skip
def test_matrix_is_specified_if_players_would_assume_another(
    height: int, color: Color, written: int
) -> None:
    video = describe(size=Dimensions(64, height), color=color)
    upscaled = Dimensions(128, 2 * height)
    arguments = encoder_arguments(video, CODECS["x264"], VideoEncoding(), "yuv420p", upscaled)
    filters = arguments[arguments.index("-vf") + 1]
    assert f"colorspace={written}:" in filters
    assert f"matrix={color.matrix_at(height)}:" in filters


def test_quality_and_speed() -> None:
    def arguments(codec: Codec, encoding: VideoEncoding) -> str:
        return " ".join(encoder_arguments(describe(), codec, encoding, "yuv420p", SIZE))

    assert "-crf 16" in arguments(CODECS["x264"], VideoEncoding())
    chosen = arguments(CODECS["x264"], VideoEncoding(crf=20.5, preset="fast", arguments=("-bf", "0")))
    assert chosen.endswith("-c:v libx264 -crf 20.5 -preset fast -bf 0")
    with pytest.raises(UsageError, match="slow"):
        arguments(CODECS["ffv1"], VideoEncoding(preset="slow"))


@pytest.mark.parametrize(
    ("codec", "crf", "reason"),
    [("x264", 99, "accepts 0 to 51"), ("x265", 51.5, "accepts 0 to 51"), ("av1", 64, "accepts 0 to 63"),
     ("vp9", 64, "accepts 0 to 63"), ("prores", 0, "accepts 1 to 64"), ("libaom-av1", 64, "0 to 63"),
     ("ffv1", 20, "lossless"), ("gif", 20, "no such option"), ("mpeg4", 5, "use --encoder-args"),
     ("libx264", 99, "accepts 0 to 51")],
)  # fmt: skip
def test_quality_that_the_encoder_does_not_have(codec: str, crf: float, reason: str) -> None:
    chosen = codec_for(describe(), MKV, VideoEncoding(codec=codec))
    with pytest.raises(UsageError, match=rf"--crf {crf:g}: .*{reason}"):
        encoder_arguments(describe(), chosen, VideoEncoding(crf=crf), "yuv420p", SIZE)


def frame(time: int) -> Frame:
    return Frame(time, np.full((96, 128, 3), 257 * (time % 256), np.uint16), None)


def arguments_of(codec: str) -> list[str]:
    return encoder_arguments(describe(), CODECS[codec], VideoEncoding(), "yuv420p", SIZE)


def test_segment(tmp_path: Path) -> None:
    path = tmp_path / "segment.mkv"
    with SegmentWriter(path, describe(), arguments_of("x264"), SIZE) as writer:
        for time in (1000, 1000, 1040, 1300):  # two at the same time are two frames nevertheless
            writer.add(frame(time))
        writer.close()
    assert frame_count(path) == 4
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert packets[0].is_keyframe
    assert sorted(packet.pts or 0 for packet in packets) == [0, 1, 40, 300]


def test_leaving_early_ends_the_encoder(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "segment.mkv", describe(), arguments_of("x264"), SIZE) as writer:
        writer.add(frame(0))
    with pytest.raises(OutputError):
        writer.close()


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "segment.mkv"

    def write() -> None:
        with SegmentWriter(path, describe(), arguments_of("x264"), SIZE) as writer:
            for time in range(100):
                writer.add(frame(time))
            writer.close()

    with pytest.raises(OutputError, match="missing"):
        write()
