"""The log of ffmpeg: frames and errors, of several versions, also where threads interrupt each other."""

import io
from fractions import Fraction

import pytest

from rgt_cli.media.video.framelog import FrameLog, LogParser

CONFIG = "[Parsed_showinfo_1 @ 0x7fb6] [info] config in time_base: 1/2000, frame_rate: 25/1"
NEW = (
    "[Parsed_showinfo_1 @ 0x7fb6] [info] n:   1 pts:    -80 pts_time:-0.04   duration:     80 "
    "duration_time:0.04    fmt:yuv420p cl:left sar:1/1 s:64x48 i:P iskey:1 type:I "
)
OLD = (
    "[Parsed_showinfo_1 @ 0x5592] [info] n:  12 pts:  NOPTS pts_time:NOPTS   pos:      588 fmt:gray12le "
    "sar:1/1 s:1920x1080 i:T iskey:0 type:B "
)
UNSPECIFIED = NEW.replace("cl:left", "cl:unspecified").replace("duration:     80", "duration:      0")
ERROR = "[h264 @ 0x5] [error] mmco: unref short failure"
NESTED = "[vist#0:0/h264 @ 0x1] [dec:h264 @ 0x2] [error] Error submitting packet to decoder"


@pytest.mark.parametrize(
    ("line", "pts", "duration", "chroma", "size", "is_interlaced", "is_key"),
    [(NEW, -80, 80, "left", (64, 48), False, True), (OLD, None, 0, None, (1920, 1080), True, False),
     (UNSPECIFIED, -80, 0, None, (64, 48), False, True),
     (NEW + ERROR, -80, 80, "left", (64, 48), False, True)],
)  # fmt: skip
def test_frames(
    line: str, pts: int | None, duration: int, chroma: str | None, size: tuple[int, int],
    is_interlaced: bool, is_key: bool,
) -> None:  # fmt: skip
    parser = LogParser()
    assert parser.parse(CONFIG) is None
    frame = parser.parse(line)
    assert frame
    assert (frame.pts, frame.duration, frame.time_base) == (pts, duration, Fraction(1, 2000))
    assert (frame.chroma_location, frame.size) == (chroma, size)
    assert (frame.is_interlaced, frame.is_key) == (is_interlaced, is_key)


@pytest.mark.parametrize(
    ("line", "text", "context"),
    [(ERROR, "mmco: unref short failure", "h264"), (NEW + ERROR, "mmco: unref short failure", "h264"),
     (NESTED, "Error submitting packet to decoder", "dec:h264"),
     ("[fatal] out of memory", "out of memory", ""),
     ("[h264 @ 0x5] [warning] no frame!", None, None), ("[info]   encoder : error", None, None)],
)  # fmt: skip
def test_errors(line: str, text: str | None, context: str) -> None:
    parser = LogParser()
    parser.parse(line)
    assert [error.text for error in parser.errors] == ([text] if text else [])
    assert all(context in error.context for error in parser.errors)


def test_errors_are_counted_from_the_frames_before_them() -> None:
    log = FrameLog(io.BytesIO("\n".join([ERROR, CONFIG, NEW, NEW, ERROR]).encode()))
    assert len(list(log)) == 2
    assert [error.frames for error in log.errors()] == [0, 2]
