"""Images in every format, decoded again by other libraries than those that wrote them."""

import itertools
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imagecodecs
import numpy as np
import pytest
from PIL import ExifTags, Image

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.media import (
    FORMATS,
    Encoding,
    ImageFormat,
    ImageSequence,
    Metadata,
    Picture,
    format_named,
    read_images,
    write_images,
)
from rgt_cli.media.profiles import png_profile
from tests.helpers.images import (
    LOSSLESS,
    assert_visibly_equal,
    convert,
    converted,
    decoded,
    decoded_frames,
    doubled,
    exiftool,
    image_format_of,
    sample,
)
from tests.helpers.process import NEEDS_EXIFTOOL

DURATIONS = [40, 100, 250, 70, 500]
"""Milliseconds of each frame of an animation."""


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".jxl", ".heic"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_lossless(tmp_path: Path, photo: np.ndarray, mode: str, suffix: str) -> None:
    source = tmp_path / "in.png"
    pixels = sample(photo, mode)
    Image.fromarray(pixels).save(source)
    if suffix == ".bmp" and mode.endswith("A"):
        with pytest.raises(UsageError, match="transparency"):
            converted(source, "out.bmp")
        return
    path, expected = converted(source, f"out{suffix}", LOSSLESS), doubled(pixels)
    if suffix == ".heic":
        assert_heif_shows(path, mode, expected)
        return
    result = decoded(path)
    if mode.startswith("L") and suffix == ".webp":  # which has no gray
        gray = expected if mode == "L" else expected[..., 0]
        expected = np.dstack([gray] * 3 + [expected[..., 1]] * (mode == "LA"))
    assert_visibly_equal(result, expected)


def assert_heif_shows(path: Path, mode: str, expected: np.ndarray) -> None:
    """Assert the colors as FFmpeg decodes them, and the alpha as Pillow's plugin does."""
    with Image.open(path) as opened:
        assert_visibly_equal(np.asarray(opened.convert(mode)), expected)
    (frame,) = decoded_frames(path, "gray" if mode == "L" else "rgb24")
    frame = frame[: expected.shape[0], : expected.shape[1]]  # the last blocks are padded
    if mode in ("L", "RGB"):
        np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photo).save(source)
    errors = {}
    for quality in (30, 95):
        path = converted(source, f"out{quality}{suffix}", Encoding(quality=quality))
        errors[quality] = np.square(decoded(path).astype(float) - doubled(photo)).mean()
    assert 10 * np.log10(255**2 / errors[95]) > 30
    assert errors[30] > 2 * errors[95]
    if suffix in (".jpg", ".avif"):
        with av.open(str(tmp_path / f"out95{suffix}")) as container:
            assert "444" in container.streams.video[0].format.name


def test_sixteen_bits_become_eight_with_a_warning(tmp_path: Path, photo: np.ndarray) -> None:
    deep = photo.astype(np.uint16) * 257
    images = ImageSequence([Picture(deep)])
    assert (
        write_images(images, tmp_path / "a.png", image_format_of(tmp_path / "a.png"), Encoding()) == ()
    )
    np.testing.assert_array_equal(decoded(tmp_path / "a.png"), deep)
    (warning,) = write_images(images, tmp_path / "a.webp", image_format_of(Path("a.webp")), LOSSLESS)
    assert "8 bits" in warning
    np.testing.assert_array_equal(decoded(tmp_path / "a.webp"), photo)


def test_opaque_alpha_is_preserved_or_dropped(tmp_path: Path, photo: np.ndarray) -> None:
    pixels = np.dstack((photo, np.full(photo.shape[:2], 255, np.uint8)))
    Image.fromarray(pixels).save(tmp_path / "in.png")
    np.testing.assert_array_equal(decoded(converted(tmp_path / "in.png", "out.png")), doubled(pixels))
    assert decoded(converted(tmp_path / "in.png", "out.jpg")).shape == (600, 902, 3)


def test_background_of_transparent_pixels(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = (200, 100, 50, 255)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    with pytest.raises(UsageError, match="--background"):
        converted(tmp_path / "in.png", "out.bmp")
    result = decoded(converted(tmp_path / "in.png", "out.bmp", Encoding(background=(9, 8, 7))))
    assert {tuple(p) for p in result.reshape(-1, 3).tolist()} == {(9, 8, 7), (200, 100, 50)}
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "clear.png")
    assert not decoded(converted(tmp_path / "clear.png", "clear_out.png")).any()


