"""The limits of control groups, read from trees of files like those of the kernel."""

import math
import os
from pathlib import Path

import pytest

from rgt_cli.inference.limits import memory_left, processors

GIB = 1 << 30


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write files, by their paths below `root`, and return `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "left"),
    [
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a", {"a/memory.max": str(4 * GIB), "a/memory.current": str(3 * GIB)}, GIB),
        ("0::/a", {"a/memory.max": "max", "a/memory.current": str(3 * GIB)}, math.inf),
        # The page cache is freed when memory is needed.
        (
            "0::/a",
            {
                "a/memory.max": str(4 * GIB),
                "a/memory.current": str(3 * GIB),
                "a/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file 7",
            },
            2 * GIB,
        ),
        # The tightest limit of all parent groups counts.
        (
            "0::/a/b",
            {
                "a/memory.max": str(2 * GIB),
                "a/memory.current": str(GIB),
                "a/b/memory.max": str(8 * GIB),
                "a/b/memory.current": "0",
            },
            GIB,
        ),
        # In a container: the path is that of the host, and the group is mounted at the top.
        ("0::/host/c1", {"memory.max": str(GIB), "memory.current": "0"}, GIB),
        # Version 1 has a tree for each controller.
        (
            "4:memory:/x\n3:cpu,cpuacct:/",
            {"memory/x/memory.limit_in_bytes": str(GIB), "memory/x/memory.usage_in_bytes": "24"},
            GIB - 24,
        ),
        # More is used than allowed.
        ("0::/", {"memory.max": "5", "memory.current": "9"}, 0),
    ],
)
def test_memory_that_control_groups_leave(
    tmp_path: Path, cgroup: str, files: dict[str, str], left: float
) -> None:
    process = tree(tmp_path / "proc", {"cgroup": cgroup})
    groups = tree(tmp_path / "cgroup", files)
    assert memory_left(process, groups) == left


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert memory_left(tmp_path, tmp_path) == math.inf
    assert processors(tmp_path, tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("cgroup", "files", "allowed"),
    [
        ("0::/a", {"a/cpu.max": "100000 100000"}, 1),
        ("0::/a", {"a/cpu.max": "max 100000"}, math.inf),
        ("0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 1),
        (
            "3:cpu,cpuacct:/x",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "90000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            1,
        ),
        (
            "3:cpu,cpuacct:/x",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "-1", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            math.inf,
        ),
    ],
)
def test_processors_of_control_groups(
    tmp_path: Path, cgroup: str, files: dict[str, str], allowed: float
) -> None:
    process = tree(tmp_path / "proc", {"cgroup": cgroup})
    groups = tree(tmp_path / "cgroup", files)
    assert processors(process, groups) == min(allowed, len(os.sched_getaffinity(0)))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_processors(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors(tmp_path, tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)
