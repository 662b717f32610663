"""`Upscaler`: the images that it accepts, what it returns for them, and its arguments."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

import rgt_cli
from rgt_cli import InputError, NoInputError, OutOfMemoryError, Upscaler, UsageError, errors
from rgt_cli.inference.resize import lanczos, shrink
from rgt_cli.size import Dimensions
from tests.helpers.images import deep_png, deep_sample
from tests.helpers.networks import Counting, Nearest, repeated
from tests.helpers.process import RunRGT

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def doubling() -> Upscaler:
    """An upscaler whose outputs are known to the last bit."""
    return Upscaler(Nearest(2), device="cpu")


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float16", "float32", "float64"])
def test_arrays_come_back_as_arrays(doubling: Upscaler, channels: int | None, dtype: str) -> None:
    shape = (5, 6) if channels is None else (5, 6, channels)
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if array.dtype.kind == "f":
        array /= array.max()
    if channels in (2, 4):
        array[..., -1] = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    result = doubling.upscale(array)
    assert result.dtype == (np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="))
    np.testing.assert_allclose(result, repeated(array, 2), atol=1e-6)


def test_views_and_read_only_arrays_are_images(doubling: Upscaler, photo: np.ndarray) -> None:
    view = photo[40:20:-1, 30:10:-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(doubling.upscale(view), repeated(view, 2))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((4, 4), 1.5), "floating point values of 1.5 to 1.5 are not supported: divide them by"),
        (np.full((4, 4), -0.5), "floating point values of -0.5 to -0.5 are not supported: use 0 to 1"),
        (np.full((4, 4, 3), np.nan), "an image that contains NaN is not supported"),
        (np.full((4, 4), np.inf), "floating point values of inf"),
        (Image.fromarray(np.full((4, 4), 7, np.float32)), "floating point values of 7 to 7"),
        (np.zeros((3, 40, 30), np.uint8), r"shape \(3, 40, 30\) is not an image: move the channels"),
        (np.zeros((5, 5, 5), np.uint8), r"shape \(5, 5, 5\) is not an image: use \(H, W\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\) is not an image"),
        (np.zeros((0, 4, 3), np.uint8), "has no pixels"),
        (np.zeros((4, 4), np.int64), "int64 is not supported: use uint8, uint16 or floating point"),
        (np.zeros((4, 4), bool), "bool is not supported"),
        (None, "NoneType is not an image: use a path, a PIL image or a NumPy array"),
        (b"png", "bytes is not an image"),
        ("clip.mkv", "clip.mkv: no such file"),
        ([np.zeros((4, 4), np.uint8), 3], "image 1: int is not an image"),
    ],
)
def test_other_values_are_refused_by_name(doubling: Upscaler, image: Any, words: str) -> None:
    with pytest.raises((UsageError, NoInputError), match=words):
        doubling.upscale(image)


def test_memory_errors_are_ours(doubling: Upscaler) -> None:
    image = np.broadcast_to(np.uint8(0), (1 << 23, 1 << 23))  # its output would have 256 TB
    with pytest.raises(OutOfMemoryError, match="the image: does not fit in memory"):
        doubling.upscale(image)


def test_sizes_out_of_reach_are_refused(photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="x50000 is out of reach"):
        Upscaler(Nearest(2), width=1_000_000, device="cpu").upscale(photo[:20, :20])


def test_rounding_errors_outside_of_0_to_1_are_clipped(doubling: Upscaler) -> None:
    result = doubling.upscale(np.array([[-1e-4, 1 + 1e-4]]))
    np.testing.assert_array_equal(result[0], [0, 0, 1, 1])


def test_pil_images_and_paths_keep_their_metadata(
    doubling: Upscaler, photo: np.ndarray, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "in.jpg"
    image = Image.fromarray(photo[:20, :30])
    image.save(path, exif=exif, icc_profile=PROFILE, dpi=(300, 300), comment=b"a cat")
    with Image.open(path) as opened:
        for result in (doubling.upscale(path), doubling.upscale(str(path)), doubling.upscale(opened)):
            assert result.size == (40, 60)
            assert dict(result.getexif())[ExifTags.Base.Make] == "Camera"
            assert ExifTags.Base.Orientation not in result.getexif()
            assert result.info["icc_profile"] == PROFILE
            assert result.info["dpi"] == (300, 300)
            assert result.info["comment"] == b"a cat"
        upright = np.asarray(opened.transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(np.asarray(result), repeated(upright, 2))


def test_the_image_that_is_passed_does_not_change(doubling: Upscaler) -> None:
    image = Image.new("P", (4, 3), 7)
    image.info["icc_profile"] = PROFILE
    doubling.upscale(image)
    assert (image.mode, image.info["icc_profile"]) == ("P", PROFILE)


def test_files_of_several_images_and_folders_are_refused(doubling: Upscaler, tmp_path: Path) -> None:
    path = tmp_path / "in.gif"
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match="contains 2 images: use upscale_file"):
        doubling.upscale(path)
    with pytest.raises(UsageError, match="is a folder: use upscale_folder"):
        doubling.upscale(tmp_path)
    (tmp_path / "clip.mkv").touch()
    with pytest.raises(UsageError, match="is a video: use upscale_video"):
        doubling.upscale(tmp_path / "clip.mkv")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(InputError, match="is not an image of a known format"):
        doubling.upscale(tmp_path / "text.png")


def test_files_of_16_bits_lose_8_with_a_warning(
    doubling: Upscaler, tmp_path: Path, photo: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(deep_png(deep_sample(photo, "RGB")))
    assert doubling.upscale(path).mode == "RGB"
    assert "8 bits per channel, not 16: use upscale_file" in caplog.text
    caplog.clear()
    gray = deep_sample(photo, "L")
    path.write_bytes(deep_png(gray))
    np.testing.assert_array_equal(np.asarray(doubling.upscale(path)), repeated(gray, 2))
    assert not caplog.text


def test_lists_come_back_as_lists(doubling: Upscaler, photo: np.ndarray, small_png: Path) -> None:
    array = photo[:8, :9]
    mixed = [array, Image.fromarray(array), small_png, array[..., 0]]
    done: list[tuple[int, int]] = []
    results = doubling.upscale(mixed, lambda count, total: done.append((count, total)))
    assert [type(result) for result in results] == [np.ndarray, Image.Image, Image.Image, np.ndarray]
    np.testing.assert_array_equal(results[0], repeated(array, 2))
    np.testing.assert_array_equal(np.asarray(results[1]), repeated(array, 2))
    assert results[2].size == (80, 60)
    assert done[-1] == (4, 4)
    for several in (tuple(mixed[:2]), iter(mixed[:2])):
        assert len(doubling.upscale(several)) == 2
    assert doubling.upscale([]) == []


def test_images_of_one_size_are_computed_at_once(photo: np.ndarray) -> None:
    network = Counting()
    upscaler = Upscaler(network, device="cpu", batch_size=2)
    images = [photo[top : top + 8, :9] for top in range(5)]
    results = upscaler.upscale([*images, photo[:3, :3]])
    assert network.seen == [2, 2, 1, 1]
    for image, result in zip(images, results, strict=False):
        np.testing.assert_array_equal(result, repeated(image, 2))


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"scale": 2.5}, (50, 75, 3)),
        ({"scale": "8"}, (160, 240, 3)),
        ({"scale": 1}, (20, 30, 3)),
        ({"width": 45}, (30, 45, 3)),
        ({"fit": "90x1000"}, (60, 90, 3)),
        ({"fit": (90, 1000)}, (60, 90, 3)),
    ],
)
def test_any_size_is_reached(arguments: dict[str, Any], size: tuple[int, ...]) -> None:
    upscaler = Upscaler(Nearest(2), **arguments, device="cpu")
    assert upscaler.upscale(np.zeros((20, 30, 3), np.uint8)).shape == size


def test_alpha_is_shrunk_in_its_own_values_and_weights_the_colors(photo: np.ndarray) -> None:
    """Alpha is no light, so only colors are resized in linear light, each by what is seen of it."""
    alpha = np.linspace(1, 254, 40 * 60).reshape(40, 60).astype(np.uint8)
    image = np.dstack([photo[:40, :60], alpha])
    result = Upscaler(Nearest(4), 3, device="cpu").upscale(image)
    size = Dimensions(180, 120)
    np.testing.assert_array_equal(result[..., 3], lanczos(repeated(alpha, 4), size))
    expected = shrink(repeated(photo[:40, :60], 4), size, repeated(alpha, 4))
    np.testing.assert_array_equal(result[..., :3], expected)


def test_the_result_is_that_of_the_command(rgt: RunRGT, small_png: Path) -> None:
    finished = rgt("upscale", small_png, "-m", "tiny", "-s", "2.5", "--tile", 32, cwd=small_png.parent)
    assert finished.returncode == 0, finished.stderr
    result = Upscaler("tiny", "2.5", tile=32, memory="4G").upscale(small_png)
    with Image.open(small_png.with_name("in_x2.5.png")) as expected:
        np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def test_the_model_is_chosen_for_each_image(photo: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(photo[:16, :16])
    image.save(tmp_path / "strong.jpg", quality=60)
    upscaler = Upscaler(scale=2, device="cpu")
    assert upscaler.chooser
    with Image.open(tmp_path / "strong.jpg") as opened:
        upscaler.upscale([image, np.asarray(image), tmp_path / "strong.jpg", opened])
    chosen = {name: each.name for name, each in upscaler.chooser.upscalers.items()}
    assert chosen == {"auto": "rgt-tiny-x2", "auto-photo": "rgt-tiny-photo-x2"}
    assert upscaler.chooser.examples["auto-photo"].endswith("strong.jpg (JPEG of quality 60)")


def test_repr_names_model_size_device_and_precision() -> None:
    assert repr(Upscaler("tiny", 2.5, device="cpu", precision="bf16")) == (
        "Upscaler(model='rgt-tiny-x3', size='x2.5', device='cpu', precision='bf16')"
    )
    assert repr(Upscaler(width=90, device="cpu")) == (
        "Upscaler(model='auto', size='w90', device='cpu', precision='fp32')"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tile": 0}, "tile: 0 is too small"),
        ({"scale": 65}, "scale: 65 is not a factor"),
        ({"scale": 2, "fit": (3, 3)}, "scale and fit cannot be used together"),
        ({"device": "gpu"}, "'gpu' is not a device"),
        ({"model": "tinny"}, "did you mean tiny"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(rgt_cli.RGTError, match=words):
        Upscaler(**arguments)


def test_every_error_can_be_imported() -> None:
    named = {name for name, each in vars(errors).items() if isinstance(each, type) and name != "IntEnum"}
    assert named - {"ExitCode"} <= set(rgt_cli.__all__)
    assert set(dir(rgt_cli)) >= {"Upscaler", "upscale_file", "upscale_folder", "upscale_video"}
    for name in rgt_cli.__all__:
        assert getattr(rgt_cli, name)
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        _ = rgt_cli.upscale


def test_importing_the_package_does_not_import_torch() -> None:
    code = (
        "import sys, rgt_cli; assert not {'numpy', 'torch', 'click'} & set(sys.modules); "
        "rgt_cli.Upscaler, rgt_cli.upscale_folder; assert not {'torch', 'click'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
