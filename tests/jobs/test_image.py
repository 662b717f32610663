"""From file to file through a network that repeats pixels: each mode and format, bit for bit.

Results are read by other libraries than those that wrote them: libpng, libwebp, libjxl and the like
through imagecodecs, and FFmpeg.
"""

import itertools
import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rgt_cli.errors import InputError, UsageError
from rgt_cli.jobs import Job, Outcome, Recipe, run_job
from rgt_cli.media import Encoding, format_of
from rgt_cli.size import Size
from tests.conftest import nearest_upscaler

LOSSLESS = Recipe(Encoding(lossless=True))


def enlarge(source: Path, target: str, recipe: Recipe = Recipe(), size: Size | None = None) -> Path:  # noqa: B008
    """Run one job beside its source; the target's path."""
    path = source.with_name(target)
    run(source, path, recipe, size)
    return path


def run(source: Path, target: Path, recipe: Recipe, size: Size | None = None) -> Outcome:
    job = Job(source, target, format_of(target))
    return run_job(job, recipe, nearest_upscaler(size), lambda done, total: None)


def twice(array: np.ndarray) -> np.ndarray:
    return array.repeat(2, 0).repeat(2, 1)


def by_ffmpeg(path: Path, form: str) -> list[np.ndarray]:
    """Every frame as FFmpeg decodes it."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]


def decoded(path: Path) -> np.ndarray:
    """A still by another library than the one that wrote it."""
    data = path.read_bytes()
    if path.suffix == ".png":
        return imagecodecs.png_decode(data)
    if path.suffix == ".webp":
        return imagecodecs.webp_decode(data)
    if path.suffix == ".jxl":
        return imagecodecs.jpegxl_decode(data)
    if path.suffix == ".jpg":
        return imagecodecs.jpeg_decode(data)
    if path.suffix == ".avif":
        return imagecodecs.avif_decode(data)
    if path.suffix == ".bmp":
        return imagecodecs.bmp_decode(data)
    with av.open(str(path)) as container:  # TIFF
        (frame,) = container.decode(video=0)
        if frame.format.name not in ("ya8", "ya16le"):
            return frame.to_ndarray()
        dtype = np.dtype("u1" if frame.format.name == "ya8" else "<u2")  # PyAV makes no arrays of these
        rows = np.frombuffer(frame.planes[0], dtype).reshape(frame.height, -1)
        return rows[:, : 2 * frame.width].reshape(frame.height, frame.width, 2)


def made(photo: np.ndarray, mode: str) -> np.ndarray:
    """A piece of the photo as (H, W[, C]) uint8 of that mode; alpha is 0, 128 and 255 in stripes."""
    piece = photo[100:131, 150:191]
    alpha = np.resize(np.repeat([0, 128, 255], 7), piece.shape[:2]).astype(np.uint8)
    colors = piece[..., 1] if mode.startswith("L") else piece
    return np.dstack((colors, alpha)) if mode.endswith("A") else colors


def visible_equal(one: np.ndarray, other: np.ndarray) -> None:
    """Equal but for the colors of what cannot be seen."""
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    if one.ndim == 3 and one.shape[2] in (2, 4):
        np.testing.assert_array_equal(one[..., -1], other[..., -1])
        seen = other[..., -1] > 0
        one, other = one[seen], other[seen]
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".jxl", ".heic"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_eight_bits_without_loss(tmp_path: Path, photo: np.ndarray, mode: str, suffix: str) -> None:
    source = tmp_path / "in.png"
    pixels = made(photo, mode)
    Image.fromarray(pixels).save(source)
    if suffix == ".bmp" and mode.endswith("A"):
        with pytest.raises(UsageError, match="transparency"):
            enlarge(source, "out.bmp")
        return
    path, expected = enlarge(source, f"out{suffix}", LOSSLESS), twice(pixels)
    if suffix == ".heic":
        assert_heif_shows(path, mode, expected)
        return
    result = decoded(path)
    if mode.startswith("L") and suffix == ".webp":  # which has no gray
        gray = expected if mode == "L" else expected[..., 0]
        expected = np.dstack([gray] * 3 + [expected[..., 1]] * (mode == "LA"))
    visible_equal(result, expected)


def assert_heif_shows(path: Path, mode: str, expected: np.ndarray) -> None:
    """FFmpeg knows its colors, Pillow's plugin its alpha too."""
    with Image.open(path) as opened:
        visible_equal(np.asarray(opened.convert(mode)), expected)
    (frame,) = by_ffmpeg(path, "gray" if mode == "L" else "rgb24")
    frame = frame[: expected.shape[0], : expected.shape[1]]  # without what fills its last blocks
    if mode in ("L", "RGB"):
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize(("suffix", "decibels"), [(".jpg", 30), (".webp", 30), (".avif", 30)])
def test_with_loss(tmp_path: Path, photo: np.ndarray, suffix: str, decibels: float) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photo).save(source)
    errors = []
    for quality in (30, 95):
        path = enlarge(source, f"out{quality}{suffix}", Recipe(Encoding(quality=quality)))
        result = decoded(path)
        errors.append(np.square(result.astype(float) - twice(photo)).mean())
    assert 10 * np.log10(255**2 / errors[1]) > decibels
    assert errors[0] > 2 * errors[1]
    with av.open(str(tmp_path / "out95.jpg" if suffix == ".jpg" else path)) as container:
        if suffix == ".jpg":
            assert "444" in container.streams.video[0].format.name


