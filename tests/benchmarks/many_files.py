"""Measure the seconds and the memory of runs over many tiny images, with a stub network.

\b
    python tests/benchmarks/many_files.py --counts 2000,20000
    python tests/benchmarks/many_files.py --counts 20000,60000,200000 --folder /mnt/scratch
    python tests/benchmarks/many_files.py --counts 2000 --device cpu,cpu
    python tests/benchmarks/many_files.py --journal 1000000

Each count is a folder of images of 8x8 pixels, in subfolders of 1000. It is upscaled by `rgt upscale`
in its own process; then the same command is repeated, when all is done. A line reports for each of
the two runs: the seconds until the first job starts, with the part of them that the process computes;
the seconds of the whole run; the peak of the resident memory until the first job starts and of the whole
run; and how many bytes that is for each file that the count before, or a folder of one file, has less.
CPU times are those beyond a folder of one file. Files are flushed to the disk one by one, so the time of
the whole first run depends on the disk.

With `--device`, the workers compute with a bundled model, and only the memory of this process counts.
With `--journal`, a line reports how long it takes to read a journal of this many outputs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

ROOT = Path(__file__).parents[2]
A_FOLDER = 1000
"""Files in each subfolder."""


class Usage(NamedTuple):
    """What a process has used until now."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all threads."""
    peak: int
    """The most bytes of resident memory until now."""

    @classmethod
    def now(cls, started: float) -> Usage:
        """Return what this process has used since `started`, in seconds of the monotonic clock."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def make_images(folder: Path, count: int) -> None:
    """Create this many images; those of a subfolder share one place on the disk."""
    from PIL import Image

    image = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    for first in range(0, count, A_FOLDER):
        subfolder = folder / f"{first // A_FOLDER:04}"
        subfolder.mkdir(parents=True)
        names = [f"image_{number:07}.png" for number in range(first, min(first + A_FOLDER, count))]
        image.save(subfolder / names[0])
        for name in names[1:]:
            os.link(subfolder / names[0], subfolder / name)


def run_command(folder: Path, out: Path, device: str) -> None:
    """Upscale a folder, and print what was used until the first job and until the end, as JSON."""
    sys.path.insert(0, str(ROOT))
    import torch  # noqa: F401 - what it needs is no matter of the number of files

    from rgt_cli.cli import main, upscale
    from rgt_cli.jobs.models import ModelLoader
    from tests.helpers.networks import nearest_upscaler

    started, used = time.monotonic(), []
    run_round = upscale._Session._run_round

    def measured_round(self: Any, *arguments: Any) -> None:
        used.append(Usage.now(started))
        run_round(self, *arguments)

    upscale._Session._run_round = measured_round  # type: ignore[assignment,method-assign]
    arguments = ["-q", "upscale", str(folder), "-r", "-o", str(out), "-s", "2", "-m", "tiny"]
    if device:
        arguments += ["--device", device]
    else:
        ModelLoader.load = lambda self: (nearest_upscaler(self.size), None)  # type: ignore[method-assign]
    with suppress(SystemExit):
        main(arguments)
    click.echo(json.dumps([*used, Usage.now(started)]))


def measured_run(folder: Path, out: Path, device: str) -> tuple[Usage, Usage]:
    """Run the command in its own process; return its usage until the first job and in all."""
    command = [sys.executable, __file__, "--run", str(folder), str(out), device]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    planned, whole = json.loads(printed.splitlines()[-1])
    return Usage(*planned), Usage(*whole)


def measured(count: int, within: Path, device: str) -> Iterator[tuple[str, Usage, Usage]]:
    """Yield the usage of the first run over this many images, and of the next one."""
    with tempfile.TemporaryDirectory(dir=within) as scratch:
        folder, out = Path(scratch, "in"), Path(scratch, "out")
        make_images(folder, count)
        for name in ("first", "again"):
            yield name, *measured_run(folder, out, device)
        assert sum(len(files) for _, _, files in os.walk(out)) == count + 1, "with the journal"


def print_runs(counts: list[int], within: Path, device: str) -> None:
    """Print the table of runs."""
    base = {name: (planned, whole) for name, planned, whole in measured(1, within, device)}
    before, fewer = dict(base), 1
    click.echo(" files run    start, CPU (s)       all, CPU (s)   start, all (MB)   bytes a file")
    for count in counts:
        for name, *used in measured(count, within, device):
            planned, whole = used
            peaks = [now.peak - then.peak for now, then in zip(used, before[name], strict=True)]
            more, before[name] = [peak / (count - fewer) for peak in peaks], (planned, whole)
            click.echo(
                f"{count:6} {name:5} {planned.wall:8.1f} {planned.cpu - base[name][0].cpu:6.1f}   "
                f"{whole.wall:8.1f} {whole.cpu - base[name][1].cpu:8.1f}   "
                f"{planned.peak / 1e6:7.0f} {whole.peak / 1e6:7.0f}   {more[0]:7.0f} {more[1]:7.0f}"
            )
        fewer = count


def read_journal(folder: Path) -> None:
    """Read the journal of a folder, and print what was used, as JSON."""
    sys.path.insert(0, str(ROOT))
    from rgt_cli.jobs import History

    before, started = Usage.now(0), time.monotonic()
    with History.read(folder, {"scale": 4}):
        used = Usage.now(started)
    click.echo(json.dumps([used.wall, used.cpu - before.cpu, used.peak - before.peak]))


def print_journal(count: int, within: Path) -> None:
    """Print how long it takes to read a journal of this many outputs."""
    with tempfile.TemporaryDirectory(dir=within) as scratch:
        with Path(scratch, ".rgt-journal.jsonl").open("w") as file:
            file.write('{"settings": {"scale": 4}}\n')
            for number in range(count):
                name = f"{number // A_FOLDER:04}/image_{number:07}_x4.png"
                entry = {"target": name, "source": [250, 1764460000123456789 + number], "before": None}
                file.write(json.dumps(entry) + "\n")
                entry["after"] = [1250, 1764460001123456789 + number]
                file.write(json.dumps(entry) + "\n")
        command = [sys.executable, __file__, "--read", scratch]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        wall, cpu, memory = json.loads(printed)
        click.echo(
            f"a journal of {count} outputs: {wall:.1f} s, CPU {cpu:.1f} s, {memory / 1e6:.0f} MB, "
            f"{memory / count:.0f} bytes an output"
        )


@click.command(help=__doc__)
@click.option("--counts", default="2000,20000", show_default=True, help="Numbers of files.")
@click.option("--folder", type=click.Path(exists=True, path_type=Path), help="Where to put the files.")
@click.option("--device", default="", help="Devices of workers, such as cpu,cpu.")
@click.option("--journal", type=int, metavar="N", help="Measure a journal of N outputs instead.")
@click.option("--run", nargs=3, hidden=True)
@click.option("--read", type=Path, hidden=True)
def main(
    counts: str, folder: Path | None, device: str, journal: int | None, run: tuple[str, str, str] | None,
    read: Path | None,
) -> None:  # fmt: skip
    """Print a table of seconds and memory."""
    within = folder or Path(tempfile.gettempdir())
    if run:
        run_command(Path(run[0]), Path(run[1]), run[2])
    elif read:
        read_journal(read)
    elif journal:
        print_journal(journal, within)
    else:
        print_runs([int(count) for count in counts.split(",")], within, device)


if __name__ == "__main__":
    main()
