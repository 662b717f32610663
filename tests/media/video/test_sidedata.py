"""What new frames lack of the old ones is named."""

import struct
from pathlib import Path

import pytest

from rgt_cli.media import Container, container_of, format_named
from rgt_cli.media.video.probe import probe
from rgt_cli.media.video.sidedata import lost_side_data
from tests.helpers.videos import X264, Make, ffmpeg, lavfi, upscale

SHORT = "testsrc2=size=64x48:rate=25:duration=0.2"
X265 = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error:repeat-headers=1")
SPHERICAL = (
    "<rdf:SphericalVideo><GSpherical:Spherical>true</GSpherical:Spherical><GSpherical:StitchingSoftware>"
    "none</GSpherical:StitchingSoftware><GSpherical:Stitched>true</GSpherical:Stitched>"
    "<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>"
    "</rdf:SphericalVideo>"
)
"""Version 1 of the format of Google for videos of 360 degrees."""


def escaped(payload: bytes) -> bytes:
    """Return a part of a stream of H.264 or HEVC without bytes that look like a start code."""
    out = bytearray()
    for byte in payload:
        if byte <= 3 and out[-2:] == b"\0\0":
            out.append(3)
        out.append(byte)
    return bytes(out)


def with_units(path: Path, codec: tuple[str, ...], before: bytes, unit: bytes) -> None:
    """Write a stream with a unit in front of each slice that begins with some bytes."""
    lavfi(*codec, "-g", "5", source=SHORT)(path)
    stream, start = path.read_bytes(), b"\0\0\1" + before
    assert start in stream
    path.write_bytes(stream.replace(start, b"\0\0\1" + unit + start))


def captions(path: Path) -> None:
    """Write CEA-608 captions in front of each keyframe, as North American broadcasts have them."""
    data = bytes.fromhex("b50031 47413934 03c1ff fc942cff".replace(" ", ""))
    codec = (*X264, "-x264-params", "repeat-headers=1", "-f", "h264")
    with_units(path, codec, b"\x65", bytes([6, 4, len(data)]) + escaped(data) + b"\x80")


def hdr10_plus(path: Path) -> None:
    """Write SMPTE ST 2094-40 with one window and all values zero."""
    data = bytes.fromhex("b5003c00010401 40".replace(" ", "")) + bytes(14)
    unit = b"\x4e\x01" + escaped(bytes([4, len(data)]) + data) + b"\x80"
    with_units(path, X265, b"\x28\x01", unit)


def dolby_vision(path: Path) -> None:
    """Write one frame, and the unit after it that contains the metadata."""
    lavfi(*X265, "-frames:v", "1", source=SHORT)(path)
    path.write_bytes(path.read_bytes() + b"\0\0\1\x7c\x01\x19\x04\x05\x06\x07\x08\x09\x80")


def spherical(path: Path) -> None:
    """Write an MP4 whose track has a box with a projection."""
    lavfi(*X264, source=SHORT)(path)
    data = bytearray(path.read_bytes())
    content = bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + SPHERICAL.encode()
    box = struct.pack(">I4s", 8 + len(content), b"uuid") + content
    moov, trak = data.index(b"moov") - 4, data.index(b"trak") - 4
    assert data.index(b"mdat") < moov, "offsets of samples would change"
    end = trak + struct.unpack_from(">I", data, trak)[0]
    for at in (moov, trak):
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(box))
    path.write_bytes(data[:end] + box + data[end:])


def stereo(path: Path) -> None:
    lavfi(*X264, "-x264-params", "frame-packing=3", source=SHORT)(path)


def tagged_stereo(path: Path) -> None:
    plain = path.with_name("plain.mkv")
    lavfi(*X264, source=SHORT)(plain)
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v", "stereo_mode=left_right", path)


def usual(path: Path) -> None:
    lavfi(*X264, source=SHORT)(path)


def container(name: str) -> Container:
    found = container_of(format_named(name))
    assert found
    return found


@pytest.mark.parametrize(
    ("make", "source", "target", "lost"),
    [(captions, "in.h264", "mp4", "closed captions"), (hdr10_plus, "in.hevc", "mkv", "HDR10+"),
     (dolby_vision, "in.hevc", "mp4", "Dolby Vision"), (spherical, "in.mp4", "mp4", "360-degree"),
     (stereo, "in.mp4", "mp4", "stereoscopic"), (tagged_stereo, "in.mkv", "mp4", "stereoscopic"),
     (tagged_stereo, "in.mkv", "mkv", None), (usual, "in.mp4", "mp4", None)],
)  # fmt: skip
def test_what_is_lost_is_named(
    tmp_path: Path, make: Make, source: str, target: str, lost: str | None
) -> None:
    make(tmp_path / source)
    found = lost_side_data(probe(tmp_path / source), container(target))
    assert [lost in name for name in found] == [True] if lost else found == ()


def test_a_warning_names_what_is_lost(tmp_path: Path) -> None:
    captions(tmp_path / "in.h264")
    (warning,) = upscale(tmp_path / "in.h264", tmp_path / "out.mp4").warnings
    assert "left out: closed captions" in warning
