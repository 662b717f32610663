"""Restore the exact times of frames that a container has rounded to milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

_MILLISECOND = Fraction(1, 1000)
_RATES = (
    *(Fraction(base * 1000, 1001) for base in (24, 30, 48, 60, 120)),
    *(Fraction(rate) for rate in (24, 30, 48, 60, 90, 120, 144, 240)),
)
"""The usual frame rates whose frames do not last a whole number of milliseconds."""
_CLOSE = Fraction(1, 200)
"""The share by which an average rate may differ: the duration is rounded, or frames are missing."""
_LEAST_SCALE = 10_000
"""The least number of ticks per second, so that the first frame starts in time."""


class ExactTimes(NamedTuple):
    """Times in ticks that represent a frame rate exactly."""

    tick: Fraction
    """Seconds per tick."""
    times: list[int]
    """When each frame is shown, in ticks."""


def exact_times(times: Sequence[int], time_base: Fraction, average: Fraction) -> ExactTimes | None:
    """Return the times that were rounded to these, or None if the frames have no constant rate.

    Some frames may be missing.

    Args:
        times: When each frame is shown, in ticks of `time_base`.
        time_base: Seconds per tick; only milliseconds are restored.
        average: About how many frames there are a second.
    """
    if time_base != _MILLISECOND or len(times) < 2:
        return None
    rates = [rate for rate in _RATES if abs(rate / average - 1) < _CLOSE]
    for rate in sorted(rates, key=lambda rate: abs(rate - average)):
        numbers = [round((time - times[0]) * time_base * rate) for time in times]
        errors = [time * time_base - number / rate for time, number in zip(times, numbers, strict=True)]
        # Each time is rounded by half a millisecond at most, in either direction.
        if max(errors) - min(errors) <= _MILLISECOND and len(set(numbers)) == len(numbers):
            finer = math.ceil(_LEAST_SCALE / rate.numerator)
            tick = Fraction(1, rate.numerator * finer)
            first, step = round(times[0] * time_base / tick), rate.denominator * finer
            return ExactTimes(tick, [first + number * step for number in numbers])
    return None
