"""The threads that the network computes on, and how they wait for each other.

The threads of OpenMP spin between two operations, for milliseconds. That is fastest while each of them
has a processor of its own. If another process needs the processor too, the spinning thread delays the
thread that all others wait for, and an operation of microseconds takes milliseconds. libgomp, the OpenMP
of PyTorch on Linux, spins a thousand times less while the threads of all teams of a process outnumber
the processors. `SpinLimiter` makes them outnumber the processors, with threads that sleep, while
other processes are busy. Results do not change: the network computes on as many threads as before.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from rgt_cli.inference.limits import processors

_INTERVAL = 1.0
"""Seconds between two looks at the load of other processes."""
_BUSY, _IDLE = 0.3, 0.15
"""Spinning is limited once other processes use more than the first number of the processors that the
network computes on, and until they use less than the second."""
_PARALLEL_SIZE = 1 << 17
"""Elements of a tensor that PyTorch adds in parallel."""
_STATISTICS = Path("/proc/stat")


def use_threads(count: int | None = None) -> int:
    """Set the number of threads that PyTorch computes on, and limit their spinning from now on.

    Args:
        count: The number; None uses one per CPU core that this process may use, but no more threads than
            PyTorch chose itself, which depends on physical cores and OMP_NUM_THREADS.

    Returns:
        The number of threads.
    """
    threads = min(torch.get_num_threads(), processors()) if count is None else count
    torch.set_num_threads(threads)
    SpinLimiter.start()
    return threads


class LoadMeter:
    """Measures how many of the processors that this process may use are busy with other processes.

    Args:
        statistics: The times of the processors, as Linux reports them in /proc/stat.
    """

    def __init__(self, statistics: Path = _STATISTICS) -> None:
        self._statistics = statistics
        self._last = self._read()

    def load(self) -> float:
        """Return the processors that other processes used since the last call; 0 outside Linux."""
        (then, busy, own), self._last = self._last, self._read()
        now, busy_now, own_now = self._last
        return max(0.0, (busy_now - busy - (own_now - own)) / max(now - then, 1e-3))

    def _read(self) -> tuple[float, float, float]:
        """Return the time, and the seconds that the processors were busy and that this process used."""
        try:
            lines = self._statistics.read_text().splitlines()
        except OSError:
            return 0, 0, 0
        usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        rows = (line.split() for line in lines)
        # user, nice, system, idle, iowait, irq, softirq, steal
        ticks = sum(
            int(value)
            for name, *values in rows if name in usable
            for value in (*values[:3], *values[5:8])
        )  # fmt: skip
        return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()


class SpinLimiter:
    """Limits the spinning of libgomp while other processes are busy.

    Args:
        load: Returns how many processors other processes use.
    """

    _is_started = False

    def __init__(self, load: Callable[[], float]) -> None:
        self._load = load
        self._sleepers: list[threading.Thread] = []
        self._end = threading.Event()
        """Ends the sleepers."""
        self._exit = threading.Event()
        """Ends the thread of this limiter."""

    @classmethod
    def start(cls) -> None:
        """Start the limiter of this process, on Linux, unless it runs."""
        if not cls._is_started and _STATISTICS.exists():
            cls._is_started = True
            limiter = cls(LoadMeter().load)
            thread = threading.Thread(target=limiter._run, name="spin limiter", daemon=True)
            thread.start()
            atexit.register(limiter._join, thread)

    def _run(self) -> None:
        while not self._exit.wait(_INTERVAL):
            self.update()

    def _join(self, thread: threading.Thread) -> None:
        """End all threads: one that is inside PyTorch when Python ends would abort the process."""
        self._exit.set()
        thread.join()
        self._wake()

    @property
    def is_limiting(self) -> bool:
        """Whether spinning is limited now."""
        return bool(self._sleepers)

    def update(self) -> None:
        """Begin or stop limiting, depending on the load."""
        threads, usable = torch.get_num_threads(), len(os.sched_getaffinity(0))
        contended = self._load() - (usable - threads)
        if threads > 1 and contended > _BUSY and not self.is_limiting:
            self._limit(count=1 + (usable - threads) // (threads - 1))
        elif (threads == 1 or contended < _IDLE) and self.is_limiting:
            self._wake()

    def _limit(self, count: int) -> None:
        """Start teams of threads, so that they and those of the network outnumber the processors."""
        self._end = threading.Event()
        self._sleepers = [
            threading.Thread(target=self._sleep, args=(self._end,), name="sleeping team", daemon=True)
            for _ in range(count)
        ]
        for sleeper in self._sleepers:
            sleeper.start()

    def _wake(self) -> None:
        """End the sleepers."""
        self._end.set()
        for sleeper in self._sleepers:
            sleeper.join()
        self._sleepers = []

    @staticmethod
    def _sleep(end: threading.Event) -> None:
        """Keep the team of threads that libgomp creates for the first parallel operation of a thread."""
        torch.ones(_PARALLEL_SIZE).add_(1)
        end.wait()
