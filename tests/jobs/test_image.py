"""One image from file to file: sizes, bits, resolution, metadata, and early refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from rgt_cli.errors import InputError, OutOfMemoryError, RGTError, UsageError
from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.inference.memory import peak_memory
from rgt_cli.jobs import (
    ImageOptions,
    Job,
    JobOptions,
    Journal,
    Outcome,
    OutputOptions,
    image,
    process,
    streaming,
)  # fmt: skip
from rgt_cli.media import format_of
from rgt_cli.size import Size
from tests.helpers.images import animation, decoded, doubled, exiftool, sample, tiny_webp
from tests.helpers.jobs import make_context
from tests.helpers.networks import Nearest, nearest_upscaler
from tests.helpers.process import NEEDS_EXIFTOOL, names_in


def run(
    source: Path,
    target: Path,
    *,
    size: Size | None = None,
    max_pixels: int = 1 << 28,
    output: OutputOptions = OutputOptions(),  # noqa: B008
    **image: Any,
) -> Outcome:
    """Run one job with a stub network; keywords are fields of `ImageOptions`."""
    options = JobOptions(image=ImageOptions(**image), output=output, max_pixels=max_pixels)
    job = Job(source, target, format_of(target))
    return process(job, make_context(nearest_upscaler(size), options))


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".avif", ".gif", ".heic", ".jxl"]
)
def test_every_format(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(photo).save(tmp_path / "in.png")
    run(tmp_path / "in.png", source, size=Size(scale=1))
    outcome = run(source, target)
    assert (outcome.source_size, outcome.target_size, outcome.frames) == ((451, 300), (902, 600), 1)
    assert outcome.error is None
    assert outcome.warnings == ()
    with Image.open(target) as opened:
        difference = np.asarray(opened.convert("RGB")).astype(int) - doubled(photo)
    assert np.abs(difference).mean() < (8 if suffix == ".gif" else 3)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("alpha", ["network", "lanczos"])
def test_every_mode(
    tmp_path: Path, photo: np.ndarray, mode: str, alpha: Literal["network", "lanczos"]
) -> None:
    pixels = sample(photo, mode)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    job = Job(tmp_path / "in.png", tmp_path / "out.png", format_of(tmp_path / "out.png"))
    upscaler = nearest_upscaler(alpha_by_network=alpha == "network")
    process(job, make_context(upscaler, JobOptions(image=ImageOptions(alpha=alpha))))
    result, expected = decoded(job.target), doubled(pixels)
    assert result.shape == expected.shape
    if not mode.endswith("A"):
        np.testing.assert_array_equal(result, expected)
    elif alpha == "network":
        np.testing.assert_array_equal(result[..., -1], expected[..., -1])
    else:
        assert np.abs(result[..., -1].astype(int) - expected[..., -1]).mean() < 20


def test_bits(tmp_path: Path, photo: np.ndarray) -> None:
    eight, deep = tmp_path / "in.png", tmp_path / "deep.png"
    Image.fromarray(photo).save(eight)
    run(eight, deep, bits=16)
    np.testing.assert_array_equal(decoded(deep), doubled(photo).astype(np.uint16) * 257)
    run(deep, tmp_path / "out.png")
    assert decoded(tmp_path / "out.png").dtype == np.uint16
    run(deep, tmp_path / "out.png", bits=8)
    np.testing.assert_array_equal(decoded(tmp_path / "out.png"), doubled(doubled(photo)))
    outcome = run(deep, tmp_path / "out.jpg")
    assert any("8 bits" in warning for warning in outcome.warnings)


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
    target = small_png.with_name("out.png")
    assert run(small_png, target, size=size).target_size == expected
    result = decoded(target)
    assert result.shape[1::-1] == expected
    with Image.open(small_png) as opened:
        same = np.asarray(opened.resize(expected, Image.Resampling.NEAREST)).astype(float)
    assert np.abs(result - same).mean() < 12


def test_animation(tmp_path: Path, photo: np.ndarray) -> None:
    frames = [photo[:40, 10 * i : 10 * i + 60].copy() for i in range(3)]
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(
        tmp_path / "in.webp",
        save_all=True,
        append_images=images[1:],
        duration=[40, 80, 120],
        lossless=True,
    )
    progress: list[tuple[int, int]] = []
    target = tmp_path / "out.png"
    context = make_context(
        nearest_upscaler(), on_progress=lambda job, done, total: progress.append((done, total))
    )
    outcome = process(Job(tmp_path / "in.webp", target, format_of(target)), context)
    assert (outcome.frames, outcome.target_size) == (3, (120, 80))
    assert progress == [(0, 3), (1, 3), (2, 3), (3, 3)]
    with Image.open(target) as opened:
        for index, (frame, duration) in enumerate(zip(frames, [40, 80, 120], strict=True)):
            opened.seek(index)
            np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), doubled(frame))
            assert opened.info["duration"] == duration


@pytest.fixture
def full_jpeg(tmp_path: Path, photo: np.ndarray) -> Path:
    """Return a JPEG with a camera, a position, a resolution and a comment."""
    exif = Image.Exif()
    exif[0x010F], exif[0x011A], exif[0x011B], exif[0x0128] = "Maker", 300.0, 300.0, 2
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0)})
    path = tmp_path / "in.jpg"
    Image.fromarray(photo).save(path, exif=exif, dpi=(300, 300), comment="Chelsea")
    return path


@NEEDS_EXIFTOOL
@pytest.mark.parametrize(("dpi", "expected"), [("keep", 300), ("scale", 600), (72.0, 72)])
def test_resolution(full_jpeg: Path, dpi: str | float, expected: float) -> None:
    run(full_jpeg, full_jpeg.with_name("out.jpg"), dpi=dpi)
    after = exiftool(full_jpeg.with_name("out.jpg"))
    assert (after["JFIF:XResolution"], after["IFD0:XResolution"]) == (expected, expected)
    run(full_jpeg, full_jpeg.with_name("out.tif"), dpi=dpi)
    assert exiftool(full_jpeg.with_name("out.tif"))["IFD0:YResolution"] == expected


@NEEDS_EXIFTOOL
def test_metadata_options(full_jpeg: Path) -> None:
    target = full_jpeg.with_name("out.jpg")
    run(full_jpeg, target)
    retained = exiftool(target)
    assert (retained["IFD0:Make"], retained["GPS:GPSLatitudeRef"], retained["File:Comment"]) == (
        "Maker",
        "N",
        "Chelsea",
    )
    run(full_jpeg, target, output=OutputOptions(strip_gps=True))
    cleaned = exiftool(target)
    assert cleaned["IFD0:Make"] == "Maker"
    assert not [tag for tag in cleaned if "GPS" in tag]
    run(full_jpeg, target, output=OutputOptions(strip=True))
    assert not {"IFD0:Make", "File:Comment", "GPS:GPSLatitudeRef"} & exiftool(target).keys()


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any computation fail."""

    def compute(self: Nearest, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("computed although the output cannot be written")

    monkeypatch.setattr(Nearest, "forward", compute)


@pytest.mark.usefixtures("forbidden")
def test_refusals_come_before_the_computation(tmp_path: Path, photo: np.ndarray) -> None:
    images = [Image.fromarray(photo), Image.fromarray(photo[::-1].copy())]
    images[0].save(tmp_path / "in.gif", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "in.tif", save_all=True, append_images=images[1:])
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "clear.png")
    Image.new("RGB", (20_000, 2)).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("not an image")
    images[0].save(tmp_path / "in.png")
    refused: list[tuple[str, str, type[Exception], str, dict[str, Any]]] = [
        ("in.gif", "out.jpg", UsageError, "animation", {}),
        ("in.tif", "out.png", UsageError, "pages", {}),
        ("clear.png", "out.bmp", UsageError, "--background", {}),
        ("wide.png", "out.webp", UsageError, "40000", {}),
        ("in.png", "out.jpg", UsageError, "--lossless", {"lossless": True}),
        ("text.png", "out.png", InputError, "known format", {}),
        ("in.png", "out.png", InputError, "--max-pixels", {"max_pixels": 451 * 300 - 1}),
    ]
    for source, target, error, reason, options in refused:
        with pytest.raises(error, match=reason):
            run(tmp_path / source, tmp_path / target, **options)
        assert not (tmp_path / target).exists()