@pytest.mark.parametrize(("background", "shape"), [((90, 90, 90), (2, 2)), ((90, 0, 0), (2, 2, 3))])
def test_gray_stays_gray_on_a_gray_background(
    tmp_path: Path, background: tuple[int, int, int], shape: tuple[int, ...]
) -> None:
    picture = Picture(np.full((2, 2), 200, np.uint8), np.full((2, 2), 51, np.uint8))  # 20 % opaque
    target = tmp_path / "out.bmp"
    write_images(
        ImageSequence([picture]), target, image_format_of(target), Encoding(background=background)
    )
    result = read_images(target).first.pixels
    assert result.shape == shape
    expected = [round(200 * 0.2 + 0.8 * channel) for channel in background]
    assert result.reshape(4, -1)[0].tolist() == expected[: result.size // 4]


def test_lossless_is_refused_where_it_does_not_exist(tmp_path: Path, photo: np.ndarray) -> None:
    for name in ("a.jpg", "a.avif"):
        with pytest.raises(UsageError, match="--lossless"):
            write_images(
                ImageSequence([Picture(photo)]), tmp_path / name, image_format_of(Path(name)), LOSSLESS
            )
    assert not [*tmp_path.iterdir()]


def moving_square(*, is_transparent: bool) -> list[np.ndarray]:
    """Return five frames of few colors: a square that moves over a plain or transparent background."""
    frames = []
    for i in range(5):
        frame = np.zeros((24, 32, 4), np.uint8)
        if not is_transparent:
            frame[:] = (10, 20, 30, 255)
        frame[4 : 4 + 8, 3 + 4 * i : 11 + 4 * i] = (200 - 20 * i, 30 * i, 99, 255)
        frames.append(frame)
    return frames


def save_animation(path: Path, *, is_transparent: bool = False, **options: Any) -> list[np.ndarray]:
    """Write an animation with Pillow, and return its frames, (H, W, 4)."""
    frames = moving_square(is_transparent=is_transparent)
    images = [Image.fromarray(f if is_transparent else f[..., :3].copy()) for f in frames]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return frames


@pytest.mark.parametrize("is_transparent", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize("target", ["out.gif", "out.png", "out.webp"])
@pytest.mark.parametrize("source", ["in.gif", "in.png", "in.webp"])
@pytest.mark.parametrize("loop", [0, 3])
def test_animation(tmp_path: Path, source: str, target: str, is_transparent: bool, loop: int) -> None:
    options: dict[str, Any] = {"lossless": True} if source.endswith("webp") else {}
    if source.endswith("gif"):
        options = {"disposal": 2 if is_transparent else 1}
    frames = save_animation(
        tmp_path / source, is_transparent=is_transparent, duration=DURATIONS, loop=loop, **options
    )
    path = converted(tmp_path / source, target, LOSSLESS if target.endswith("webp") else Encoding())
    if path.suffix == ".webp":  # which FFmpeg cannot read
        shown = [
            np.array(imagecodecs.webp_decode(path.read_bytes(), index=i, hasalpha=True))
            for i in range(5)
        ]
        if not is_transparent:  # pixels that do not change are transparent
            for before, frame in itertools.pairwise(shown):
                frame[frame[..., 3] == 0] = before[frame[..., 3] == 0]
    else:
        shown = decoded_frames(path, "rgba")
    assert len(shown) == 5
    for result, expected in zip(shown, frames, strict=True):
        if result.shape[2] == 3:
            result = np.dstack((result, np.full(result.shape[:2], 255, np.uint8)))
        assert_visibly_equal(result, doubled(expected))
    with Image.open(path) as opened:
        assert opened.info.get("loop") == loop
        durations = []
        for index in range(5):
            opened.seek(index)
            opened.load()
            durations.append(opened.info["duration"])
        assert durations == DURATIONS


@pytest.mark.parametrize("target", ["out.gif", "out.png", "out.webp"])
def test_animation_without_a_loop_plays_once(tmp_path: Path, target: str) -> None:
    save_animation(tmp_path / "in.gif", duration=50)
    assert read_images(tmp_path / "in.gif").loop is None
    with Image.open(converted(tmp_path / "in.gif", target)) as opened:
        assert opened.info.get("loop") == (None if target == "out.gif" else 1)


def test_animations_and_pages_are_not_flattened(tmp_path: Path) -> None:
    frames = save_animation(tmp_path / "in.gif")
    save_animation(tmp_path / "in.tif")
    for source, target in (("in.gif", "out.jpg"), ("in.gif", "out.tif"), ("in.tif", "out.png")):
        with pytest.raises(UsageError, match="does not support"):
            converted(tmp_path / source, target)
    path = converted(tmp_path / "in.tif", "out.tif")
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == 5
        for index, frame in enumerate(frames):
            opened.seek(index)
            np.testing.assert_array_equal(np.asarray(opened), doubled(frame[..., :3]))


def test_gif_of_many_colors(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    (result,) = decoded_frames(converted(tmp_path / "in.png", "out.gif"), "rgb24")
    assert np.abs(result.astype(int) - doubled(photo)).mean() < 8
    assert len(np.unique(result.reshape(-1, 3), axis=0)) <= 256


def test_gif_of_few_colors_is_exact(tmp_path: Path) -> None:
    """As many colors as fit: 256, or 255 and transparency."""
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    clear = np.full((16, 16), 255, np.uint8)
    clear[0, 0] = 0
    for name, alpha in (("opaque.gif", None), ("clear.gif", clear)):
        target = tmp_path / name
        write_images(ImageSequence([Picture(gray, alpha)]), target, image_format_of(target), Encoding())
        (result,) = decoded_frames(target, "rgba")
        expected = np.dstack([gray] * 3 + [np.full_like(gray, 255) if alpha is None else alpha])
        assert_visibly_equal(result, expected)


def test_cover_of_an_animation_stays_a_cover(tmp_path: Path) -> None:
    save_animation(tmp_path / "in.png", duration=50, default_image=True)
    with Image.open(converted(tmp_path / "in.png", "out.png")) as opened:
        assert getattr(opened, "n_frames", 1) == 5
        assert getattr(opened, "default_image", False) is True


def test_ffmpeg_shows_the_frames_of_a_gif_at_the_same_times(tmp_path: Path) -> None:
    save_animation(tmp_path / "in.gif", is_transparent=True, duration=DURATIONS, disposal=2, loop=0)
    starts = []
    with av.open(str(converted(tmp_path / "in.gif", "out.gif"))) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            starts.append(frame.pts * frame.time_base)
    assert starts == [Fraction(sum(DURATIONS[:i]), 1000) for i in range(5)]


def test_metadata_too_long_for_a_jpeg_is_left_out_with_a_warning(
    tmp_path: Path, photo: np.ndarray
) -> None:
    long = b"<x>" + b"x" * 70_000 + b"</x>"
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    metadata = Metadata(comment=long, xmp=long, exif=exif.tobytes())
    images, target = ImageSequence([Picture(photo, None, metadata)]), tmp_path / "out.jpg"
    lost = write_images(images, target, image_format_of(target), Encoding())
    assert [word for word in ("EXIF", "XMP", "comment") if any(word in loss for loss in lost)] == [
        "EXIF", "XMP", "comment",
    ]  # fmt: skip
    assert target.stat().st_size < 250_000
    assert decoded(target).shape == photo.shape


@NEEDS_EXIFTOOL
def test_exif_that_fills_a_jpeg_loses_only_its_thumbnail(tmp_path: Path, photo: np.ndarray) -> None:
    """Maker notes of cameras have up to 60 KB."""
    source, thumbnail = tmp_path / "in.jpg", tmp_path / "thumbnail.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = random.Random(0).randbytes(62_500)
    Image.fromarray(photo).save(source, exif=exif)
    Image.fromarray(photo[:40, :50]).save(thumbnail, quality=50)
    option = f"-ThumbnailImage<={thumbnail}"
    command = ["exiftool", "-q", "-m", "-overwrite_original", option, str(source)]
    subprocess.run(command, check=True)
    assert "IFD1:ThumbnailLength" in exiftool(source)
    assert convert(source, tmp_path / "out.jpg") == ()
    with Image.open(tmp_path / "out.jpg") as written:
        assert written.getexif()[ExifTags.Base.Make] == "Maker"
        assert len(written.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote]) == 62_500
        assert not written.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_failed_write_leaves_the_old_target(tmp_path: Path, photo: np.ndarray) -> None:
    target = tmp_path / "out.webp"
    target.write_text("precious")
    wide = ImageSequence([Picture(photo.repeat(40, 1))])
    with pytest.raises(UsageError, match=r"out\.webp: the encoder refuses it"):
        write_images(wide, target, image_format_of(target), Encoding())
    assert target.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.webp"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "bmp", "avif", "gif", "heif", "jxl"])
def test_disk_that_fills_up_leaves_no_target(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    import resource

    file_format = format_named(name)
    target = tmp_path / f"out{file_format.suffixes[0]}"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OutputError, match=r"out\."):
            write_images(ImageSequence([Picture(photo)]), target, image_format_of(target), Encoding())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("file_format", FORMATS, ids=lambda f: f.name)
def test_longest_sides(tmp_path: Path, file_format: ImageFormat) -> None:
    """A side that a format is said to support is found to be too long only after hours, if it is not."""
    longest = min(file_format.longest_side, 65_536)
    target = tmp_path / f"out{file_format.suffixes[0]}"
    shape = (64 if file_format.name == "heif" else 2, longest, 3)  # x265 refuses thinner ones
    images = ImageSequence([Picture(np.zeros(shape, np.uint8))])
    write_images(images, target, file_format, Encoding(quality=20))
    with Image.open(target) as opened:
        assert opened.size == (longest, shape[0])


def test_gray_profiles_stay_with_gray_pixels(tmp_path: Path, photo: np.ndarray) -> None:
    """Pillow writes every AVIF in color, where programs ignore a profile for gray."""
    gray = np.ascontiguousarray(photo[..., 1])
    picture = Picture(
        gray, None, Metadata(icc=png_profile([(b"gAMA", b"\0\1\x86\xa0")], has_color=False))
    )
    for name in ("out.avif", "out.webp", "out.heic", "out.jpg", "out.png", "out.tif"):
        target = tmp_path / name
        write_images(ImageSequence([picture]), target, image_format_of(target), Encoding())
        with Image.open(target) as opened:
            profile = opened.info.get("icc_profile")
            is_color = opened.mode == "RGB"
            assert (profile is None) == is_color, name
            mean = np.asarray(opened).mean()
        assert (mean > gray.mean() + 20) == is_color, "converted to sRGB, or as it is"