def deep_png(array: np.ndarray, extra: bytes = b"") -> bytes:
    """(H, W) or (H, W, C) uint16 as a PNG, by hand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    channels = array.shape[2] if array.ndim == 3 else 1
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, color_type, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in array))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_sixteen_bits(tmp_path: Path, photo: np.ndarray, mode: str, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, made(photo, mode).shape, np.uint16)
    deep = made(photo, mode).astype(np.uint16) * 257 ^ noise
    if mode.endswith("A"):
        deep[..., -1] = made(photo, mode)[..., -1].astype(np.uint16) * 257
    source = tmp_path / f"in{suffix}"
    if suffix == ".png":
        source.write_bytes(deep_png(deep))
    else:
        photometric = "rgb" if mode.startswith("RGB") else "minisblack"
        extra = ["unassalpha"] if mode.endswith("A") else None
        options = {"planarconfig": "contig"} if deep.ndim == 3 else {}
        tifffile.imwrite(source, deep, photometric=photometric, extrasamples=extra,
                         compression="lzw", **options)  # fmt: skip
    for target in ("out.png", "out.tif"):
        visible_equal(decoded(enlarge(source, target)), twice(deep))
    eight = decoded(enlarge(source, "eight.png", Recipe(bits=8)))
    visible_equal(eight, ((twice(deep).astype(np.uint32) + 128) // 257).astype(np.uint8))


def test_sixteen_bits_from_eight(tmp_path: Path, photo: np.ndarray) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photo).save(source)
    result = decoded(enlarge(source, "out.png", Recipe(bits=16)))
    np.testing.assert_array_equal(result, twice(photo).astype(np.uint16) * 257)
    outcome = run(enlarge(source, "deep.png", Recipe(bits=16)), tmp_path / "a.jpg", Recipe())
    assert any("8 bits" in warning for warning in outcome.warnings)


def test_indexed_and_bilevel(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo[:40, :50])
    indexed = image.quantize(16)
    indexed.save(tmp_path / "p.png")
    expected = twice(np.asarray(indexed.convert("RGB")))
    np.testing.assert_array_equal(decoded(enlarge(tmp_path / "p.png", "p_out.png")), expected)
    indexed.save(tmp_path / "t.png", transparency=bytes([255, 0, 128] + [255] * 13))
    with Image.open(tmp_path / "t.png") as opened:
        expected = twice(np.asarray(opened.convert("RGBA")))
    visible_equal(decoded(enlarge(tmp_path / "t.png", "t_out.png")), expected)
    image.convert("1").save(tmp_path / "1.png")
    expected = twice(np.asarray(image.convert("1").convert("L")))
    np.testing.assert_array_equal(decoded(enlarge(tmp_path / "1.png", "1_out.png")), expected)
    image.save(tmp_path / "key.png", transparency=image.getpixel((3, 4)))
    result = decoded(enlarge(tmp_path / "key.png", "key_out.png"))
    assert result.shape == (80, 100, 4)
    assert result[8, 6, 3] == 0
    np.testing.assert_array_equal(result[result[..., 3] == 255, :3],
                                  twice(np.asarray(image))[result[..., 3] == 255])  # fmt: skip


def test_cmyk_becomes_srgb(tmp_path: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    image.convert("CMYK").save(tmp_path / "in.jpg", quality=100, subsampling=0)
    outcome = run(tmp_path / "in.jpg", tmp_path / "out.png", Recipe())
    assert any("CMYK is converted" in warning for warning in outcome.warnings)
    difference = decoded(tmp_path / "out.png").astype(int) - twice(photo)
    assert np.abs(difference).mean() < 3
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    difference = decoded(enlarge(tmp_path / "lab.tif", "lab.png")).astype(int) - twice(photo)
    assert np.abs(difference).mean() < 3


def test_opaque_alpha_costs_nothing_and_stays(tmp_path: Path, photo: np.ndarray) -> None:
    pixels = np.dstack((photo, np.full(photo.shape[:2], 255, np.uint8)))
    Image.fromarray(pixels).save(tmp_path / "in.png")
    np.testing.assert_array_equal(decoded(enlarge(tmp_path / "in.png", "out.png")), twice(pixels))
    assert decoded(enlarge(tmp_path / "in.png", "out.jpg")).shape == (600, 902, 3)


def test_transparency_on_a_background(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = (200, 100, 50, 255)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    with pytest.raises(UsageError, match="--background"):
        enlarge(tmp_path / "in.png", "out.bmp")
    result = decoded(enlarge(tmp_path / "in.png", "out.bmp", Recipe(Encoding(background=(9, 8, 7)))))
    assert {tuple(p) for p in result.reshape(-1, 3).tolist()} == {(9, 8, 7), (200, 100, 50)}
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "nothing.png")
    assert not decoded(enlarge(tmp_path / "nothing.png", "nothing_out.png")).any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif", ".heic"])
def test_orientation_is_applied(
    tmp_path: Path, photo: np.ndarray, orientation: int, suffix: str
) -> None:
    source = tmp_path / f"in{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    options = {".webp": {"lossless": True}, ".heic": {"quality": -1}}.get(suffix, {})
    Image.fromarray(photo).save(source, exif=exif.tobytes(), **options)
    turn = {
        1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.swapaxes(0, 1),
        6: np.rot90(photo, -1), 7: photo[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(photo),
    }  # fmt: skip
    result = decoded(enlarge(source, "out.png"))
    difference = result.astype(int) - twice(turn[orientation])
    assert np.abs(difference).mean() < (0.01 if suffix in (".png", ".tif", ".webp") else 4)
    with Image.open(tmp_path / "out.png") as opened:
        assert opened.getexif().get(274, 1) == 1


def frames_of(photo: np.ndarray, alpha: bool) -> list[np.ndarray]:
    """Five frames of few colors: a square that moves over what is transparent or plain."""
    frames = []
    for i in range(5):
        frame = np.zeros((24, 32, 4), np.uint8)
        if not alpha:
            frame[:] = (10, 20, 30, 255)
        frame[4 : 4 + 8, 3 + 4 * i : 11 + 4 * i] = (200 - 20 * i, 30 * i, 99, 255)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize("target", ["out.gif", "out.png", "out.webp"])
@pytest.mark.parametrize("source", ["in.gif", "in.png", "in.webp"])
@pytest.mark.parametrize("loop", [0, 3])
def test_animation(
    tmp_path: Path, photo: np.ndarray, source: str, target: str, alpha: bool, loop: int
) -> None:
    frames = frames_of(photo, alpha)
    images = [Image.fromarray(f if alpha else f[..., :3].copy()) for f in frames]
    durations = [40, 100, 250, 70, 500]
    options = {"lossless": True} if source.endswith("webp") else {}
    if source.endswith("gif"):
        options = {"disposal": 2 if alpha else 1}
    images[0].save(tmp_path / source, save_all=True, append_images=images[1:], duration=durations,
                   loop=loop, **options)  # fmt: skip
    path = enlarge(tmp_path / source, target, LOSSLESS if target.endswith("webp") else Recipe())
    if path.suffix == ".webp":  # which FFmpeg cannot read
        shown = [imagecodecs.webp_decode(path.read_bytes(), index=i, hasalpha=True) for i in range(5)]
        if not alpha:  # it leaves transparent what stays from the frame before
            for before, frame in itertools.pairwise(shown):
                frame[frame[..., 3] == 0] = before[frame[..., 3] == 0]
    else:
        shown = by_ffmpeg(path, "rgba")
    assert len(shown) == 5
    for result, expected in zip(shown, frames, strict=True):
        if result.shape[2] == 3:
            result = np.dstack((result, np.full(result.shape[:2], 255, np.uint8)))
        visible_equal(result, twice(expected))
    with Image.open(path) as opened:
        assert opened.info.get("loop") == loop
        kept = []
        for index in range(5):
            opened.seek(index)
            opened.load()
            kept.append(opened.info["duration"])
        assert kept == durations


def test_animations_and_pages_are_not_flattened(tmp_path: Path, photo: np.ndarray) -> None:
    images = [Image.fromarray(f[..., :3].copy()) for f in frames_of(photo, False)]
    images[0].save(tmp_path / "in.gif", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "in.tif", save_all=True, append_images=images[1:])
    for source, target in (("in.gif", "out.jpg"), ("in.gif", "out.tif"), ("in.tif", "out.png")):
        with pytest.raises(UsageError, match="cannot hold"):
            enlarge(tmp_path / source, target)
    path = enlarge(tmp_path / "in.tif", "out.tif")
    with Image.open(path) as opened:
        assert opened.n_frames == 5
        for index, image in enumerate(images):
            opened.seek(index)
            np.testing.assert_array_equal(np.asarray(opened), twice(np.asarray(image)))


def test_gif_of_many_colors(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    (result,) = by_ffmpeg(enlarge(tmp_path / "in.png", "out.gif"), "rgb24")
    assert np.abs(result.astype(int) - twice(photo)).mean() < 8
    assert len(np.unique(result.reshape(-1, 3), axis=0)) <= 256


def test_cover_of_an_animation_stays_one(tmp_path: Path, photo: np.ndarray) -> None:
    images = [Image.fromarray(f) for f in frames_of(photo, True)]
    images[0].save(tmp_path / "in.png", save_all=True, append_images=images[1:], duration=50,
                   default_image=True)  # fmt: skip
    with Image.open(enlarge(tmp_path / "in.png", "out.png")) as opened:
        assert (opened.n_frames, opened.default_image) == (5, True)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(scale=1.5), (60, 45)), (Size(scale=6), (240, 180)), (Size(width=100), (100, 75)),
        (Size(height=15), (20, 15)), (Size(width=70, height=70), (70, 70)),
        (Size(width=70, height=70, fit=True), (70, 52)), (Size(scale=1), (40, 30)),
    ],
    ids=str,
)  # fmt: skip
def test_any_size(small_png: Path, size: Size, expected: tuple[int, int]) -> None:
    result = decoded(enlarge(small_png, "out.png", size=size))
    assert result.shape[1::-1] == expected
    with Image.open(small_png) as opened:
        same = np.asarray(opened.resize(expected, Image.Resampling.NEAREST)).astype(float)
    assert np.abs(result - same).mean() < 12


def test_bombs_are_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="--max-pixels"):
        enlarge(tmp_path / "bomb.png", "out.png")
    Image.new("L", (100, 100)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="100 x 100"):
        enlarge(tmp_path / "small.png", "out.png", replace(Recipe(), max_pixels=9999))


def test_many_kinds_of_tiff(tmp_path: Path, photo: np.ndarray) -> None:
    piece = photo[:70, :90]
    for name, options in {
        "lzw": {"compression": "lzw", "predictor": True}, "packbits": {"compression": "packbits"},
        "tiled": {"tile": (32, 32), "compression": "zlib"}, "planar": {"planarconfig": "separate"},
        "big": {"bigtiff": True}, "motorola": {"byteorder": ">"}, "zstd": {"compression": "zstd"},
    }.items():  # fmt: skip
        for dtype in (np.uint8, np.uint16):
            array = piece.astype(dtype) * (257 if dtype == np.uint16 else 1)
            stored = np.moveaxis(array, 2, 0) if name == "planar" else array
            source = tmp_path / f"{name}.tif"
            tifffile.imwrite(source, stored, photometric="rgb", **options)
            visible_equal(decoded(enlarge(source, "out.png")), twice(array))
    inverted = tmp_path / "white.tif"
    tifffile.imwrite(inverted, piece[..., 0].astype(np.uint16) * 257, photometric="miniswhite")
    expected = 65535 - twice(piece[..., 0]).astype(np.uint16) * 257
    visible_equal(decoded(enlarge(inverted, "out.png")), expected)
    floats = tmp_path / "float.tif"
    tifffile.imwrite(floats, piece.astype(np.float32), photometric="rgb")
    with pytest.raises((InputError, UsageError), match=r"float\.tif"):
        enlarge(floats, "out.png")


def test_encoders_agree_on_timing(tmp_path: Path, photo: np.ndarray) -> None:
    """FFmpeg shows the frames of a GIF when the source did."""
    images = [Image.fromarray(f) for f in frames_of(photo, True)]
    durations = [40, 100, 250, 70, 500]
    images[0].save(tmp_path / "in.gif", save_all=True, append_images=images[1:], duration=durations,
                   disposal=2, loop=0)  # fmt: skip
    with av.open(str(enlarge(tmp_path / "in.gif", "out.gif"))) as container:
        starts = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert starts == [Fraction(sum(durations[:i]), 1000) for i in range(5)]
