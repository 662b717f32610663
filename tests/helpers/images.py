"""Image files for tests: written, passed through `rgt_cli.media`, and decoded by other libraries."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imagecodecs
import numpy as np
from PIL import Image

from rgt_cli.media import (
    MAX_PIXELS,
    Encoding,
    ImageFormat,
    Metadata,
    Picture,
    format_of,
    open_rows,
    read_images,
    update_metadata,
    write_images,
    write_streamed,
)

LOSSLESS = Encoding(lossless=True)


def doubled(array: np.ndarray) -> np.ndarray:
    """Return an image with every pixel repeated, as a stub network upscales it."""
    return array.repeat(2, 0).repeat(2, 1)


def upscaled(picture: Picture) -> Picture:
    """Return an image with every pixel repeated, and its metadata updated."""
    alpha = None if picture.alpha is None else doubled(picture.alpha)
    large = Picture(doubled(picture.pixels), alpha)
    return replace(large, metadata=update_metadata(large, picture.metadata))


def convert(
    source: Path,
    target: Path,
    encoding: Encoding = Encoding(),  # noqa: B008
    finish: Callable[[Picture], Picture] = lambda picture: picture,
) -> tuple[str, ...]:
    """Read, upscale and write an image file in memory.

    Args:
        finish: What is done to each upscaled image before it is written.

    Returns:
        The warnings of reading and writing.
    """
    images = read_images(source)
    large = replace(images, frames=[finish(upscaled(picture)) for picture in images.frames])
    return (*images.warnings, *write_images(large, target, image_format_of(target), encoding))


def converted(
    source: Path,
    name: str,
    encoding: Encoding = Encoding(),  # noqa: B008
    finish: Callable[[Picture], Picture] = lambda picture: picture,
) -> Path:
    """Call `convert` with a target beside the source, and return the target."""
    target = source.with_name(name)
    convert(source, target, encoding, finish)
    return target


def stream(
    source: Path,
    target: Path,
    finish: Callable[[Metadata], Metadata] = lambda metadata: metadata,
    rows: int = 37,
) -> tuple[str, ...]:
    """Read, upscale and write an image file a few rows at a time.

    Args:
        finish: What is done to the metadata before it is updated.
        rows: Number of rows that are read at a time.

    Returns:
        The warnings of reading and writing.
    """
    with open_rows(source, MAX_PIXELS, target.parent) as image:
        image = replace(image, metadata=finish(image.metadata))

        def strips() -> Iterator[np.ndarray]:
            for top in range(0, image.shape[0], rows):
                yield doubled(image[top : top + rows])

        lost = write_streamed(image, strips(), 2, target, image_format_of(target))
    return (*image.warnings, *lost)


def image_format_of(path: Path) -> ImageFormat:
    """Return the format of an image file by its name."""
    file_format = format_of(path)
    assert isinstance(file_format, ImageFormat)
    return file_format


def sample(photo: np.ndarray, mode: str) -> np.ndarray:
    """Return a part of the photo as (31, 41[, C]) uint8; alpha is 0, 128 and 255 in stripes.

    Args:
        mode: L, LA, RGB or RGBA.
    """
    part = photo[100:131, 150:191]
    alpha = np.resize(np.repeat([0, 128, 255], 7), part.shape[:2]).astype(np.uint8)
    colors = part[..., 1] if mode.startswith("L") else part
    return np.dstack((colors, alpha)) if mode.endswith("A") else colors


def deep_sample(photo: np.ndarray, mode: str) -> np.ndarray:
    """Return the same as uint16, with noise in the lower bits of the colors."""
    eight = sample(photo, mode)
    noise = np.random.default_rng(0).integers(0, 256, eight.shape, np.uint16)
    deep: np.ndarray = eight.astype(np.uint16) * 257 ^ noise
    if mode.endswith("A"):
        deep[..., -1] = eight[..., -1].astype(np.uint16) * 257
    return deep


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def deep_png(
    array: np.ndarray, *, before: bytes = b"", after: bytes = b"", interlaced: bool = False
) -> bytes:
    """Return (H, W) or (H, W, C) uint16 as a PNG, written by hand without filters.

    Args:
        before: Chunks before the pixels.
        after: Chunks after the pixels.
    """
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2] if array.ndim == 3 else 1]
    header = struct.pack(
        ">IIBBBBB", array.shape[1], array.shape[0], 16, color_type, 0, 0, int(interlaced)
    )
    parts = [array[y::down, x::across] for x, y, across, down in _ADAM7] if interlaced else [array]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    chunks = (png_chunk(b"IHDR", header), before, pixels, after, png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def with_chunks(png: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a PNG with more chunks before and after its pixels."""
    first = 8 + 25  # the signature and IHDR
    last = len(png) - 12  # IEND
    return png[:first] + before + png[first:last] + after + png[last:]


def decoded(path: Path) -> np.ndarray:
    """Decode a still image by another library than the one that wrote it."""
    data = path.read_bytes()
    decoders: dict[str, Callable[[bytes], Any]] = {
        ".png": imagecodecs.png_decode,
        ".webp": imagecodecs.webp_decode,
        ".jxl": imagecodecs.jpegxl_decode,
        ".jpg": imagecodecs.jpeg_decode,
        ".avif": imagecodecs.avif_decode,
        ".bmp": imagecodecs.bmp_decode,
    }
    if decode := decoders.get(path.suffix):
        return np.asarray(decode(data))
    with av.open(str(path)) as container:  # TIFF
        (frame,) = container.decode(video=0)
        if frame.format.name not in ("ya8", "ya16le"):
            return frame.to_ndarray()
        dtype = np.dtype("u1" if frame.format.name == "ya8" else "<u2")  # PyAV converts neither
        rows = np.frombuffer(bytes(frame.planes[0]), dtype).reshape(frame.height, -1)
        pixels: np.ndarray = rows[:, : 2 * frame.width]
        return pixels.reshape(frame.height, frame.width, 2)


