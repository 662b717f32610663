"""Images of frames, and frames that are upscaled once."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from rgt_cli.jobs.video.frames import FrameUpscaler, frame_chunks, image_of
from rgt_cli.media.video.decode import Frame
from rgt_cli.media.video.probe import Color
from rgt_cli.size import Dimensions, Size
from tests.helpers.networks import nearest_upscaler
from tests.helpers.videos import describe


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (10, np.uint16)])
def test_images_have_the_depth_of_the_video(bits: int, dtype: type) -> None:
    pixels = np.full((4, 6, 3), 257 * 7, np.uint16)
    picture = image_of(Frame(0, pixels, None), describe(bits=bits)).first
    assert picture.pixels.dtype == dtype
    assert (picture.pixels == (7 if bits == 8 else 257 * 7)).all()


@pytest.mark.parametrize(
    ("color", "aspect", "chunks"),
    [(Color(), Fraction(1), {}),
     (Color(primaries=1, transfer=1, matrix=1), Fraction(1), {}),
     (Color(primaries=9, transfer=16, matrix=9), Fraction(1), {b"cICP": b"\x09\x10\0\1"}),
     (Color(transfer=18), Fraction(1), {b"cICP": b"\x09\x12\0\1"}),
     (Color(primaries=9), Fraction(1), {b"cICP": b"\x09\x01\0\1"}),
     (Color(), Fraction(64, 45), {b"pHYs": struct.pack(">LLB", 64, 45, 0)})],
)  # fmt: skip
def test_png_chunks_describe_frames(color: Color, aspect: Fraction, chunks: dict[bytes, bytes]) -> None:
    assert dict(frame_chunks(describe(color=color, sample_aspect=aspect))) == chunks


def frame(time: int, value: int, alpha: int | None = None) -> Frame:
    return Frame(
        time,
        np.full((4, 6, 3), value, np.uint16),
        None if alpha is None else np.full((4, 6), alpha, np.uint16),
    )


def test_equal_frames_share_a_result_across_batches() -> None:
    upscaler = FrameUpscaler(nearest_upscaler(), Dimensions(12, 8))
    first = upscaler.upscale([frame(0, 5), frame(1, 5), frame(2, 9)])
    second = upscaler.upscale([frame(3, 9), frame(4, 5)])
    results = [*first, *second]
    assert [(result.time, int(result.pixels[0, 0, 0])) for result in results] == [
        (0, 5), (1, 5), (2, 9), (3, 9), (4, 5),
    ]  # fmt: skip
    assert results[0].pixels is results[1].pixels
    assert results[2].pixels is results[3].pixels
    assert results[0].pixels is not results[4].pixels
    assert upscaler.seconds > 0


def test_frames_that_differ_in_transparency_are_not_equal() -> None:
    upscaler = FrameUpscaler(nearest_upscaler(), Dimensions(12, 8))
    results = [upscaler.upscale([one])[0] for one in (frame(0, 5, 10), frame(1, 5, 20), frame(2, 5, 20))]
    values = [int(result.alpha[0, 0]) for result in results if result.alpha is not None]
    assert values == [10, 20, 20]
    assert results[1].alpha is results[2].alpha


def test_frames_are_cropped_at_the_right_and_at_the_bottom() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint16).reshape(4, 6, 3)
    (result,) = FrameUpscaler(nearest_upscaler(Size(scale=1)), Dimensions(5, 3)).upscale(
        [Frame(0, pixels, pixels[..., 0])]
    )
    np.testing.assert_array_equal(result.pixels, pixels[:3, :5])
    assert result.alpha is not None
    np.testing.assert_array_equal(result.alpha, pixels[:3, :5, 0])
