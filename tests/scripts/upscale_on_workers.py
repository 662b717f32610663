"""Upscale the images of a folder on workers, with a stub network that can end or stop its process."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
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
from rgt_cli.jobs.workers.cluster import Workers
from rgt_cli.jobs.workers.devices import parse_devices
from rgt_cli.jobs.workers.worker import WorkerSpec
from rgt_cli.size import Size
from tests.helpers.networks import Nearest, nearest_upscaler

DEADLY, SLOW, SLOWISH = 201, 77, 78
"""Values of the first pixel of an image: it ends the process, takes a second, or takes a tenth of it."""


class Treacherous(Nearest):
    """A stub network that ends its process when it sees a certain pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = round(float(x[0, 0, 0, 0]) * 255)
        if first == DEADLY:
            os._exit(1)
        time.sleep({SLOW: 1.0, SLOWISH: 0.1}.get(first, 0.0))
        return super().forward(x)


@dataclass(frozen=True, kw_only=True)
class StubOptions(ModelOptions):
    """Options that load a stub network."""

    def load(self, scale: int | None, progress: Any = None, network: Any = None) -> NetworkUpscaler:
        return NetworkUpscaler(Treacherous(2), device="cpu")


def main(folder: Path, out: Path, device: str, address: str, workers: str, version: str) -> int:
    devices = parse_devices(device, address or None, int(workers) if workers else None)
    assert devices
    size, options = (
        Size(scale=2),
        JobOptions(output=OutputOptions(target=out), video=VideoOptions(segment_seconds=0.5)),
    )
    spec = WorkerSpec(model=StubOptions(model="tiny"), size=size, options=options, version=version)
    sources = find_sources((folder,), SourceFilter(recursive=True, output=out)).sources
    warnings: list[str] = []
    with Journal(out, {}) as journal, Workers.on(devices, spec) as runner:
        context = RunContext(
            options=options,
            upscaler=nearest_upscaler(),
            journal=journal,
            on_progress=lambda job, done, total: None,
            stop=threading.Event(),
            warn=warnings.append,
        )
        jobs = partition(plan_folder(sources, out, size, options.output), journal, Existing.REFUSE)
        started = time.monotonic()
        try:
            for outcome in runner.run_jobs(jobs.pending, context):
                facts = {
                    "name": outcome.job.source.name, "error": str(outcome.error or ""),
                    "worker": outcome.worker, "at": time.monotonic() - started,
                }  # fmt: skip
                print(json.dumps(facts), flush=True)
        except RGTError as error:
            print(json.dumps({"name": "", "error": str(error), "worker": "", "at": 0}))
        print(json.dumps(warnings))
    return 0


if __name__ == "__main__":
    source, target, *rest = sys.argv[1:]
    sys.exit(main(Path(source), Path(target), *rest))
