"""Runs on several workers: real Ray, real processes, killed for real."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from rgt_cli.jobs import Job, JobOptions, VideoOptions
from rgt_cli.jobs.journal import JOURNAL
from rgt_cli.jobs.video.upscale import upscale_video
from rgt_cli.jobs.workers.worker import VERSION
from rgt_cli.media import format_named
from tests.helpers.images import doubled
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.process import names_in
from tests.helpers.scripts import SCRIPTS
from tests.helpers.videos import ffmpeg
from tests.scripts.upscale_on_workers import DEADLY, SLOW, SLOWISH

pytest.importorskip("ray", reason="Ray, of the extra `cluster`, is not installed")
KILLS = int(os.environ.get("RGT_TEST_KILLS", "3"))
"""How often a worker is killed."""
SLOW_IMAGES = 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a Ray cluster of two nodes with a processor each, besides the head."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()  # type: ignore[no-untyped-call]


Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a function that makes a folder of small images whose first pixels have these values."""

    def make(*first_pixels: int) -> Path:
        folder = tmp_path / "in"
        folder.mkdir()
        noise = np.random.default_rng(0)
        for number, value in enumerate(first_pixels):
            pixels = noise.integers(0, 200, (6, 9, 3), np.uint8)
            pixels[0, 0] = value
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return folder

    return make


class Run:
    """A run of `upscale_on_workers.py` in a process of its own."""

    def __init__(
        self, folder: Path, device: str = "auto", address: str = "", workers: int | str = "",
        version: str = VERSION,
    ) -> None:  # fmt: skip
        self.folder, self.out = folder, folder.parent / "out"
        root = SCRIPTS.parents[1]
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "upscale_on_workers.py"), str(folder), str(self.out),
             device, address, str(workers), version],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)},
        )  # fmt: skip
        self.outcomes: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            facts = json.loads(line)
            if isinstance(facts, list):
                self.warnings = facts
            else:
                self.outcomes.append(facts)

    def wait_for(self, count: int) -> None:
        """Wait until there are so many outcomes."""
        deadline = time.monotonic() + 300
        while len(self.outcomes) < count:
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> Counter[str]:
        """Wait until the run ends, and return how often each image had an outcome without an error."""
        assert self.process.wait(timeout=300) == 0
        self._reader.join()
        return Counter(outcome["name"] for outcome in self.outcomes if not outcome["error"])


def workers() -> list[psutil.Process]:
    """Return the processes of workers on the nodes of this process, not on those of other tests."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ray::Worker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def check_outputs(run: Run, failed: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Check every pixel of every output, and that nothing else was left."""
    names = names_in(run.folder) - failed
    assert names_in(run.out) == {name.replace(".png", "_x2.png") for name in names} | {JOURNAL}
    for name in names:
        source = np.asarray(Image.open(run.folder / name))
        result = np.asarray(Image.open(run.out / name.replace(".png", "_x2.png")))
        np.testing.assert_array_equal(result, doubled(source))


def test_workers_of_a_cluster_share_a_folder(cluster: Any, folder: Folder) -> None:
    run = Run(folder(*[SLOW] * 6, *range(20)), address=cluster.address, workers=2)
    assert set(run.end().values()) == {1}
    assert len({outcome["worker"] for outcome in run.outcomes}) == 2
    assert run.warnings == []
    check_outputs(run)


def test_workers_that_are_killed(cluster: Any, folder: Folder) -> None:
    """Their jobs are done by others, once, and their outputs are the same."""
    run = Run(folder(*[SLOW] * SLOW_IMAGES), address=cluster.address, workers=2)
    for number in range(KILLS):
        run.wait_for(2 * number + 1)
        time.sleep(random.random())
        if victims := workers():
            random.choice(victims).send_signal(signal.SIGKILL)
    done = run.end()
    assert set(done.values()) == {1}
    assert len(done) == SLOW_IMAGES
    assert sum("was lost" in warning for warning in run.warnings) >= 1
    check_outputs(run)


def test_a_job_that_kills_its_worker(cluster: Any, folder: Folder) -> None:
    """It is reported after three tries, and the others are done."""
    run = Run(folder(1, 2, DEADLY, 3, 4, 5), address=cluster.address, workers=2)
    assert set(run.end()) == {"000.png", "001.png", "003.png", "004.png", "005.png"}
    (failed,) = (outcome for outcome in run.outcomes if outcome["error"])
    assert failed["name"] == "002.png"
    assert "3 workers died" in failed["error"]
    check_outputs(run, {"002.png"})


def test_a_video_whose_workers_are_killed(cluster: Any, folder: Folder) -> None:
    """Its segments are computed by others, and joined as if nothing had happened."""
    source = folder()
    marked = f"drawbox=w=2:h=2:t=fill:color=0x{SLOWISH:02x}{SLOWISH:02x}{SLOWISH:02x}"
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size=32x24:rate=10:duration=6,format=gbrp,{marked}",
        "-c:v", "libx264rgb", "-qp", "0", "-g", "7", source / "clip.mp4",
    )  # fmt: skip
    run = Run(source, address=cluster.address, workers=2)
    for number in range(1, KILLS):
        pattern = f".rgt-*.segments/{2 * number:06}.mkv"
        while not list(run.folder.parent.glob(f"out/{pattern}")):
            assert run.process.poll() is None
            time.sleep(0.02)
        random.choice(workers()).send_signal(signal.SIGKILL)
    assert run.end() == Counter({"clip.mp4": 1})
    assert names_in(run.out) == {"clip_x2.mp4", JOURNAL}
    shared = (run.out / "clip_x2.mp4").read_bytes()
    job = Job(source / "clip.mp4", run.out / "alone.mp4", format_named("mp4"))
    options = JobOptions(video=VideoOptions(segment_seconds=0.5))
    alone = upscale_video(job, make_context(nearest_upscaler(), options))
    assert alone.frames == 60
    assert (run.out / "alone.mp4").read_bytes() == shared


def test_a_node_that_is_lost(cluster: Any, folder: Folder) -> None:
    node = cluster.add_node(num_cpus=1)
    run = Run(folder(*[SLOW] * SLOW_IMAGES), address=cluster.address, workers=3)
    run.wait_for(2)
    cluster.remove_node(node, allow_graceful=False)
    assert len(run.end()) == SLOW_IMAGES
    check_outputs(run)


def test_another_version_is_left_out(cluster: Any, folder: Folder) -> None:
    run = Run(folder(1), address=cluster.address, workers=2, version="0.0.1")
    assert run.end() == Counter()
    assert [outcome["error"] for outcome in run.outcomes] == ["no worker can take part in the run"]
    assert all("0.0.1" in warning for warning in run.warnings)
    assert len(run.warnings) == 2


def test_the_driver_is_killed(cluster: Any, folder: Folder) -> None:
    """The same command goes on, and its workers end."""
    source = folder(*[SLOW] * SLOW_IMAGES)
    first = Run(source, address=cluster.address, workers=2)
    first.wait_for(3)
    first.process.kill()
    first.process.wait()
    done = {outcome["name"] for outcome in first.outcomes}
    second = Run(source, address=cluster.address, workers=2)
    again = second.end()
    # The first run may have recorded an image that it did not come to report; all are checked below.
    assert len(names_in(source) - done - set(again)) <= 2
    assert set(again.values()) == {1}
    # Only what was in hand when the first run ended is done twice.
    assert len(done & set(again)) <= 2
    check_outputs(second)
