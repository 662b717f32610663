"""The values of options: what is accepted, as text and as numbers, and what is refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rgt_cli import values
from rgt_cli.errors import UsageError
from rgt_cli.size import Crop, Dimensions, Size

Parser = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (values.parse_scale, "2x", 2),
        (values.parse_scale, "X1.5", 1.5),
        (values.parse_scale, 2.5, 2.5),
        (values.parse_scale, np.float32(8), 8),
        (values.parse_tile, "auto", "auto"),
        (values.parse_tile, "64", 64),
        (values.parse_tile, np.int64(64), 64),
        (values.parse_memory, "4G", 4 << 30),
        (values.parse_memory, "1.5 GiB", 3 << 29),
        (values.parse_memory, 1000, 1000),
        (values.parse_pixels, "300M", 300_000_000),
        (values.parse_box, "1920x1080", Dimensions(1920, 1080)),
        (values.parse_box, (1920, 1080), Dimensions(1920, 1080)),
        (values.parse_crop, "10,20, 30,40", Crop(10, 20, 30, 40)),
        (values.parse_color, "white", (255, 255, 255)),
        (values.parse_color, (1, 2, 3), (1, 2, 3)),
        (values.parse_dpi, "keep", "keep"),
        (values.parse_dpi, 300, 300.0),
        (values.parse_time, "1:30", 90),
        (values.parse_time, 1.5, 1.5),
        (values.parse_arguments, "-tune 'a b'", ("-tune", "a b")),
        (values.parse_arguments, ["-tune", "a b"], ("-tune", "a b")),
    ],
)
def test_values_are_parsed(parse: Parser, value: Any, expected: Any) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("parse", "refused"),
    [
        (values.parse_scale, [0, -2, 65, "big", "", None, True, float("nan"), float("inf")]),
        (values.parse_tile, [0, 15, 64.5, "big", None, True]),
        (values.parse_memory, [0, -1, "4X", "", True]),
        (values.parse_pixels, [0, "many"]),
        (values.parse_box, ["3", "0x3", (3,), (3, -1), (1.5, 2)]),
        (values.parse_crop, ["1,2,3", "1,2,0,4", "-1,2,3,4", "1.5,2,3,4", None]),
        (values.parse_color, ["whitish", (1, 2), (1, 2, 256), None]),
        (values.parse_dpi, ["high", 0, -1, float("nan"), True]),
        (values.parse_time, ["soon", -1, float("nan"), "1:2:3:4"]),
        (values.parse_arguments, ["'open"]),
        (values.parse_number, ["a", float("nan"), True]),
    ],
)
def test_other_values_are_refused_by_name(parse: Parser, refused: list[Any]) -> None:
    for value in refused:
        with pytest.raises(UsageError) as caught:
            parse(value)
        assert str(caught.value).startswith(f"{value!r} ") or value in (0, 15), value


def test_whole_numbers_are_in_a_range() -> None:
    assert values.parse_whole_number("7", 1) == 7
    for value, words in ((0, "at least 1"), (101, "1 to 100"), (1.5, "not a whole number")):
        with pytest.raises(UsageError, match=words):
            values.parse_whole_number(value, 1, 100 if value else None)


def test_a_size_is_requested_in_one_way() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("scale", "width", "height", "fit"))
    assert values.requested_size(**nothing) is None
    assert values.requested_size(**nothing | {"scale": 2.0}) == Size(scale=2)
    assert values.requested_size(**nothing | {"width": 3}) == Size(width=3)
    box = values.requested_size(**nothing | {"fit": Dimensions(3, 4)})
    assert box == Size(width=3, height=4, fit=True)
    with pytest.raises(UsageError, match="--scale and --width/--height cannot be used together"):
        values.requested_size(**nothing | {"scale": 2.0, "height": 3}, prefix="--")
