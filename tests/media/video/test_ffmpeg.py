"""Running the ffmpeg program."""

import time
from pathlib import Path

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.media.video import ffmpeg


def test_names_are_never_options_or_protocols(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-i.mkv", "concat:a|b.mkv", "pipe:0"):
        assert ffmpeg.url(Path(name)) == f"file:{tmp_path}/{name}"


def test_inputs_cannot_refer_to_other_files() -> None:
    demuxers = set(ffmpeg.source_options()["format_whitelist"].split(","))
    assert not demuxers & {"concat", "hls", "dash", "imf", "applehttp", "rtsp", "sdp", "lavfi", "tee"}
    assert set(ffmpeg.source_options()["protocol_whitelist"].split(",")) == {"file", "pipe"}


def test_run() -> None:
    code, stdout, stderr = ffmpeg.run(
        ["-v", "error", "-f", "lavfi", "-i", "nonsense", "-f", "null", "-"]
    )
    assert code != 0
    assert stdout == ""
    assert "nonsense" in stderr


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(["[libx264 @ 0x55c8dc931d00] [Eval @ 0x7ffd] Undefined constant.", "[vf#0:0 @ 0x1] Task finished"],
      "Undefined constant"),
     (["frame=   10 fps=0.0 q=28.0 size=N/A", "a", "a", "b", "c"], "a; b"),
     (["[vost#0:0/libx264 @ 0x1] [enc:libx264 @ 0x2] Error while opening encoder - maybe"],
      "Error while opening encoder - maybe"),
     (["Svt[info]: SVT [build]", " "], "ffmpeg ended with 3")],
)  # fmt: skip
def test_errors_are_put_in_words(lines: list[str], reason: str) -> None:
    assert ffmpeg.in_words(lines, 3) == reason


def test_ranges_of_crf() -> None:
    assert ffmpeg.crf_range("libaom-av1") == (0, 63)
    assert ffmpeg.crf_range("libx264rgb") == (0, float("inf"))
    assert ffmpeg.crf_range("mpeg4") is None


def test_pixel_formats() -> None:
    assert "yuv420p" in ffmpeg.pixel_formats("libx264")
    assert ffmpeg.pixel_formats("rawvideo") == ()
    with pytest.raises(UsageError, match="nonsense"):
        ffmpeg.pixel_formats("nonsense")


def test_process_is_killed_on_request() -> None:
    endless = ["-f", "lavfi", "-i", "color", "-f", "nut", "pipe:1"]
    process = ffmpeg.Process(endless, reads=False)
    assert process.pipe.read(1)
    started = time.monotonic()
    code, _ = process.end(kill=True)
    assert code != 0
    assert process.end() == process.end()
    assert time.monotonic() - started < 10


def test_process_reports_its_errors() -> None:
    process = ffmpeg.Process(["-f", "nut", "-i", "pipe:0", "-f", "null", "-"], reads=True)
    process.pipe.write(b"not a video" * 1000)
    code, lines = process.end()
    assert code != 0
    assert any("Invalid" in line for line in lines)


def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", missing)
    with pytest.raises(UsageError, match="IMAGEIO_FFMPEG_EXE"):
        ffmpeg.executable()
