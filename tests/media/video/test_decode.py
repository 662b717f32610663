"""`read_frames`: from the start, and from any other frame."""

import itertools
import logging
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgt_cli.errors import InputError
from rgt_cli.media.video.decode import ReadReport, read_frames
from rgt_cli.media.video.fields import Deinterlacing, deinterlaced
from rgt_cli.media.video.probe import probe
from tests.helpers.videos import CLIPS, X264, lavfi, planes

LONG = "testsrc2=size=32x24:rate=10:duration=30"
OPEN_GOP = ("-bf", "3", "-g", "50", "-x264-params", "open-gop=1")


def test_frames_are_those_of_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    lavfi("-pix_fmt", "gbrp", "-c:v", "ffv1")(path)
    frames = list(read_frames(probe(path)))
    assert [frame.time for frame in frames] == [40 * number for number in range(50)]
    assert all(frame.pixels.dtype == np.uint16 and frame.alpha is None for frame in frames)
    expected = planes(path, "rgb24").reshape(50, 48, 64, 3).astype(np.uint16) * 257
    np.testing.assert_array_equal([frame.pixels for frame in frames], expected)


def test_transparency(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    lavfi("-t", "0.2", "-vf", "format=gbrap,geq=g='X':b='Y':r='X':a='X*4'", "-c:v", "ffv1")(path)
    frame = next(read_frames(probe(path)))
    expected = np.arange(64, dtype=np.uint16) * 4 * 257
    assert frame.alpha is not None
    np.testing.assert_array_equal(frame.alpha, np.tile(expected, (48, 1)))


def test_reading_from_the_middle_yields_the_same_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "in.mkv"
    lavfi(*X264, *OPEN_GOP, source=LONG)(path)
    video = probe(path)
    frames = list(read_frames(video))
    with caplog.at_level(logging.INFO):
        later = list(read_frames(video, after=frames[170].time))
    assert "decoding from 7.0" in caplog.text
    assert [frame.time for frame in later] == [frame.time for frame in frames[171:]]
    for one, other in zip(later, frames[171:], strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("after", [None, 15_000])
def test_damage_is_reported_after_the_frames(tmp_path: Path, after: int | None) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    lavfi(*X264, *OPEN_GOP, source=LONG)(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    frames = read_frames(probe(cut), after)
    count = 0
    with pytest.raises(InputError, match="damaged"):  # noqa: PT012
        for _ in frames:
            count += 1
    assert count > 50


def test_closing_early_ends_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    lavfi(*X264, source=LONG)(path)
    with closing(read_frames(probe(path))) as frames:
        assert [frame.time for frame in itertools.islice(frames, 2)] == [0, 100]


def test_interlaced_fields_become_whole_frames(tmp_path: Path) -> None:
    """The lines of a moving edge are jagged before, and smooth after."""
    path = tmp_path / "in.mkv"
    moving = "nullsrc=size=64x48:rate=50:duration=1,geq=lum='219*lt(X,T*64)+16':cb=128:cr=128"
    lavfi("-vf", "interlace,format=yuv420p", "-c:v", "ffv1", "-field_order", "tt", source=moving)(path)
    video = probe(path)

    def jaggedness(mode: Deinterlacing) -> float:
        frames = read_frames(deinterlaced(video, mode))
        greens = [frame.pixels[..., 1].astype(float) for frame in frames]
        return float(np.abs(np.diff(greens[2:-2], axis=1)).mean())

    assert video.is_interlaced
    assert jaggedness(Deinterlacing.FRAMES) < jaggedness(Deinterlacing.NONE) / 2


SPARSE = ("-g", "400", "-keyint_min", "400", "-sc_threshold", "0")
MPEG2 = ("-c:v", "mpeg2video", "-g", "600", "-bf", "2", "-sc_threshold", "1000000000")


@pytest.mark.parametrize(
    ("suffix", "rate", "arguments"),
    [("ts", 10, (*X264, *SPARSE)), ("mkv", 10, (*X264, *SPARSE)), ("mp4", 10, (*X264, *SPARSE)),
     ("flv", 10, (*X264, *SPARSE)), ("mpg", 25, MPEG2), ("vob", 25, MPEG2), ("gif", 5, ()),
     ("m2v", 25, MPEG2), ("avi", 10, (*X264, *SPARSE)),
     ("avi", 10, ("-c:v", "mpeg4", "-bf", "2", "-g", "400", "-sc_threshold", "1000000000"))],
)  # fmt: skip
def test_resuming_far_from_a_keyframe(
    tmp_path: Path, suffix: str, rate: int, arguments: tuple[str, ...]
) -> None:
    """Keyframes are 24 s or more apart, and some formats have no index of them."""
    path = tmp_path / f"in.{suffix}"
    lavfi(*arguments, source=f"testsrc2=size=32x24:rate={rate}:duration=60")(path)
    video = probe(path)
    frames = list(read_frames(video))
    assert len(frames) == 60 * rate
    for at in (15 * rate, 35 * rate, 60 * rate - 2):
        resumed = list(read_frames(video, frames[at].time, resumes=True))
        assert [frame.time for frame in resumed] == [frame.time for frame in frames[at + 1 :]]
        np.testing.assert_array_equal(resumed[0].pixels, frames[at + 1].pixels)
        started = next(read_frames(video, frames[at].time - 1))
        np.testing.assert_array_equal(started.pixels, frames[at].pixels)


def test_a_recording_that_begins_between_keyframes(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
    for codec, share in ((X264, 3), (("-c:v", "mpeg2video", "-bf", "2"), 4)):
        lavfi(*codec, "-g", "12")(whole)
        data = whole.read_bytes()
        cut.write_bytes(data[len(data) // share // 188 * 188 :])
        assert len(list(read_frames(probe(cut)))) > 20


def test_the_end_of_the_last_frame(tmp_path: Path) -> None:
    gif, report = tmp_path / "in.gif", ReadReport()
    delays = [100, 300, 40, 2000]
    images = [Image.new("RGB", (32, 24), (60 * number, 0, 0)) for number in range(4)]
    images[0].save(gif, save_all=True, append_images=images[1:], duration=delays)
    video = probe(gif)
    times = [float(frame.time * video.time_base) for frame in read_frames(video, report=report)]
    assert times == [0, 0.1, 0.4, 0.44]
    assert report.end is not None
    assert float(report.end * video.time_base) == 2.44


@pytest.mark.parametrize("pixel_format", ["rgb555be", "rgb565le", "bgr24", "pal8", "monob"])
def test_colors_of_old_formats(tmp_path: Path, pixel_format: str) -> None:
    path = tmp_path / "in.nut"
    lavfi("-t", "0.1", "-pix_fmt", pixel_format, "-c:v", "rawvideo")(path)
    video = probe(path)
    assert video.bits == 8
    (first, *_) = read_frames(video)
    expected = planes(path, "rgb24").reshape(-1, 48, 64, 3)[0]
    np.testing.assert_allclose(first.pixels / 257, expected, atol=1)


def test_each_field_becomes_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "in.avi"
    moving = "testsrc2=size=64x48:rate=50:duration=1"
    lavfi("-vf", "interlace", "-c:v", "ffv1", "-field_order", "tt", source=moving)(path)
    video = deinterlaced(probe(path), Deinterlacing.FIELDS)
    assert (video.rate, video.frames, video.time_base) == (Fraction(50), 50, Fraction(1, 50))
    assert [frame.time for frame in read_frames(video)] == list(range(50))


INTERLACED_MPEG2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "1")


def test_film_frames_are_restored(tmp_path: Path) -> None:
    path, report = tmp_path / "in.ts", ReadReport()
    film = "testsrc2=size=64x48:rate=24000/1001:duration=4"
    lavfi("-vf", "telecine,setfield=tff,format=yuv420p", *INTERLACED_MPEG2, source=film)(path)
    video = deinterlaced(probe(path), Deinterlacing.FILM)
    assert video.start > 0
    assert video.rate == Fraction(24000, 1001)
    frames = list(read_frames(video, report=report))
    assert 94 <= len(frames) <= 97
    assert frames[0].time == next(read_frames(probe(path))).time
    original = tmp_path / "film.mkv"
    lavfi("-vf", "format=yuv420p", "-c:v", "ffv1", source=film)(original)
    expected = list(read_frames(probe(original)))
    for one, other in list(zip(frames, expected, strict=False))[4:90]:
        assert np.abs(one.pixels.astype(float) - other.pixels).mean() < 3 * 257
    resumed = list(read_frames(video, frames[60].time, resumes=True))
    assert [frame.time for frame in resumed] == [frame.time for frame in frames[61:]]


@pytest.mark.parametrize("transfer", ["log100", "log316", "smpte2084", "linear"])
def test_transfers_are_never_applied(tmp_path: Path, transfer: str) -> None:
    tagged, plain = tmp_path / "tagged.mkv", tmp_path / "plain.mkv"
    lavfi("-t", "0.1", "-vf", f"format=yuv420p,setparams=color_trc={transfer}", "-c:v", "ffv1")(tagged)
    lavfi("-t", "0.1", "-vf", "format=yuv420p", "-c:v", "ffv1")(plain)
    one, other = (next(read_frames(probe(path))) for path in (tagged, plain))
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_interlaced_frames_are_reported(tmp_path: Path) -> None:
    path, messages = tmp_path / "in.mkv", list[str]()
    CLIPS["interlaced"][1](path)
    assert len(list(read_frames(probe(path), report=ReadReport(messages.append)))) > 20
    assert ["--deinterlace" in message for message in messages] == [True]


def test_missing_frames_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "in.avi"
    lavfi("-c:v", "mpeg4")(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"00dc", len(data) // 2)])
    with pytest.raises(InputError, match=r"too early \(\d+ of 50 frames"):
        list(read_frames(probe(path)))


def test_files_that_were_joined_without_care(tmp_path: Path) -> None:
    part, joined = tmp_path / "part.mkv", tmp_path / "joined.mkv"
    lavfi("-t", "0.8", *X264)(part)
    joined.write_bytes(part.read_bytes() * 2)
    warnings = list[str]()
    frames = list(read_frames(probe(joined), report=ReadReport(warnings.append)))
    assert len(frames) == 40
    (warning,) = warnings
    assert "joined.mkv: its timestamps jump back by 0.8 s" in warning
    assert list(read_frames(probe(part), report=ReadReport(warnings.append)))
    assert len(warnings) == 1
