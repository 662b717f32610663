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
