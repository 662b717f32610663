"""Ray clusters of several nodes within this machine, and runs on them."""

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from rgt_cli.jobs import Job
from rgt_cli.jobs.journal import JOURNAL
from rgt_cli.jobs.run import process
from rgt_cli.media import format_named
from tests.helpers.images import doubled
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.process import names_in
from tests.helpers.scripts import SCRIPTS
from tests.scripts.upscale_on_workers import WIDTH

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
"""A node that has room for one worker."""


@contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """Run a Ray cluster with a head without workers, and with nodes for one worker each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def node_with(cluster: Any, **variables: str) -> Iterator[Any]:
    """Run another node of a cluster, whose workers have these environment variables."""
    node = cluster.add_node(env_vars=variables, **NODE)
    try:
        yield node
    finally:
        cluster.remove_node(node)


@contextmanager
def node_without(cluster: Any, folder: Path) -> Iterator[None]:
    """Run another node of a cluster, which sees an empty folder in place of a folder. Needs root."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    options = [f"--address={cluster.address}", "--num-cpus=1", f"--object-store-memory={80 << 20}"]
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    before = len(alive_nodes(cluster))
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), *ray, *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while len(alive_nodes(cluster)) == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        psutil.wait_procs(children, timeout=30)


def alive_nodes(cluster: Any) -> list[Any]:
    """Return the identifiers of the nodes that are alive."""
    return list(cluster.global_state._live_node_ids())


Folder = Callable[..., Path]
"""Makes a folder of small images whose first pixels have these values."""


def make_folder(place: Path, *first_pixels: int) -> Path:
    """Return a new folder of small images, whose first pixels have these values and their number."""
    folder = place / "in"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number, value in enumerate(first_pixels):
        pixels = noise.integers(0, 200, (6, WIDTH, 3), np.uint8)
        pixels[0, 0] = value, number, 0
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


class Run:
    """A run of `upscale_on_workers.py` in its own process."""

    def __init__(self, folder: Path, cluster: Any, workers: int = 2, *options: object) -> None:
        self.folder, self.out = folder, folder.parent / "out"
        root = SCRIPTS.parents[1]
        script = SCRIPTS / "upscale_on_workers.py"
        arguments = (script, folder, self.out, cluster.address, workers, *options)
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)},
        )  # fmt: skip
        self.outcomes: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            facts = json.loads(line)
            if "warning" in facts:
                self.warnings.append(facts["warning"])
            else:
                self.outcomes.append(facts)

    def wait_for(self, count: int) -> None:
        """Wait until there are this many outcomes more."""
        before, deadline = len(self.outcomes), time.monotonic() + 300
        while len(self.outcomes) < before + count:
            assert self.process.poll() is None, self.warnings
            assert time.monotonic() < deadline, self.warnings
            time.sleep(0.02)

    def kill(self) -> set[str]:
        """Kill the process, and return the names of the inputs that it reported as done."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        return {outcome["name"] for outcome in self.outcomes}

    def end(self, exit_code: int = 0) -> Counter[str]:
        """Wait until the run ends, and return how often each input had an outcome without an error."""
        assert self.process.wait(timeout=300) == exit_code, self.warnings
        self._reader.join()
        return Counter(outcome["name"] for outcome in self.outcomes if not outcome["error"])

    @property
    def errors(self) -> list[str]:
        """The errors that were reported."""
        return [outcome["error"] for outcome in self.outcomes if outcome["error"]]

    def computed(self) -> Counter[str]:
        """Return how often each image was begun by a worker."""
        lines = (self.folder.parent / "log").read_text().splitlines()
        return Counter(f"{int(line.split()[0]):03}.png" for line in lines)

    @property
    def twice(self) -> int:
        """How many computations were done once more."""
        return sum(count - 1 for count in self.computed().values())


def workers_on_this_machine() -> list[psutil.Process]:
    """Return the processes of workers on the nodes of this process, not on those of other tests."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ray::Worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def kill_a_worker() -> None:
    """Kill one at random; wait for one, if all have just been killed."""
    deadline = time.monotonic() + 60
    while not (found := workers_on_this_machine()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    random.choice(found).send_signal(signal.SIGKILL)


def check_outputs(run: Run, failed: frozenset[str] = frozenset()) -> None:
    """Check that every output has the bytes that one process writes, and that nothing else was left."""
    names = names_in(run.folder) - failed
    expected = {name.replace(".png", "_x2.png") for name in names} | {JOURNAL}
    assert not names_in(run.out) ^ expected, names_in(run.out) ^ expected
    alone = run.folder.parent / "alone"
    alone.mkdir(exist_ok=True)
    for name in names:
        job = Job(run.folder / name, alone / name, format_named("png"))
        process(job, make_context(nearest_upscaler()))
        output = run.out / name.replace(".png", "_x2.png")
        np.testing.assert_array_equal(
            np.asarray(Image.open(output)), doubled(np.asarray(Image.open(job.source)))
        )
        assert output.read_bytes() == job.target.read_bytes()