def decoded_frames(path: Path, pixel_format: str) -> list[np.ndarray]:
    """Return every frame of an animation as FFmpeg decodes it."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=pixel_format) for frame in container.decode(video=0)]


def assert_visibly_equal(one: np.ndarray, other: np.ndarray) -> None:
    """Assert that two images are equal, apart from the colors of transparent pixels."""
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    if one.ndim == 3 and one.shape[2] in (2, 4):
        np.testing.assert_array_equal(one[..., -1], other[..., -1])
        visible = other[..., -1] > 0
        one, other = one[visible], other[visible]
    np.testing.assert_array_equal(one, other)


def exiftool(path: Path, *options: str) -> dict[str, Any]:
    """Return every tag of a file with its group, as exiftool prints it."""
    command = ["exiftool", "-json", "-G1", "-n", "-struct", *options, str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    (tags,) = json.loads(result.stdout)
    assert isinstance(tags, dict)
    return tags


TUPLE_TYPES = {"L": "GRAYSCALE", "LA": "GRAYSCALE_ALPHA", "RGB": "RGB", "RGBA": "RGB_ALPHA"}
"""Mode -> the name of its tuples in a PAM."""


def write_pam(path: Path, array: np.ndarray, mode: str) -> None:
    """Write (H, W[, C]) uint8 or uint16 as a PAM."""
    height, width = array.shape[:2]
    path.write_text(
        f"P7\n# a comment\nWIDTH {width}\nHEIGHT {height}\nDEPTH {len(mode)}\n"
        f"MAXVAL {np.iinfo(array.dtype).max}\nTUPLTYPE {TUPLE_TYPES[mode]}\nENDHDR\n"
    )
    with path.open("ab") as file:
        file.write(array.astype(array.dtype.newbyteorder(">")).tobytes())


def write_dpx(path: Path, array: np.ndarray, pixel_format: str) -> None:
    """Write an array as a DPX by FFmpeg."""
    frame = av.VideoFrame.from_ndarray(array, format=pixel_format)
    encoder = av.CodecContext.create("dpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.time_base = frame.width, frame.height, Fraction(1, 25)
    encoder.pix_fmt = pixel_format
    path.write_bytes(b"".join(map(bytes, (*encoder.encode(frame), *encoder.encode(None)))))


def tiny_webp(width: int, height: int) -> bytes:
    """Return a WebP of one color, whose pixels need no bytes at all."""
    size = (width - 1) | (height - 1) << 14
    one_symbol = 0b0001  # a simple code, of one symbol, which has one bit and is 0
    codes = sum(one_symbol << 3 + 4 * index for index in range(5))
    data = b"\x2f" + size.to_bytes(4, "little") + codes.to_bytes(3, "little")
    chunk = b"VP8L" + struct.pack("<L", len(data)) + data
    return b"RIFF" + struct.pack("<L", 4 + len(chunk)) + b"WEBP" + chunk


def empty_jpeg(width: int, height: int, *, progressive: bool = False, end: bool = False) -> bytes:
    """Return a JPEG of one block whose header has another size; without its end unless `end` is set."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", progressive=progressive)
    data = bytearray(file.getvalue())
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, height, width)
    return bytes(data if end else data[:-2])


def animation(kind: str, frames: int) -> bytes:
    """Return an animation of `count` frames of 2x2 pixels: a "gif", "png" or "webp"."""
    if kind == "gif":
        head = b"GIF89a\x02\0\x02\0\x80\0\0" + b"\0\0\0\xff\xff\xff"
        frame = b"\x21\xf9\x04\0\x04\0\0\0\x2c\0\0\0\0\x02\0\x02\0\0\x02\x03\x84\x51\x05\0"
        return head + frame * frames + b";"
    if kind == "webp":
        image = tiny_webp(2, 2)[12:]
        head = struct.pack("<LL", 0, 0)[:6] + bytes([1, 0, 0, 1, 0, 0, 40, 0, 0, 0])
        frame = b"ANMF" + struct.pack("<L", len(head + image)) + head + image
        extended = b"VP8X" + struct.pack("<LL", 10, 2) + bytes([1, 0, 0, 1, 0, 0])
        body = b"WEBP" + extended + b"ANIM" + struct.pack("<LLH", 6, 0, 0) + frame * frames
        return b"RIFF" + struct.pack("<L", len(body)) + body
    pixels, parts, number = zlib.compress(b"\0\1\2\0\3\4"), [], 0
    for index in range(frames):
        control = struct.pack(">LLLLLHHBB", number, 2, 2, 0, 0, 1, 25, 0, 0)
        parts.append(png_chunk(b"fcTL", control))
        number += 1
        if index == 0:
            parts.append(png_chunk(b"IDAT", pixels))
            continue
        parts.append(png_chunk(b"fdAT", struct.pack(">L", number) + pixels))
        number += 1
    header = png_chunk(b"IHDR", struct.pack(">LLBBBBB", 2, 2, 8, 0, 0, 0, 0))
    promise = png_chunk(b"acTL", struct.pack(">LL", frames, 0))
    return b"\x89PNG\r\n\x1a\n" + header + promise + b"".join(parts) + png_chunk(b"IEND", b"")
