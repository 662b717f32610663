"""Images of one size that follow one another share the device; each job has its own outcome."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch

from rgt_cli.errors import DeviceError, OutputError, OutputNameError, UsageError
from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler
from rgt_cli.jobs import Job, Journal, Outcome, run_jobs
from rgt_cli.media import format_named
from rgt_cli.size import Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import Counting
from tests.helpers.process import names_in

PNG = format_named("png")
SHAPES: dict[str, tuple[int, ...] | None] = {
    "a": (24, 32, 3), "b": (24, 32, 3), "c": (24, 32, 3), "d": (24, 32, 3), "e": (24, 32, 3),
    "f": (32, 24, 3), "g": (32, 24, 4), "h": None, "i": (32, 24), "j": (32, 24), "k": (32, 24, 3),
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    """Images of one size, some of another, with alpha, gray, and one that is broken."""
    random = np.random.default_rng(0)
    made = {}
    for name, shape in SHAPES.items():
        path = tmp_path / f"{name}.png"
        if shape is None:
            path.write_bytes(b"not an image")
        else:
            made[name] = random.integers(1, 256, shape, np.uint8)
            path.write_bytes(imagecodecs.png_encode(made[name]))
    return made


def jobs_in(folder: Path, out: Path) -> list[Job]:
    return [Job(folder / f"{name}.png", out / f"{name}.png", PNG) for name in SHAPES]


def run(folder: Path, network: Counting, batch_size: int) -> list[Outcome]:
    def load(scale: int | None) -> NetworkUpscaler:
        return NetworkUpscaler(network, device="cpu", batch_size=batch_size)

    upscaler = MultiPassUpscaler(Size(scale=2), load, [2])
    with Journal(folder / "out", {}) as journal:
        return list(run_jobs(jobs_in(folder, folder / "out"), make_context(upscaler, journal=journal)))


def assert_upscaled(outcome: Outcome, before: np.ndarray) -> None:
    after = imagecodecs.png_decode(outcome.job.target.read_bytes())
    np.testing.assert_array_equal(after, before.repeat(2, 0).repeat(2, 1))
    assert outcome.target_size == (after.shape[1], after.shape[0])


@pytest.mark.parametrize(
    ("batch_size", "seen"), [(1, [1] * 11), (4, [4, 1, 1, 1, 1, 2, 1]), (8, [5, 1, 1, 1, 2, 1])]
)
def test_images_of_one_size_are_computed_at_once(
    tmp_path: Path, images: dict[str, np.ndarray], batch_size: int, seen: list[int]
) -> None:
    network = Counting()
    outcomes = run(tmp_path, network, batch_size)
    assert [outcome.job.source.stem for outcome in outcomes] == list(SHAPES), "in order"
    assert [outcome.job.source.stem for outcome in outcomes if outcome.error] == ["h"]
    for outcome in outcomes:
        if not outcome.error:
            assert_upscaled(outcome, images[outcome.job.source.stem])
    assert network.seen == seen


def test_an_image_that_fails_in_a_batch_is_tried_alone(
    tmp_path: Path, images: dict[str, np.ndarray]
) -> None:
    """The network fails for one image: the others are upscaled, and that one is named."""
    spoilt = torch.from_numpy(images["c"].transpose(2, 0, 1).copy()).float() / 255

    class Delicate(Counting):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bad = any(p.shape == spoilt.shape and torch.equal(p, spoilt) for p in x)
            return super().forward(x) * (float("nan") if bad else 1)

    outcomes = run(tmp_path, Delicate(), 4)
    assert [outcome.job.source.stem for outcome in outcomes if outcome.error] == ["c", "h"]
    assert "finite" in str(outcomes[2].error)
    assert not (tmp_path / "out" / "c.png").exists()
    fine = [outcome for outcome in outcomes if not outcome.error]
    assert len(fine) == 9
    for outcome in fine:
        assert_upscaled(outcome, images[outcome.job.source.stem])


def test_no_job_is_started_after_an_output_failed(tmp_path: Path, images: dict[str, np.ndarray]) -> None:
    network = Counting()
    upscaler = MultiPassUpscaler(
        Size(scale=2), lambda scale: NetworkUpscaler(network, device="cpu"), [2]
    )
    (tmp_path / "file").touch()
    jobs = [Job(tmp_path / f"{n}.png", tmp_path / "file" / f"{n}.png", PNG) for n in SHAPES]
    outcomes = list(run_jobs(jobs, make_context(upscaler)))
    assert isinstance(outcomes[0].error, OutputError)
    assert 1 <= len(outcomes) < len(jobs)
    assert {type(outcome.error) for outcome in outcomes} == {OutputError}


def test_a_name_that_the_disk_refuses_fails_one_job(
    tmp_path: Path, images: dict[str, np.ndarray]
) -> None:
    upscaler = MultiPassUpscaler(
        Size(scale=2), lambda scale: NetworkUpscaler(Counting(), device="cpu"), [2]
    )
    names = {"a": "a", "b": "b" * 300, "c": f"{'c' * 300}/c", "d": "d"}
    jobs = [
        Job(tmp_path / f"{n}.png", tmp_path / "out" / f"{name}.png", PNG) for n, name in names.items()
    ]
    outcomes = list(run_jobs(jobs, make_context(upscaler)))
    assert [type(outcome.error) for outcome in outcomes] == [
        type(None), OutputNameError, OutputNameError, type(None)
    ]  # fmt: skip
    assert names_in(tmp_path / "out") == {"a.png", "d.png"}


def test_a_stop_finishes_what_was_started(tmp_path: Path, images: dict[str, np.ndarray]) -> None:
    stop = threading.Event()
    upscaler = MultiPassUpscaler(
        Size(scale=2), lambda scale: NetworkUpscaler(Counting(), device="cpu"), [2]
    )
    outcomes = []
    for outcome in run_jobs(jobs_in(tmp_path, tmp_path / "out"), make_context(upscaler, stop=stop)):
        outcomes.append(outcome)
        stop.set()
    written = sorted(path.stem for path in (tmp_path / "out").iterdir())
    assert 1 <= len(written) < len(images)
    assert written == [outcome.job.source.stem for outcome in outcomes]


def test_an_encoder_that_refuses_an_image_does_not_stop_the_others(tmp_path: Path) -> None:
    """Unlike a full disk: x265 refuses images that are very thin."""
    heif = format_named("heif")
    jobs = []
    for name, width in (("a", 30), ("b", 3000), ("c", 40)):
        source = tmp_path / f"{name}.png"
        source.write_bytes(imagecodecs.png_encode(np.zeros((2, width, 3), np.uint8)))
        jobs.append(Job(source, tmp_path / "out" / f"{name}.heic", heif))
    upscaler = MultiPassUpscaler(
        Size(scale=2), lambda scale: NetworkUpscaler(Counting(), device="cpu"), [2]
    )
    with Journal(tmp_path / "out", {}) as journal:
        outcomes = list(run_jobs(jobs, make_context(upscaler, journal=journal)))
    assert [outcome.target_size for outcome in outcomes] == [(60, 4), None, (80, 4)]
    assert isinstance(outcomes[1].error, UsageError)
    assert "b.heic: the encoder refuses it" in str(outcomes[1].error)
    assert not (tmp_path / "out" / "b.heic").exists()


class Failing(Counting):
    """A stub network that raises an error for one image, and if that is lasting, for all after it."""

    def __init__(self, image: np.ndarray, error: Exception, *, is_lasting: bool) -> None:
        super().__init__()
        self.image = torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255
        self.error, self.is_lasting, self.has_failed = error, is_lasting, False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_hit = any(p.shape == self.image.shape and torch.equal(p, self.image) for p in x)
        self.has_failed |= is_hit
        if is_hit or (self.is_lasting and self.has_failed):
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_defect_fails_one_image(
    tmp_path: Path, images: dict[str, np.ndarray], batch_size: int
) -> None:
    network = Failing(images["c"], KeyError("surprise"), is_lasting=False)
    outcomes = run(tmp_path, network, batch_size)
    assert [outcome.job.source.stem for outcome in outcomes if outcome.error] == ["c", "h"]
    assert re.search(r"c\.png: unexpected KeyError in \w+\.py:\d+: 'surprise'", str(outcomes[2].error))
    for outcome in outcomes:
        if not outcome.error:
            assert_upscaled(outcome, images[outcome.job.source.stem])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_device_that_fails_ends_the_run(
    tmp_path: Path, images: dict[str, np.ndarray], batch_size: int
) -> None:
    """Nothing else could be computed; the next run has a new process, and goes on."""
    error = RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")
    outcomes = run(tmp_path, Failing(images["g"][..., :3], error, is_lasting=True), batch_size)
    names = [outcome.job.source.stem for outcome in outcomes]
    assert names == list(SHAPES)[: len(names)]
    failed = [outcome for outcome in outcomes if outcome.error]
    assert isinstance(failed[0].error, DeviceError)
    assert str(failed[0].error).endswith(
        "g.png: the device failed: CUDA error: unspecified launch failure"
    )
    assert names[-1] == "g"
    again = run(tmp_path, Counting(), batch_size)
    assert [outcome.job.source.stem for outcome in again if outcome.error] == ["h"]
