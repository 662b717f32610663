"""`damage_of`: what is missing in files whose rest can be decoded without an error."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from rgt_cli.media.video.integrity import damage_of
from rgt_cli.media.video.probe import probe
from tests.helpers.videos import X264, lavfi

FRAGMENTED = ("-g", "10", "-movflags", "frag_keyframe+empty_moov")
INDEXED = ("-g", "10", "-movflags", "frag_keyframe+empty_moov+dash+global_sidx")


def boxes(data: bytes, name: bytes) -> list[tuple[int, int]]:
    """Return where the boxes of a name at the top of an MP4 start and end."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found += [(at, at + size)] * (kind == name)
        at += size
    return found


def cut_between_frames(data: bytes) -> bytes:
    return data[: data.index(b"00dc", len(data) // 2)]


def unfinished(data: bytes) -> bytes:
    return data[:4] + bytes(4) + data[8:]


def without_fragment(data: bytes) -> bytes:
    (start, _), (_, end) = boxes(data, b"moof")[2], boxes(data, b"mdat")[2]
    return data[:start] + data[end:]


def zeroed_fragment(data: bytes) -> bytes:
    start, end = boxes(data, b"moof")[2]
    return data[:start] + bytes(end - start) + data[end:]


def renamed_fragment(data: bytes) -> bytes:
    start, _ = boxes(data, b"moof")[2]
    return data[: start + 4] + b"free" + data[start + 8 :]


def cut_within_fragment(data: bytes) -> bytes:
    return data[: boxes(data, b"mdat")[2][1] - 10]


def cut_before_fragment(data: bytes) -> bytes:
    return data[: boxes(data, b"moof")[2][0]]


def whole(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("suffix", "arguments", "change", "reason"),
    [("avi", ("-c:v", "mpeg4"), whole, None), ("avi", ("-c:v", "mpeg4"), unfinished, None),
     ("avi", ("-c:v", "mpeg4"), cut_between_frames, "too early"), ("mp4", X264, whole, None),
     ("mp4", (*X264, *FRAGMENTED), whole, None),
     ("mov", (*X264, *FRAGMENTED), zeroed_fragment, "no fragment"),
     ("mp4", (*X264, *FRAGMENTED), without_fragment, "missing"),
     ("mp4", (*X264, *FRAGMENTED), renamed_fragment, "missing"),
     ("mp4", (*X264, *FRAGMENTED), cut_within_fragment, "too early"),
     ("mp4", (*X264, *INDEXED), whole, None),
     ("mp4", (*X264, *INDEXED), cut_before_fragment, "too early"),
     ("mkv", X264, whole, None)],
)  # fmt: skip
def test_damage(
    tmp_path: Path,
    suffix: str,
    arguments: tuple[str, ...],
    change: Callable[[bytes], bytes],
    reason: str | None,
) -> None:
    path = tmp_path / f"in.{suffix}"
    lavfi(*arguments)(path)
    path.write_bytes(change(path.read_bytes()))
    found = damage_of(path, probe(path).demuxer)
    if reason is None:
        assert found is None
    else:
        assert found
        assert reason in found
