"""What the system lets this process have: processors and memory, by affinity and control groups."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self")
GROUPS = Path("/sys/fs/cgroup")


def control_groups(controller: str, process: Path = PROCESS, groups: Path = GROUPS) -> Iterator[Path]:
    """The folders of a process's control group and of those above it, where Linux has them.

    Args:
        controller: "memory" or "cpu"; version 1 has a tree of folders for each.
        process: the folder of the process under /proc.
        groups: where the control groups are mounted.
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
        # In a container the path may be the host's, and the group itself mounted at the top.
        yield from (g for g in (group, *group.parents) if g.is_relative_to(top) and g.is_dir())


def memory_left(process: Path = PROCESS, groups: Path = GROUPS) -> float:
    """Bytes that the control groups of a process still allow; infinite where nothing limits them."""
    left = math.inf
    for group in control_groups("memory", process, groups):
        limit = _number(group, "memory.max", "memory.limit_in_bytes")
        used = _number(group, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None:
            left = min(left, max(0, limit - used + _cached_files(group)))
    return left


def _cached_files(group: Path) -> int:
    """Bytes of the page cache, which count as used and are given up at need."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _number(group: Path, *names: str) -> int | None:
    """The number in the first of these files that is there; "max" and -1 say that there is no limit."""
    for name in names:
        try:
            text = (group / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None


def processors(process: Path = PROCESS, groups: Path = GROUPS) -> int:
    """How many processors this process may use, by its affinity and its control groups."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = float(count)
    for group in control_groups("cpu", process, groups):
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = (str(_number(group, name) or "max") for name in names)
        if quota.isdecimal() and period.isdecimal():
            allowed = min(allowed, int(quota) / int(period))
    return max(1, math.ceil(allowed))
