"""The report file lists every input, however many there are and however often it is written."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from rgt_cli.cli import summary
from rgt_cli.cli.summary import RunReport
from rgt_cli.errors import InputError
from rgt_cli.jobs import Existing, Job, Outcome, partition
from rgt_cli.media import format_named
from tests.helpers.report import read_report

PNG = format_named("png")


def jobs(folder: Path, first: int, last: int) -> list[Job]:
    return [Job(folder / f"{n}.png", folder / f"{n}_x2.png", PNG) for n in range(first, last)]


@pytest.mark.parametrize("memory", [100, 1 << 20])
def test_a_report_that_is_written_after_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(summary, "_SPOOL", memory)
    path, listed = tmp_path / "run.json", 0
    (tmp_path / "4_x2.png").touch()
    with closing(RunReport(path=path)) as report:
        for first in (0, 5, 10):
            found = partition(jobs(tmp_path, first, first + 5), None, Existing.SKIP)
            report.plan(found)
            for job in found.pending:
                error = InputError(f"{job.source}: is damaged") if job.source.stem == "7" else None
                report.add(Outcome(job=job, error=error))
            report.write()
            written = read_report(path)
            listed += len(found.pending)
            assert path.read_text() == json.dumps(written, indent=2) + "\n"
            assert (written["done"] + written["failed"], len(written["files"])) == (listed, listed)
        names = [Path(file["source"]).name for file in written["files"]]
    assert names == [f"{n}.png" for n in range(15) if n != 4]
    assert (written["failed"], written["skipped"]) == (1, 1)
    assert [Path(file["source"]).name for file in written["skipped_files"]] == ["4.png"]
    assert written["skipped_files"][0]["reason"] == "exists"
