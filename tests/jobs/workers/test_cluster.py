"""Runs on several workers whose processes and nodes are lost: real Ray, killed for real."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from rgt_cli.jobs import Job, JobOptions, VideoOptions
from rgt_cli.jobs.journal import JOURNAL
from rgt_cli.jobs.video.upscale import upscale_video
from rgt_cli.media import format_named
from tests.helpers.clusters import (
    NODE,
    Run,
    check_outputs,
    kill_a_worker,
    make_folder,
    node_with,
    workers_on_this_machine,
)
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.process import names_in, wait_until
from tests.helpers.videos import ffmpeg
from tests.scripts.upscale_on_workers import DEADLY, FAULTY, HANGING, SLOW, SLOWISH

pytest.importorskip("ray", reason="Ray, of the extra `cluster`, is not installed")
KILLS = int(os.environ.get("RGT_TEST_KILLS", "2"))
"""How often a worker is killed."""
GIB = 1 << 30


def test_workers_share_a_folder(cluster: Any, tmp_path: Path) -> None:
    run = Run(make_folder(tmp_path, *[SLOW] * 4, *range(20)), cluster)
    assert set(run.end().values()) == {1}
    assert len({outcome["worker"] for outcome in run.outcomes}) == 2
    assert [warning for warning in run.warnings if not warning.startswith("waiting for ")] == []
    assert run.twice == 0
    check_outputs(run)


def test_workers_that_are_killed(cluster: Any, tmp_path: Path) -> None:
    """Their jobs are done by others, and their outputs are the same."""
    run = Run(make_folder(tmp_path, *[SLOW] * (8 * KILLS + 4)), cluster)
    run.wait_for(1)
    for _ in range(KILLS):
        time.sleep(random.random() / 2)
        kill_a_worker()
        run.wait_for(7)  # what was lost is done meanwhile: no job may be lost three times
    assert set(run.end().values()) == {1}
    # One that was just starting had no job, and is replaced without a word.
    lost = sum("was lost" in warning for warning in run.warnings)
    assert 1 <= lost <= KILLS
    print(json.dumps({"killed": KILLS, "with jobs": lost, "jobs run twice": run.twice}))
    assert run.twice <= 2 * lost
    check_outputs(run)


def test_workers_that_hang(cluster: Any, tmp_path: Path) -> None:
    """One does not end its first job, and one is stopped: both are replaced."""
    run = Run(make_folder(tmp_path, HANGING, *[SLOW] * 5), cluster, 2, "--patience", 4)
    wait_until(lambda: (tmp_path / "hung").is_file() and len(run.outcomes) > 1, run.process)
    hung = int((tmp_path / "hung").read_text())
    (other,) = (worker for worker in workers_on_this_machine() if worker.pid != hung)
    other.send_signal(signal.SIGSTOP)
    assert set(run.end().values()) == {1}
    assert sum("hangs" in warning for warning in run.warnings) == 2
    check_outputs(run)
    psutil.wait_procs([other], timeout=30)
    assert not other.is_running()
    assert not psutil.pid_exists(hung)


def test_jobs_that_cost_workers(cluster: Any, tmp_path: Path) -> None:
    """One ends each worker that does it, and is reported after three tries. One lets a GPU fail once.

    After that, the worker of the GPU can compute nothing. It is replaced, and no image fails for it.
    """
    run = Run(make_folder(tmp_path, 1, 2, DEADLY, 3, 4, 5, FAULTY), cluster)
    done = {"000.png", "001.png", "003.png", "004.png", "005.png", "006.png"}
    assert set(run.end()) == done
    (failed,) = (outcome for outcome in run.outcomes if outcome["error"])
    assert failed["name"] == "002.png"
    assert "3 workers died" in failed["error"]
    assert run.computed()["002.png"] == 3
    lost = [warning for warning in run.warnings if "was lost" in warning]
    failure = "the device failed: CUDA error: an illegal memory access was encountered"
    assert sum(warning.endswith(failure) for warning in lost) == 1
    for worker in ("cpu #1", "cpu #2"):  # it is tried on one after the other
        assert any(worker in warning and failure not in warning for warning in lost)
    check_outputs(run, frozenset({"002.png"}))


def test_a_worker_that_exhausts_the_memory(cluster: Any, tmp_path: Path) -> None:
    """Ray ends it before the machine suffers; that is a death like any other."""
    from ray._private import utils

    memory: Any = utils  # its functions have no types
    total, used = memory.get_system_memory(), memory.get_used_memory()
    if total - used < 6 * GIB:
        pytest.skip("less than 6 GiB of memory are free")
    limits = {
        "RAY_memory_usage_threshold": str((used + 2 * GIB) / total),
        "RAY_memory_monitor_refresh_ms": "250",
        "STUB_HUNGER": str(4 * GIB),
    }
    with node_with(cluster, **limits):
        run = Run(make_folder(tmp_path, *[SLOW] * 8), cluster, 3)
        assert set(run.end().values()) == {1}
    assert any("low on memory" in warning for warning in run.warnings), run.warnings
    check_outputs(run)


def test_a_video_whose_workers_are_killed(cluster: Any, tmp_path: Path) -> None:
    """Its segments are computed by others, and joined as if nothing had happened."""
    source = make_folder(tmp_path)
    marked = f"drawbox=w=2:h=2:t=fill:color=0x{SLOWISH:02x}{SLOWISH:02x}{SLOWISH:02x}"
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size=32x24:rate=10:duration=6,format=gbrp,{marked}",
        "-c:v", "libx264rgb", "-qp", "0", "-g", "7", source / "clip.mp4",
    )  # fmt: skip
    run = Run(source, cluster)
    for number in range(1, min(KILLS, 4) + 1):
        pattern = f".rgt-*.segments/{2 * number:06}.mkv"
        while not list(run.out.glob(pattern)):
            assert run.process.poll() is None
            time.sleep(0.02)
        kill_a_worker()
    assert run.end() == Counter({"clip.mp4": 1})
    assert sum("was lost" in warning for warning in run.warnings) >= 1
    assert names_in(run.out) == {"clip_x2.mp4", JOURNAL}
    shared = (run.out / "clip_x2.mp4").read_bytes()
    job = Job(source / "clip.mp4", run.out / "alone.mp4", format_named("mp4"))
    options = JobOptions(video=VideoOptions(segment_seconds=0.5))
    alone = upscale_video(job, make_context(nearest_upscaler(), options))
    assert alone.frames == 60
    assert (run.out / "alone.mp4").read_bytes() == shared


def test_a_node_that_is_lost(cluster: Any, tmp_path: Path) -> None:
    """Its jobs are done on the others, without any grace."""
    node = cluster.add_node(**NODE)
    run = Run(make_folder(tmp_path, *[SLOW] * 9), cluster, 3)
    run.wait_for(2)
    cluster.remove_node(node, allow_graceful=False)
    assert set(run.end().values()) == {1}
    assert sum("was lost" in warning for warning in run.warnings) == 1
    assert run.twice <= 2
    check_outputs(run)


def test_the_driver_is_killed(cluster: Any, tmp_path: Path) -> None:
    """The same command goes on, and nothing that was reported is done again."""
    source = make_folder(tmp_path, *[SLOW] * 10)
    first = Run(source, cluster)
    first.wait_for(3)
    before = workers_on_this_machine()
    done = first.kill()
    second = Run(source, cluster)
    again = second.end()
    assert set(again.values()) == {1}
    assert not done & set(again)
    # The first run may have recorded an image that it did not come to report; all are checked below.
    assert len(names_in(source) - done - set(again)) <= 2
    assert second.twice <= 4, "only what was in hand is computed twice"
    check_outputs(second)
    _, alive = psutil.wait_procs(before, timeout=30)
    assert not alive
