"""Upscale the images of a folder on workers, with a stub network that can end or stop its process."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rgt_cli.errors import RGTError
from rgt_cli.inference import NetworkUpscaler
from rgt_cli.jobs import (
    Existing,
    JobOptions,
    Journal,
    ModelOptions,
    OutputOptions,
    RunContext,
    SourceFilter,
    VideoOptions,
    find_sources,
    partition,
    plan_folder,
)
from rgt_cli.jobs.workers import cluster
from rgt_cli.jobs.workers.cluster import Workers
from rgt_cli.jobs.workers.devices import parse_devices
from rgt_cli.jobs.workers.worker import WorkerSpec
from rgt_cli.size import Size
from tests.helpers.networks import Nearest, nearest_upscaler

DEADLY, FAULTY, SLOW, SLOWISH, HANGING = 201, 202, 77, 78, 79
"""Values of the first pixel of an image: it ends the process; lets the device fail the first time; takes
half a second or a tenth of it; or does not end the first time."""
WIDTH = 9
"""The width of the images whose computations are logged."""


class Treacherous(Nearest):
    """A stub network that ends or stops its process when it sees a certain pixel.

    Args:
        scratch: A folder with the file `log`, which receives a line for each image: its number, which
            its first pixel contains, and the process.
    """

    def __init__(self, scratch: Path) -> None:
        super().__init__(2)
        self.scratch = scratch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, number, *_ = (round(float(value) * 255) for value in x[0, :, 0, 0])
        if x.shape[-1] == WIDTH:
            with (self.scratch / "log").open("a") as log:
                log.write(f"{number} {os.getpid()}\n")
            hoard = torch.ones(int(os.environ.get("STUB_HUNGER", "0")) // 4)
            time.sleep(len(hoard) and 30)
        error = float(os.environ.get("STUB_ERROR", "0"))
        if first == DEADLY or (x.shape[-1] == WIDTH and os.environ.get("STUB_DEADLY")):
            os._exit(1)
        self._fail_as_a_gpu(first)
        hung = self.scratch / "hung"
        if first == HANGING and not hung.exists():
            hung.write_text(str(os.getpid()))
            time.sleep(3600)
        time.sleep({SLOW: 0.5, SLOWISH: 0.1}.get(first, 0.0))
        return super().forward(x) + error

    def _fail_as_a_gpu(self, first: int) -> None:
        """Raise what PyTorch raises, once a kernel has failed, until the process ends."""
        failed = self.scratch / "failed"
        if first == FAULTY and not failed.exists():
            failed.write_text(str(os.getpid()))
        if failed.exists() and failed.read_text() == str(os.getpid()):
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")


@dataclass(frozen=True, kw_only=True)
class StubOptions(ModelOptions):
    """Options that load a stub network."""

    scratch: Path = Path()

    def load(self, scale: int | None, progress: Any = None, network: Any = None) -> NetworkUpscaler:
        return NetworkUpscaler(Treacherous(self.scratch), device="cpu", batch_size=1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("address")
    parser.add_argument("workers", type=int)
    parser.add_argument("--patience", type=float)
    parser.add_argument("--deaths", type=int, default=cluster.MOST_DEATHS)
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.patience:
        cluster.PATIENCE = cluster.LEAST_PATIENCE = cluster.FIRST_PATIENCE = given.patience
    cluster.MOST_DEATHS = given.deaths
    devices = parse_devices("auto", given.address, given.workers)
    assert devices
    size = Size(scale=2)
    options = JobOptions(output=OutputOptions(target=given.out), video=VideoOptions(segment_seconds=0.5))
    model = StubOptions(model="tiny", scratch=given.folder.parent)
    spec = WorkerSpec(model=model, size=size, options=options)
    sources = find_sources((given.folder,), SourceFilter(recursive=True, output=given.out)).sources

    def warn(message: str) -> None:
        print(json.dumps({"warning": message}), flush=True)

    with Journal(given.out, {}) as journal, closing(Workers(devices, spec)) as runner:
        context = RunContext(
            options=options,
            upscaler=nearest_upscaler(),
            journal=journal,
            on_progress=lambda job, done, total: None,
            stop=threading.Event(),
            warn=warn,
        )
        jobs = partition(plan_folder(sources, given.out, size, options.output), journal, Existing.REFUSE)
        try:
            for outcome in runner.run_jobs(jobs.pending, context):
                facts = {
                    "name": outcome.job.source.name, "error": str(outcome.error or ""),
                    "worker": outcome.worker,
                }  # fmt: skip
                print(json.dumps(facts), flush=True)
        except RGTError as error:
            print(json.dumps({"name": "", "error": str(error), "worker": ""}))
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
