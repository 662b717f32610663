"""Times that a container has rounded to milliseconds."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from rgt_cli.media.video.rates import exact_times
from tests.helpers.videos import X264, facts, lavfi, upscale

MILLISECOND = Fraction(1, 1000)
FILM = Fraction(24000, 1001)


@pytest.mark.parametrize(
    "rate", [FILM, Fraction(30000, 1001), Fraction(60000, 1001), Fraction(30), Fraction(144)]
)
@pytest.mark.parametrize("rounding", [round, math.floor, math.ceil])
@pytest.mark.parametrize("numbers", [range(10_000), [0, 1, 2, 5, 6, 400]])
def test_times_of_a_constant_rate(
    rate: Fraction, rounding: Callable[[Fraction], int], numbers: list[int]
) -> None:
    """Each way to round is known, and some frames may be missing."""
    times = [rounding(number / rate * 1000) + 7 for number in numbers]
    found = exact_times(times, MILLISECOND, rate + Fraction(1, 100))
    assert found
    steps = [(time - found.times[0]) * found.tick for time in found.times]
    assert steps == [number / rate for number in numbers]
    assert abs(found.times[0] * found.tick - 7 * MILLISECOND) < MILLISECOND / 10


@pytest.mark.parametrize(
    ("times", "time_base", "rate"),
    [([0, 42, 83, 130], MILLISECOND, FILM), ([0, 40, 80], MILLISECOND, Fraction(25)),
     ([0, 42, 83], Fraction(1, 90000), FILM), ([0, 42, 42], MILLISECOND, FILM), ([0], MILLISECOND, FILM),
     ([0, 42, 83, 127], MILLISECOND, FILM)],
)  # fmt: skip
def test_other_times_are_left_alone(times: list[int], time_base: Fraction, rate: Fraction) -> None:
    assert exact_times(times, time_base, rate) is None


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_times_of_matroska_become_exact(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    lavfi(*X264, source="testsrc2=size=32x24:rate=24000/1001:duration=1")(source)
    assert upscale(source, target).error is None
    assert facts(target).times == [number / FILM for number in range(len(facts(source).times))]