@pytest.mark.usefixtures("forbidden")
def test_animation_that_does_not_fit_in_memory(tmp_path: Path, photo: np.ndarray) -> None:
    images = [Image.fromarray(photo), Image.fromarray(photo[::-1].copy())]
    images[0].save(tmp_path / "in.gif", save_all=True, append_images=images[1:])

    def load(scale: int | None) -> NetworkUpscaler:
        return NetworkUpscaler(Nearest(2), device="cpu", memory=1 << 20)

    target = tmp_path / "out.gif"
    context = make_context(MultiPassUpscaler(Size(scale=2), load, [2]))
    with pytest.raises(OutOfMemoryError, match=r"in\.gif: 2 frames and their output"):
        process(Job(tmp_path / "in.gif", target, format_of(target)), context)


def test_memory_is_checked_by_the_header(tmp_path: Path) -> None:
    """Decoding this file would fill a gigabyte, and its output 16 of them."""
    source = tmp_path / "in.webp"
    source.write_bytes(tiny_webp(16_383, 16_383))

    def load(scale: int | None) -> NetworkUpscaler:
        return NetworkUpscaler(
            Nearest(scale or 4), device="cpu", memory=psutil.Process().memory_info().rss + 2**30
        )

    context = make_context(MultiPassUpscaler(Size(scale=4), load, [4]))
    before = peak_memory(torch.device("cpu"))
    for name, error, reason in (
        ("out.webp", UsageError, "webp supports at most 16383 pixels per side, not 65532"),
        ("out.bmp", OutOfMemoryError, r"in\.webp: 16383 x 16383 pixels and their output need 27"),
    ):
        job = Job(source, tmp_path / name, format_of(tmp_path / name))
        for act in (image.check, process):
            with pytest.raises(error, match=reason):
                act(job, context)
    job = Job(source, tmp_path / "out.png", format_of(tmp_path / "out.png"))
    for act in (streaming.check, process):
        with pytest.raises(OutOfMemoryError, match=r"in\.webp: 16383 x 16383 pixels need 5\.1 GB"):
            act(job, context)
    assert peak_memory(torch.device("cpu")) - before < 100e6
    assert names_in(tmp_path) == {"in.webp"}


