"""Pictures larger than memory are enlarged in strips, and come out as they would whole."""

import io
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rgt_cli.errors import InputError, OutputError, UsageError
from rgt_cli.inference import MultiPassUpscaler, Upscaler
from rgt_cli.jobs import Job, Recipe
from rgt_cli.jobs.streaming import needs_streaming, upscale_streaming
from rgt_cli.media import Encoding, ImageSequence, Picture, format_of, png, write_images
from rgt_cli.size import Size
from tests.conftest import Nearest, nearest_upscaler
from tests.jobs.test_image import decoded, twice

_PIXEL_FORMATS = {(1, 8): "gray", (3, 8): "rgb24", (1, 16): "gray16be", (3, 16): "rgb48be"}
LIMITED = """
import re, sys
from pathlib import Path
from rgt_cli.jobs import Job, Recipe, run_job
from rgt_cli.inference import MultiPassUpscaler, Upscaler
from rgt_cli.media import format_of
from rgt_cli.size import Size
from tests.conftest import Nearest
import rgt_cli.media.tiff, imageio.v3
source, target, format_bytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
held = peak()
limit = (held + format_bytes) << 20
upscaler = MultiPassUpscaler(Size(scale=2), lambda s: Upscaler(Nearest(s), device="cpu", memory=limit), [2])
run_job(Job(source, target, format_of(target)), Recipe(), upscaler, lambda done, total: None)
print(peak() - held)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read where Linux tells it")
@pytest.mark.parametrize(
    ("name", "suffix", "compression"),
    [("in.tif", ".tif", "zlib"), ("in.tif", ".png", None), ("in.png", ".png", None)],
)
def test_more_than_fits(tmp_path: Path, name: str, suffix: str, compression: str | None) -> None:
    """The result has 130 MB, and 110 MB may be used on top of the libraries."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    pixels = coarse.repeat(67, 0).repeat(67, 1)
    source, target = tmp_path / name, tmp_path / f"out{suffix}"
    if name == "in.tif":
        tifffile.imwrite(source, pixels, photometric="rgb", compression=compression)
    else:
        Image.fromarray(pixels).save(source, compress_level=1)
    command = [sys.executable, "-c", LIMITED, source, target, "110"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 130
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(target) as opened:
        for top in range(0, 5360, 670):
            strip = np.asarray(opened.crop((0, top, 8040, top + 670)))
            np.testing.assert_array_equal(strip, twice(pixels[top // 2 : top // 2 + 335]))
    assert {path.name for path in tmp_path.iterdir()} == {name, target.name}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("name", ["in.tif", "in.png"])
def test_strips_are_the_whole(
    tmp_path: Path, photo: np.ndarray, dtype: type, gray: bool, name: str, suffix: str
) -> None:
    pixels = (photo[..., 1] if gray else photo).astype(dtype) * (257 if dtype is np.uint16 else 1)
    source, target = tmp_path / name, tmp_path / f"out{suffix}"
    if name == "in.tif":
        tifffile.imwrite(source, pixels, photometric="minisblack" if gray else "rgb", compression="lzw")
    elif dtype is np.uint8:
        Image.fromarray(pixels).save(source)
    else:
        write_images(ImageSequence([Picture(pixels)]), source, format_of(source), Encoding())
    job = Job(source, target, format_of(target))
    upscaler = nearest_upscaler()
    assert not needs_streaming(job, Recipe(), upscaler)
    sizes = upscale_streaming(job, Recipe(), upscaler, lambda done, total: None)
    assert sizes == ((451, 300), (902, 600))
    np.testing.assert_array_equal(decoded(target), twice(pixels))
    assert {path.name for path in tmp_path.iterdir()} == {name, target.name}


@pytest.mark.parametrize("filter_type", range(6))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_every_filter(
    photo: np.ndarray, filter_type: int, bits: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PNG by another writer, which filters every row alike, or (5) each as it likes."""
    pixels = (photo[:41] * np.uint16(251)) if bits == 16 else photo[:41]
    pixels = pixels if channels == 3 else pixels[..., 1]
    frame = av.VideoFrame.from_ndarray(pixels, format=_PIXEL_FORMATS[channels, bits])
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.time_base = 451, 41, Fraction(1, 25)
    encoder.pix_fmt = frame.format.name
    names = ("none", "sub", "up", "avg", "paeth", "mixed")
    encoder.options = {"pred": names[filter_type]}
    written = io.BytesIO(b"".join(map(bytes, (*encoder.encode(frame), *encoder.encode(None)))))
    assert png.rows_layout(written) == ((41, 451, channels), np.dtype(f"u{bits // 8}"))
    monkeypatch.setattr(png, "_PIECE", 7 * 451)
    pieces = list(png.read_rows(written))
    assert len(pieces) > 5
    np.testing.assert_array_equal(np.concatenate(pieces), pixels)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.98])
def test_a_png_that_ends_early(tmp_path: Path, photo: np.ndarray, kept: float) -> None:
    whole = io.BytesIO()
    Image.fromarray(photo).save(whole, "PNG")
    (tmp_path / "in.png").write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * kept)])
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    with pytest.raises(InputError, match="damaged picture: it ends after"):
        upscale_streaming(job, Recipe(), nearest_upscaler(), lambda done, total: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_a_png_with_a_wrong_byte(tmp_path: Path, photo: np.ndarray) -> None:
    whole = io.BytesIO()
    Image.fromarray(photo).save(whole, "PNG")
    damaged = bytearray(whole.getvalue())
    damaged[len(damaged) // 2] ^= 0x55
    (tmp_path / "in.png").write_bytes(damaged)
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    with pytest.raises(InputError, match="damaged picture"):
        upscale_streaming(job, Recipe(), nearest_upscaler(), lambda done, total: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="files are limited as Unix does")
@pytest.mark.parametrize("name", ["in.tif", "in.png"])
def test_no_room_for_the_decoded_rows(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    import resource

    flat = np.zeros((300, 450, 3), np.uint8)
    if name == "in.tif":
        tifffile.imwrite(tmp_path / name, flat, photometric="rgb", compression="zlib")
    else:
        Image.fromarray(flat).save(tmp_path / name)
    job = Job(tmp_path / name, tmp_path / "out.png", format_of(tmp_path / "out.png"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"no room for the 0\.0 GB of a decoded picture"):
            upscale_streaming(job, Recipe(), nearest_upscaler(), lambda done, total: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["in.jpg", "in.webp", "in.bmp"])
def test_others_are_decoded_as_a_whole(tmp_path: Path, photo: np.ndarray, name: str) -> None:
    Image.fromarray(photo).save(tmp_path / name)
    job = Job(tmp_path / name, tmp_path / "out.png", format_of(tmp_path / "out.png"))
    upscale_streaming(job, Recipe(), nearest_upscaler(), lambda done, total: None)
    np.testing.assert_array_equal(decoded(job.target), twice(decoded(job.source)))


def test_png_and_its_envelope(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    piece = np.ascontiguousarray(photo[100:200, 150:280])
    Image.fromarray(piece).save(tmp_path / "in.png", exif=exif, dpi=(300, 300))
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    load = lambda scale: Upscaler("tiny", scale, device="cpu", tile=48)  # noqa: E731
    upscaler = MultiPassUpscaler(Size(scale=2), load, [2])
    upscale_streaming(job, Recipe(), upscaler, lambda done, total: None)
    with Image.open(tmp_path / "out.png") as opened:
        assert opened.getexif()[0x010F] == "Maker"
        assert round(opened.info["dpi"][0]) == 300
        np.testing.assert_array_equal(np.asarray(opened), upscaler.enlarge(piece)[0])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
def test_opaque_alpha_is_left_out(tmp_path: Path, photo: np.ndarray, gray: bool, bits: int) -> None:
    pixels = (photo[..., 1] if gray else photo).astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    opaque = Picture(pixels, np.full(pixels.shape[:2], 2**bits - 1, pixels.dtype))
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    write_images(ImageSequence([opaque]), job.source, job.format, Encoding())
    upscale_streaming(job, Recipe(), nearest_upscaler(), lambda done, total: None)
    np.testing.assert_array_equal(decoded(job.target), twice(pixels))


def test_resolution_and_stripping(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(job.source, exif=exif, dpi=(300, 300))
    upscale_streaming(job, Recipe(dpi="scale"), nearest_upscaler(), lambda done, total: None)
    with Image.open(job.target) as opened:
        assert round(opened.info["dpi"][0]) == 600
    upscale_streaming(job, Recipe(strip=True), nearest_upscaler(), lambda done, total: None)
    with Image.open(job.target) as opened:
        assert "dpi" not in opened.info
        assert not opened.getexif()
    Image.fromarray(photo).save(job.source, icc_profile=profile)
    for recipe in (Recipe(strip=True), Recipe(bits=16)):
        with pytest.raises(UsageError, match="needs it whole"):
            upscale_streaming(job, recipe, nearest_upscaler(), lambda done, total: None)


@pytest.mark.parametrize("kind", ["half-transparent", "turned", "two pages", "interlaced, deep"])
def test_what_cannot_be_enlarged_in_strips(tmp_path: Path, photo: np.ndarray, kind: str) -> None:
    source = tmp_path / ("in.tif" if kind == "two pages" else "in.png")
    job = Job(source, tmp_path / "out.png", format_of(tmp_path / "out.png"))
    picture = Image.fromarray(photo)
    if kind == "half-transparent":
        picture.putalpha(Image.new("L", picture.size, 255))
        picture.putpixel((450, 299), (1, 2, 3, 254))
        picture.save(source)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(source, exif=exif)
    elif kind == "two pages":
        picture.save(source, save_all=True, append_images=[picture])
    else:
        write_images(ImageSequence([Picture(photo * np.uint16(257))]), source, job.format, Encoding())
        content = bytearray(source.read_bytes())
        content[28] = 1
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        source.write_bytes(content)
    with pytest.raises(InputError, match="too large for the memory"):
        upscale_streaming(job, Recipe(), nearest_upscaler(), lambda done, total: None)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_strips_are_for_what_does_not_fit(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (1, 2, 3)).save(tmp_path / "in.png")
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    starved = MultiPassUpscaler(
        Size(scale=2), lambda scale: Upscaler(Nearest(2), device="cpu", memory=1 << 20), [2]
    )
    assert needs_streaming(job, Recipe(), starved)
    assert not needs_streaming(Job(job.source, tmp_path / "a.jpg", format_of(Path("a.jpg"))), Recipe(
        Encoding()), starved)  # fmt: skip
