"""Files that are no pictures, or not whole, and targets that cannot be written."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rgt_cli.errors import InputError, OutputError, RGTError
from rgt_cli.media import (
    FORMATS,
    Encoding,
    Format,
    ImageSequence,
    Picture,
    format_named,
    read_images,
    write_images,
)

FORMAT = pytest.mark.parametrize("file_format", FORMATS, ids=lambda f: f.name)


@FORMAT
def test_cut_short(tmp_path: Path, photo: np.ndarray, file_format: Format) -> None:
    """Half a file is never taken for a whole one."""
    whole, cut = (tmp_path / f"{name}{file_format.suffixes[0]}" for name in ("whole", "cut"))
    write_images(ImageSequence([Picture(photo)]), whole, file_format, Encoding())
    assert read_images(whole).first.pixels.shape == photo.shape
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match="cut"):
        read_images(cut)
    cut.write_bytes(b"")
    with pytest.raises(InputError, match="cut"):
        read_images(cut)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """One small file of each format."""
    folder = tmp_path_factory.mktemp("samples")
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    made = []
    for file_format in FORMATS:
        path = folder / f"a{file_format.suffixes[0]}"
        write_images(ImageSequence([Picture(noise)]), path, file_format, Encoding())
        made.append(path.read_bytes())
    frames = [Image.fromarray(noise), Image.fromarray(noise[::-1].copy())]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
        made.append((folder / name).read_bytes())
    deep = ImageSequence([Picture(noise.astype(np.uint16) * 257)])
    for name in ("png", "tiff"):
        write_images(deep, folder / f"deep.{name}", format_named(name), Encoding())
        made.append((folder / f"deep.{name}").read_bytes())
    return made


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, 100), seed=st.integers(0, 2**32), edits=st.integers(1, 12))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, samples: list[bytes], which: int, seed: int, edits: int
) -> None:
    chance = random.Random(seed)
    data = bytearray(samples[which % len(samples)])
    for _ in range(edits):
        at = (
            chance.randrange(len(data))
            if chance.random() < 0.5
            else chance.randrange(min(200, len(data)))
        )
        data[at : at + chance.choice((0, 1, 1, 1, 4))] = chance.randbytes(chance.choice((1, 1, 1, 4)))
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data)
    try:
        images = read_images(path, max_pixels=1_000_000)
    except RGTError as refused:
        if not str(refused).startswith(str(path)):
            raise
        return
    for picture in images.frames:
        assert picture.pixels.dtype in (np.uint8, np.uint16)
        assert picture.size[0] * picture.size[1] <= 1_000_000


def test_a_gif_whose_second_frame_is_a_bomb(tmp_path: Path) -> None:
    """Pillow lets the screen of a GIF grow with its frames, after its size was looked at."""
    path = tmp_path / "a.gif"
    first, second = (Image.new("RGB", (31, 24), color) for color in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second], duration=50)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\x2c\0\0\0\0\x1f\0\x18\0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(InputError, match="65535 pixels; if that is what it should be"):
        read_images(path)


def test_a_failed_write_leaves_the_old_target(tmp_path: Path, photo: np.ndarray) -> None:
    target = tmp_path / "out.webp"
    target.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.webp"):
        write_images(
            ImageSequence([Picture(photo.repeat(40, 1))]), target, format_named("webp"), Encoding()
        )
    assert target.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["out.webp"]