def test_check_describes_what_it_accepts(small_png: Path) -> None:
    target = small_png.with_name("out.png")
    job = Job(small_png, target, format_of(target))
    for check in (image.check, streaming.check):
        assert str(check(job, make_context(nearest_upscaler()))) == "40 x 30, png"


def test_reading_and_computing_report_frames(tmp_path: Path) -> None:
    (tmp_path / "in.gif").write_bytes(animation("gif", 3))
    calls: list[tuple[str, int, int]] = []
    context = replace(
        make_context(
            nearest_upscaler(), on_progress=lambda job, done, total: calls.append(("part", done, total))
        ),
        on_read=lambda job, done, total: calls.append(("read", done, total)),
    )
    process(Job(tmp_path / "in.gif", tmp_path / "out.png", format_of(tmp_path / "out.png")), context)
    assert calls == [(kind, done, 3) for kind in ("read", "part") for done in range(4)]


def test_failed_job_leaves_the_old_output(small_png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Nearest, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    monkeypatch.setattr(Nearest, "forward", fail)
    target = small_png.with_name("out.png")
    target.write_text("precious")
    with pytest.raises(RGTError, match="ZeroDivisionError"):
        run(small_png, target)
    assert target.read_text() == "precious"
    assert {path.name for path in small_png.parent.iterdir()} == {"in.png", "out.png"}


def test_an_input_that_changes_while_it_is_computed_is_not_recorded_as_current(
    tmp_path: Path, photo: np.ndarray
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out" / "out.png"
    Image.fromarray(photo[:20, :30]).save(source)
    job = Job(source, target, format_of(target))
    with Journal(target.parent, {}) as journal:
        context = make_context(nearest_upscaler(), journal=journal)
        images = image.read(job, context)
        Image.fromarray(photo[20:60, :30]).save(source)
        image.write(job, image.compute(job, images, context), context)
        assert not journal.is_current(job), "its output shows another image"
        assert process(job, context).source_size == (30, 40)
        assert journal.is_current(job)


def test_an_input_that_is_moved_before_its_times_are_copied(tmp_path: Path, photo: np.ndarray) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out" / "out.png"
    Image.fromarray(photo[:20, :30]).save(source)
    job, warnings = Job(source, target, format_of(target)), list[str]()
    options = JobOptions(output=OutputOptions(keep_times=True))
    with Journal(target.parent, {}) as journal:
        context = make_context(nearest_upscaler(), options, journal=journal, warn=warnings.append)
        images = image.read(job, context)
        source.rename(tmp_path / "moved.png")
        image.write(job, image.compute(job, images, context), context)
        (tmp_path / "moved.png").rename(source)
        assert journal.is_current(job), "the output is complete"
    assert ["does not have the times of its input" in warning for warning in warnings] == [True]
