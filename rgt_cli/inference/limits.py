"""The processors and the memory that the system allows this process, by affinity and control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self")
GROUPS = Path("/sys/fs/cgroup")


def control_groups(controller: str, process: Path = PROCESS, groups: Path = GROUPS) -> Iterator[Path]:
    """Yield the folders of a process's control group and of its parents; nothing outside Linux.

    Args:
        controller: "memory" or "cpu"; version 1 of control groups has a tree of folders for each.
        process: The folder of the process under /proc.
        groups: Where the control groups are mounted.
    """
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = groups / controllers
        group = top / path.lstrip("/")
        # In a container the path may be that of the host, and the group itself mounted at the top.
        yield from (g for g in (group, *group.parents) if g.is_relative_to(top) and g.is_dir())


def memory_left(process: Path = PROCESS, groups: Path = GROUPS) -> float:
    """Return the bytes that the control groups of a process still allow; infinite without a limit."""
    left = math.inf
    for group in control_groups("memory", process, groups):
        limit = _read_number(group, "memory.max", "memory.limit_in_bytes")
        used = _read_number(group, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None:
            left = min(left, max(0, limit - used + _cached_files(group)))
    return left


def _cached_files(group: Path) -> int:
    """Return the bytes of the page cache, which count as used but are freed when memory is needed."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _read_number(group: Path, *names: str) -> int | None:
    """Return the number in the first of these files that exists; None if it sets no limit."""
    for name in names:
        try:
            text = (group / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None


def processors(process: Path = PROCESS, groups: Path = GROUPS) -> int:
    """Return how many processors a process may use, by its affinity and its control groups."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = float(count)
    for group in control_groups("cpu", process, groups):
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = (str(_read_number(group, name) or "max") for name in names)
        if quota.isdecimal() and period.isdecimal():
            allowed = min(allowed, int(quota) / int(period))
    return max(1, math.ceil(allowed))
