"""Jumps in the timestamps of recordings."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from rgt_cli.media.video.decode import read_frames
from rgt_cli.media.video.probe import probe
from rgt_cli.media.video.timeline import Timeline, read_timeline, without_jumps
from tests.helpers.videos import SMALL, X264, ffmpeg, upscale

MPEG2 = ("-c:v", "mpeg2video", "-g", "10", "-bf", "2")


def record(path: Path, start: float, codec: tuple[str, ...], duration: float = 2) -> bytes:
    """Write a recording with sound that starts at a time in seconds, and return it."""
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=2", *codec, "-c:a", "mp2",
        "-t", f"{duration:g}", "-output_ts_offset", f"{start:g}", path,
    )  # fmt: skip
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "codec", "starts", "jumps"),
    [("ts", X264, (60, 0), [-62]), ("ts", X264, (0, 60), [58]), ("ts", X264, (0, 1.7), [-0.3]),
     ("ts", X264, (0, 2), []), ("ts", X264, (0, 6), []), ("ts", MPEG2, (5, 3000, 5), [2993, -2997]),
     ("mpg", MPEG2, (60, 0), [-62]), ("ts", X264, (95440,), [])],
)  # fmt: skip
def test_jumps_are_closed(
    tmp_path: Path, suffix: str, codec: tuple[str, ...], starts: tuple[float, ...], jumps: list[float]
) -> None:
    path, messages = tmp_path / f"in.{suffix}", list[str]()
    parts = [record(tmp_path / f"{at}.{suffix}", start, codec) for at, start in enumerate(starts)]
    path.write_bytes(b"".join(parts))
    video = probe(path)
    assert [float(jump) for jump in read_timeline(video).jumps] == pytest.approx(jumps, abs=0.6)
    with without_jumps(video, tmp_path, messages.append) as continuous:
        assert (continuous is video) == (not jumps)
        assert continuous.name == str(path)
        times = [frame.time * video.time_base for frame in read_frames(continuous)]
        ends = [
            max(packet.pts * packet.time_base for packet in packets if packet.pts is not None)
            for packets in packets_of(continuous.path).values()
        ]
    assert len(messages) == bool(jumps)
    assert len(times) == 50 * len(starts)
    steps = [later - earlier for earlier, later in pairwise(times)]
    # Times that the container does not store are guessed where two recordings meet.
    assert sum(abs(step - Fraction(1, 25)) > Fraction(1, 1000) for step in steps) <= 3 * (
        len(starts) - 1
    )
    if jumps:
        assert times[-1] - times[0] == pytest.approx(2 * len(starts), abs=0.5)
    assert max(ends) - min(ends) < 0.2  # picture and sound end together
    assert not list(tmp_path.glob("source.*"))


@pytest.mark.parametrize(
    ("sound", "jumps"),
    [([0, 1, 20, 21], []), ([0, 1, 2], []), ([0, 1, 45, 46], [14]), ([0, 1, 31, 32], [])],
)
def test_a_gap_in_one_stream_is_no_jump(sound: list[int], jumps: list[int]) -> None:
    """The picture goes on for 31 s."""
    timeline, second = Timeline(), Fraction(1)
    packets = sorted([(time * second, 0) for time in range(31)] + [(time * second, 1) for time in sound])
    for time, index in packets:
        timeline.add(index, time, (time, time + second), is_sparse=False)
    assert timeline.jumps == jumps


def test_sound_after_a_jump_moves_as_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "in.ts"
    codec = (*X264, "-b:a", "32k")  # many packets of sound fit into one packet of the container
    path.write_bytes(b"".join(record(tmp_path / f"{at}.ts", at, codec) for at in (0, 60)))
    before = packets_of(path)
    with without_jumps(probe(path), tmp_path, lambda _: None) as continuous:
        after = packets_of(continuous.path)
    moved = [
        [float(time_of(one) - time_of(other)) for one, other in zip(before[at], after[at], strict=True)]
        for at in (0, 1)
    ]
    second = next(at for at, shift in enumerate(moved[1]) if shift > 30)
    # The first packet can overlap the last one of the recording before.
    assert moved[1][second + 1 :] == pytest.approx(
        [moved[0][-1]] * (len(moved[1]) - second - 1), abs=1e-3
    )


def time_of(packet: av.Packet) -> Fraction:  # type: ignore[type-arg]
    return (packet.pts or 0) * (packet.time_base or Fraction(1))


def test_damage_after_a_jump_names_the_input(tmp_path: Path) -> None:
    path = tmp_path / "in.ts"
    first, second = (record(tmp_path / f"{at}.ts", at, X264) for at in (0, 60))
    damaged = bytearray(second)
    damaged[100::188] = bytes(len(damaged[100::188]))  # a byte in each packet
    path.write_bytes(first + damaged)
    outcome = upscale(path, tmp_path / "out.mkv", 1)
    assert str(outcome.error).startswith(f"{path}: the video is damaged")


def packets_of(path: Path) -> dict[int, list[av.Packet]]:  # type: ignore[type-arg]
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    return {
        index: [p for p in packets if p.stream_index == index]
        for index in {p.stream_index for p in packets}
    }


def test_gaps_of_other_containers_are_parts_of_the_video(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    slides = "testsrc2=size=64x48:rate=1/60:duration=180"
    ffmpeg("-f", "lavfi", "-i", slides, *X264, "-r", "1/60", path)
    assert read_timeline(probe(path)).jumps == []
