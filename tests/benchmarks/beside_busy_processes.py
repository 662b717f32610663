"""Time the bundled model beside busy processes, with each way in which its threads can wait.

\b
    python tests/benchmarks/beside_busy_processes.py --sides 16,64,256 --busy 0,1,2,4
    python tests/benchmarks/beside_busy_processes.py --video clip.mp4

`default` is what `rgt` does. `spin` leaves the threads to libgomp, which spins for milliseconds;
`passive` never spins; `one` computes on one thread. A line reports the median of the seconds for one
image, for each side of it in pixels, with as many other processes that never pause. Every measurement
runs in its own process, one after the other. With `--video`, a line reports the seconds of
`rgt upscale FILE -s 2`, whose encoder is a busy process too.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

POLICIES = ("default", "spin", "passive", "one")
WARM_UP = 3.0
"""Seconds of work before the measurement, in which the load of other processes is noticed."""
MEASURED = 4.0
"""Seconds of work that are measured."""


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run processes that never pause."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(policy: str, side: int) -> None:
    """Print the median of the seconds for one image, in its own process."""
    import numpy as np
    import torch

    from rgt_cli.inference import NetworkUpscaler, use_threads

    if policy == "default":
        use_threads()
    elif policy == "one":
        torch.set_num_threads(1)
    upscaler = NetworkUpscaler("tiny", device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    seconds: list[float] = []
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + WARM_UP + MEASURED or len(seconds) < 3:
        upscaler.upscale(image)
        if now > start + WARM_UP:
            seconds.append(time.perf_counter() - now)
    click.echo(statistics.median(seconds))


def measure_video(video: str, busy: list[int]) -> None:
    """Print the seconds of the whole command, for each policy that it can have."""
    command = [sys.executable, "-m", "rgt_cli", "-q", "upscale", video, "-s", "2", "-m", "tiny"]
    policies = {
        "default": ({}, ()),
        "passive": ({"OMP_WAIT_POLICY": "PASSIVE"}, ()),
        "one": ({}, ("--threads", "1")),
    }
    for count in busy:
        for policy, (environment, options) in policies.items():
            with tempfile.TemporaryDirectory() as folder, busy_processes(count):
                started = time.perf_counter()
                subprocess.run(
                    [*command, *options, "-o", f"{folder}/out.mkv"],
                    env=os.environ | environment,
                    check=True,
                )
                click.echo(f"{count:4} {policy:9}{time.perf_counter() - started:12.2f}")


@click.command()
@click.option("--sides", default="16,64,256", show_default=True, help="Sides of the images in pixels.")
@click.option("--busy", default="0,1,2,4", show_default=True, help="Numbers of busy processes.")
@click.option("--video", type=click.Path(exists=True), help="Upscale this video instead of images.")
@click.option("--measure", "case", type=(click.Choice(POLICIES), int), hidden=True)
def main(sides: str, busy: str, video: str | None, case: tuple[str, int] | None) -> None:
    """Print a table of seconds an image, or a video."""
    if case:
        measure(*case)
        return
    if video:
        measure_video(video, [int(count) for count in busy.split(",")])
        return
    click.echo("busy policy   " + "".join(f"{side:>9} px" for side in map(int, sides.split(","))))
    for count in map(int, busy.split(",")):
        for policy in POLICIES:
            environment = os.environ | ({"OMP_WAIT_POLICY": "PASSIVE"} if policy == "passive" else {})
            row = f"{count:4} {policy:9}"
            for side in sides.split(","):
                command = [sys.executable, __file__, "--measure", policy, side]
                with busy_processes(count):
                    result = subprocess.run(
                        command, env=environment, check=True, capture_output=True, text=True
                    )
                row += f"{float(result.stdout):12.4f}"
            click.echo(row)


if __name__ == "__main__":
    main()
