"""Spans of videos, and options that contradict each other."""

from fractions import Fraction

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.jobs.options import VideoOptions
from rgt_cli.jobs.video.spans import deinterlacing_of, expected_frames, span_of
from rgt_cli.media.video.fields import Deinterlacing
from tests.helpers.videos import describe


@pytest.mark.parametrize(
    ("options", "origin", "span"),
    [(VideoOptions(), 0, (None, None)), (VideoOptions(start=1, end=2), 0, (1000, 2000)),
     (VideoOptions(end=2), 0, (None, 2000)), (VideoOptions(), 600, (None, None)),
     (VideoOptions(start=1, end=2), 600, (601_000, 602_000)), (VideoOptions(end=1), -3.5, (None, -2500)),
     (VideoOptions(start=0), 0, (0, None))],
)  # fmt: skip
def test_spans_count_from_the_first_stream(
    options: VideoOptions, origin: float, span: tuple[int | None, int | None]
) -> None:
    assert span_of(describe(origin=Fraction(origin)), options) == span


@pytest.mark.parametrize(
    ("options", "mode"),
    [(VideoOptions(), Deinterlacing.NONE), (VideoOptions(deinterlace=True), Deinterlacing.FRAMES),
     (VideoOptions(deinterlace=True, fields=True), Deinterlacing.FIELDS),
     (VideoOptions(inverse_telecine=True), Deinterlacing.FILM)],
)  # fmt: skip
def test_treatment_of_fields(options: VideoOptions, mode: Deinterlacing) -> None:
    assert deinterlacing_of(options) is mode


@pytest.mark.parametrize("deinterlace", [True, False])
def test_treatments_that_exclude_each_other(deinterlace: bool) -> None:
    with pytest.raises(UsageError, match="--fields"):
        VideoOptions(deinterlace=deinterlace, fields=True, inverse_telecine=deinterlace)


def test_expected_frames() -> None:
    assert expected_frames(describe(), VideoOptions(start=0.5, end=1.5)) == 25
    assert expected_frames(describe(frames=None), VideoOptions()) is None
