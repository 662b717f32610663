"""Images that do not fit in memory are streamed, with the same outputs as in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rgt_cli.errors import InputError
from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.jobs import ImageOptions, Job, JobOptions, OutputOptions, RunContext
from rgt_cli.jobs.streaming import needs_streaming, upscale_streaming
from rgt_cli.media import format_of
from rgt_cli.size import Size
from tests.helpers.images import decoded, doubled
from tests.helpers.jobs import make_context
from tests.helpers.networks import Nearest, nearest_upscaler
from tests.helpers.process import names_in

SCRIPT = Path(__file__).parents[1] / "scripts" / "stream_job.py"


def job_in(folder: Path, target: str = "out.png", source: str = "in.png") -> Job:
    return Job(folder / source, folder / target, format_of(folder / target))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
@pytest.mark.parametrize(
    ("name", "suffix", "compression"),
    [("in.tif", ".tif", "zlib"), ("in.tif", ".png", None), ("in.png", ".png", None)],
)
def test_more_than_fits(tmp_path: Path, name: str, suffix: str, compression: str | None) -> None:
    """The output has 130 MB, and 110 MB may be used in addition to the libraries."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    pixels = coarse.repeat(67, 0).repeat(67, 1)
    source, target = tmp_path / name, tmp_path / f"out{suffix}"
    if name == "in.tif":
        tifffile.imwrite(source, pixels, photometric="rgb", compression=compression)
    else:
        Image.fromarray(pixels).save(source, compress_level=1)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(source), str(target), "110"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 130
    with Image.open(target) as opened:
        for top in range(0, 5360, 670):
            strip = np.asarray(opened.crop((0, top, 8040, top + 670)))
            np.testing.assert_array_equal(strip, doubled(pixels[top // 2 : top // 2 + 335]))
    assert names_in(tmp_path) == {name, target.name}


def test_streamed_output_and_outcome(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "in.png")
    job = job_in(tmp_path)
    progress: list[tuple[int, int]] = []
    context = make_context(
        nearest_upscaler(), on_progress=lambda job, done, total: progress.append((done, total))
    )
    assert not needs_streaming(job, context)
    outcome = upscale_streaming(job, context)
    assert (outcome.source_size, outcome.target_size) == ((451, 300), (902, 600))
    assert progress[-1][0] == progress[-1][1]
    np.testing.assert_array_equal(decoded(job.target), doubled(photo))
    assert names_in(tmp_path) == {"in.png", "out.png"}


def test_tiles_of_a_real_network(tmp_path: Path, photo: np.ndarray) -> None:
    part = np.ascontiguousarray(photo[100:200, 150:280])
    Image.fromarray(part).save(tmp_path / "in.png")

    def load(scale: int | None) -> NetworkUpscaler:
        return NetworkUpscaler("tiny", scale, device="cpu", tile=48)

    upscaler = MultiPassUpscaler(Size(scale=2), load, [2])
    job = job_in(tmp_path)
    upscale_streaming(job, make_context(upscaler))
    np.testing.assert_array_equal(decoded(job.target), upscaler.upscale(part)[0])


def test_resolution_and_stripping(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0)})
    job = job_in(tmp_path)
    Image.fromarray(photo).save(job.source, exif=exif, dpi=(300, 300))

    def found(options: JobOptions) -> tuple[int | None, str | None, bool]:
        upscale_streaming(job, make_context(nearest_upscaler(), options))
        with Image.open(job.target) as opened:
            dpi = round(opened.info["dpi"][0]) if "dpi" in opened.info else None
            tags = opened.getexif()
            return dpi, tags.get(0x010F), bool(tags.get_ifd(0x8825))

    assert found(JobOptions()) == (300, "Maker", True)
    assert found(JobOptions(image=ImageOptions(dpi="scale"))) == (600, "Maker", True)
    assert found(JobOptions(output=OutputOptions(strip_gps=True))) == (300, "Maker", False)
    assert found(JobOptions(output=OutputOptions(strip=True))) == (None, None, False)


@pytest.mark.parametrize(
    "options",
    [JobOptions(output=OutputOptions(strip=True)), JobOptions(image=ImageOptions(bits=16))],
    ids=["strip", "bits"],
)
def test_options_that_need_the_whole_image(
    tmp_path: Path, photo: np.ndarray, options: JobOptions
) -> None:
    job = job_in(tmp_path)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo).save(job.source, icc_profile=profile)
    with pytest.raises(InputError, match=r"in\.png: does not fit in memory"):
        upscale_streaming(job, make_context(nearest_upscaler(), options))
    assert names_in(tmp_path) == {"in.png"}


def test_only_what_does_not_fit_is_streamed(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (1, 2, 3)).save(tmp_path / "in.png")

    def context(size: Size, memory: int | None = 1 << 20) -> RunContext:
        def load(scale: int | None) -> NetworkUpscaler:
            return NetworkUpscaler(Nearest(scale or 2), device="cpu", memory=memory)

        return make_context(MultiPassUpscaler(size, load, [2, 4]))

    starved = context(Size(scale=2))
    assert needs_streaming(job_in(tmp_path), starved)
    assert needs_streaming(job_in(tmp_path, "out.tif"), starved)
    assert not needs_streaming(job_in(tmp_path, "out.jpg"), starved)
    assert not needs_streaming(job_in(tmp_path), context(Size(scale=2), None))
    for size in (Size(scale=1.5), Size(scale=8), Size(width=100)):
        assert not needs_streaming(job_in(tmp_path), context(size))
