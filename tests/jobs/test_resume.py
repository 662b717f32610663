"""Which jobs are left to do, by the outputs that exist and by the option for them."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.files import atomic_write
from rgt_cli.jobs import Existing, Job, Journal, OutputOptions, find_sources, partition, plan_folder
from rgt_cli.jobs.resume import JobSelection, remove_remains
from rgt_cli.size import Size


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Jobs of which the output of a is newer, that of b older than its input, and that of c missing."""
    for name in ("in/a.png", "in/b.png", "in/c.png", "out/a_x4.png", "out/b_x4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.utime(tmp_path / "in/a.png", (1, 1))
    os.utime(tmp_path / "out/a_x4.png", (2, 2))
    os.utime(tmp_path / "in/b.png", (3, 3))
    os.utime(tmp_path / "out/b_x4.png", (2, 2))
    sources = find_sources([tmp_path / "in"]).sources
    return list(plan_folder(sources, tmp_path / "out", Size(scale=4), OutputOptions()))


@pytest.mark.parametrize("journaled", [False, True])
@pytest.mark.parametrize(
    ("existing", "expected"),
    [(Existing.SKIP, "c"), (Existing.UPDATE, "bc"), (Existing.OVERWRITE, "abc")],
)
def test_existing_outputs(jobs: list[Job], journaled: bool, existing: Existing, expected: str) -> None:
    with Journal(jobs[0].target.parent, {}) if journaled else nullcontext() as journal:
        pending, skipped = partition(jobs, journal, existing)
        assert "".join(job.source.stem for job in pending) == expected
        assert len(pending) + len(skipped) == 3
        with pytest.raises(UsageError, match="--skip-existing"):
            partition(jobs, journal, Existing.REFUSE)


def test_only_files_of_dead_processes_are_removed(jobs: list[Job]) -> None:
    out = jobs[0].target.parent
    (out / ".rgt-0123abcd.part").touch()
    with atomic_write(out / "other.png") as file:
        remove_remains(JobSelection(jobs))
        assert not (out / ".rgt-0123abcd.part").exists()
        assert Path(file.name).exists(), "it is being written"
