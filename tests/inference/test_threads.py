"""The number of threads, and the spinning of threads beside busy processes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rgt_cli.inference.threads import LoadMeter, SpinLimiter, use_threads

needs_linux = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="reads /proc/stat")


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sleeping_teams() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sleeping team"]


def test_threads_are_no_more_than_openmp_allows() -> None:
    """In a new process, because the number of threads is a setting of the whole process."""
    program = "from rgt_cli.inference import use_threads; print(use_threads(), use_threads(3))"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    )
    assert result.stdout.split() == ["1", "3"]


def test_threads_can_be_set() -> None:
    with threads(torch.get_num_threads()):
        assert use_threads(3) == torch.get_num_threads() == 3


@needs_linux
def test_spinning_is_limited_while_other_processes_are_busy() -> None:
    loads = {0.0: False, 0.5: True, 0.2: True, 0.1: False, 0.25: False}
    limiter = SpinLimiter(iter(loads).__next__)
    count = len(os.sched_getaffinity(0))
    with threads(max(2, count)):
        for is_limiting in loads.values():
            limiter.update()
            assert limiter.is_limiting == is_limiting
            teams = sleeping_teams()
            assert bool(teams) == is_limiting
            if is_limiting:  # all threads of libgomp, those of this thread included
                assert (1 + len(teams)) * (max(2, count) - 1) + 1 > count


@needs_linux
def test_spinning_is_not_limited_while_processors_are_left() -> None:
    limiter = SpinLimiter(lambda: 100.0)
    with threads(1):
        limiter.update()
    assert not limiter.is_limiting


@needs_linux
def test_a_process_ends_while_spinning_is_limited() -> None:
    """Four of them, since each was aborted in most cases, not always."""
    script = Path(__file__).parents[1] / "scripts" / "exit_while_limiting.py"
    ended = [subprocess.run([sys.executable, script], capture_output=True) for _ in range(4)]
    assert [process.returncode for process in ended] == [4] * 4, ended


@needs_linux
def test_the_load_is_that_of_other_processes() -> None:
    meter = LoadMeter()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1)
        assert meter.load() > 0.25
    finally:
        busy.kill()
        busy.wait()


def test_there_is_no_load_without_statistics(tmp_path: Path) -> None:
    assert LoadMeter(tmp_path / "stat").load() == 0


@needs_linux
def test_own_work_is_no_load(tmp_path: Path) -> None:
    """All ticks of an otherwise idle machine are those of this process."""
    statistics = tmp_path / "stat"
    cpu = min(os.sched_getaffinity(0))

    def write() -> None:
        ticks = round(time.process_time() * os.sysconf("SC_CLK_TCK"))
        statistics.write_text(f"cpu 0 0 0\ncpu{cpu} {ticks} 0 0 7 7 0 0 0 0 0\ncpu99999 7 7 7\nintr 5\n")

    write()
    meter = LoadMeter(statistics)
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    write()
    assert meter.load() < 0.1
