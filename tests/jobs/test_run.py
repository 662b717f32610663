"""Pictures of one size that follow one another share the device; everything else goes by itself."""

import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch

from rgt_cli.inference import MultiPassUpscaler, Upscaler
from rgt_cli.jobs import Job, Journal, Outcome, Recipe, run_jobs
from rgt_cli.media import format_named
from rgt_cli.size import Size
from tests.conftest import Counting

PNG = format_named("png")
SHAPES = {
    "a": (24, 32, 3), "b": (24, 32, 3), "c": (24, 32, 3), "d": (24, 32, 3), "e": (24, 32, 3),
    "f": (32, 24, 3), "g": (32, 24, 4), "h": None, "i": (32, 24), "j": (32, 24), "k": (32, 24, 3),
}  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, np.ndarray]:
    """Some of one size, some of another, with alpha, gray, and one that is broken."""
    random = np.random.default_rng(0)
    made = {}
    for name, shape in SHAPES.items():
        path = tmp_path / f"{name}.png"
        if shape is None:
            path.write_bytes(b"no picture")
        else:
            made[name] = random.integers(1, 256, shape, np.uint8)
            path.write_bytes(imagecodecs.png_encode(made[name]))
    return made


def run(folder: Path, network: Counting, batch: int, recipe: Recipe) -> list[Outcome]:
    def load(scale: int | None) -> Upscaler:
        return Upscaler(network, device="cpu", batch=batch)

    out = folder / "out"
    jobs = [Job(folder / f"{name}.png", out / f"{name}.png", PNG) for name in SHAPES]
    upscaler = MultiPassUpscaler(Size(scale=2), load, [2])
    with Journal(out, {}) as journal:
        return list(run_jobs(jobs, recipe, upscaler, journal, lambda *progress: None, threading.Event()))


def check(folder: Path, outcomes: list[Outcome], pictures: dict[str, np.ndarray]) -> None:
    assert [o.job.source.stem for o in outcomes] == list(SHAPES)
    assert [o.job.source.stem for o in outcomes if o.error] == ["h"]
    for outcome in outcomes:
        if not outcome.error:
            before = pictures[outcome.job.source.stem]
            after = imagecodecs.png_decode(outcome.job.target.read_bytes())
            np.testing.assert_array_equal(after, before.repeat(2, 0).repeat(2, 1))
            assert outcome.target_size == (after.shape[1], after.shape[0])


@pytest.mark.parametrize(
    ("batch", "seen"), [(1, [1] * 11), (4, [4, 1, 1, 1, 1, 2, 1]), (8, [5, 1, 1, 1, 2, 1])]
)
def test_alike_pictures_are_computed_at_once(
    tmp_path: Path, pictures: dict[str, np.ndarray], batch: int, seen: list[int]
) -> None:
    network = Counting()
    check(tmp_path, run(tmp_path, network, batch, Recipe()), pictures)
    assert network.seen == seen


def test_what_fails_in_company_is_tried_alone(tmp_path: Path, pictures: dict[str, np.ndarray]) -> None:
    """A network that cannot take one of them: the others are made, and that one is named."""
    spoilt = torch.from_numpy(pictures["c"].transpose(2, 0, 1).copy()).float() / 255

    class Delicate(Counting):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bad = any(p.shape == spoilt.shape and torch.equal(p, spoilt) for p in x)
            return super().forward(x) * (float("nan") if bad else 1)

    outcomes = run(tmp_path, Delicate(), 4, Recipe())
    assert [o.job.source.stem for o in outcomes if o.error] == ["c", "h"]
    assert "not finite" in str(outcomes[2].error)
    assert not (tmp_path / "out" / "c.png").exists()
    del pictures["c"]
    fine = [o for o in outcomes if o.job.source.stem in pictures]
    assert len(fine) == 9
    for outcome in fine:
        before = pictures[outcome.job.source.stem]
        after = imagecodecs.png_decode(outcome.job.target.read_bytes())
        np.testing.assert_array_equal(after, before.repeat(2, 0).repeat(2, 1))
