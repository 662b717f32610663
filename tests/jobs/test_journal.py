"""The journal at every moment at which a process can die."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.jobs import History, Job, Journal
from rgt_cli.jobs.journal import JOURNAL
from rgt_cli.media import format_named


@pytest.fixture
def job(tmp_path: Path) -> Job:
    source = tmp_path / "a.png"
    source.write_text("input")
    return Job(source, tmp_path / "out" / "a_x4.png", format_named("png"))


def test_an_output_is_current_once_it_is_in_place(job: Job) -> None:
    out = job.target.parent
    with Journal(out, {"scale": 4}) as journal:
        assert not journal.resumed
        assert not journal.is_current(job)
        journal.begin(job)
    with Journal(out, {"scale": 4}) as journal:
        assert journal.resumed
        assert not journal.is_current(job), "died before the output was in place"
        journal.begin(job)
        job.target.write_text("output")
    with Journal(out, {"scale": 4}) as journal:
        assert journal.is_current(job), "died between the output and its line"
        journal.begin(job)
        journal.done(job)
    with Journal(out, {"scale": 4}) as journal:
        assert journal.is_current(job)
        job.target.write_text("somebody else's")
        assert not journal.is_current(job)
    assert json.loads((out / JOURNAL).read_text().splitlines()[0]) == {"settings": {"scale": 4}}


def test_died_before_an_old_output_was_replaced(job: Job) -> None:
    job.target.parent.mkdir()
    job.target.write_text("old")
    with Journal(job.target.parent, {}) as journal:
        journal.begin(job)
    with Journal(job.target.parent, {}) as journal:
        assert not journal.is_current(job)


def test_an_input_that_changed(job: Job) -> None:
    with Journal(job.target.parent, {}) as journal:
        journal.begin(job)
        job.target.write_text("output")
        journal.done(job)
        job.source.write_text("another input")
        assert not journal.is_current(job)
        assert journal.wrote(job.target), "so it may be replaced"


def test_power_loss_in_the_middle_of_a_line(job: Job) -> None:
    out = job.target.parent
    with Journal(out, {"scale": 4}) as journal:
        journal.begin(job)
        job.target.write_text("output")
        journal.done(job)
    path = out / JOURNAL
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with Journal(out, {"scale": 4}) as journal:
            assert journal.is_current(job) == (whole[:length].count(b"\n") >= 2)
            journal.begin(job)
        for line in path.read_bytes().splitlines():
            json.loads(line)


def test_a_line_that_is_damaged_hides_no_other(job: Job) -> None:
    out = job.target.parent
    with Journal(out, {}) as journal:
        journal.begin(job)
        job.target.write_text("output")
        journal.done(job)
    path = out / JOURNAL
    settings, begun, done = path.read_bytes().splitlines(keepends=True)
    for lines, is_current in [
        ([settings, begun, b"\0" * 40 + b"\n", b'["no entry"]\n', done], True),
        ([settings, done, b'{"target": "another.png", "source": null, "before": null}\n'], True),
        ([settings, done, begun], True),
        ([settings, begun.replace(b"a_x4", b"b_x4"), done.replace(b"a_x4", b"c_x4")], False),
    ]:
        path.write_bytes(b"".join(lines))
        with Journal(out, {}) as journal:
            assert journal.is_current(job) == is_current
        with History.read(out, {}) as history:
            assert history.is_current(job) == is_current


def test_reading_changes_nothing(job: Job) -> None:
    out = job.target.parent
    with History.read(out, {}) as history:
        assert not history.is_current(job)
    assert not out.exists()
    with Journal(out, {}) as journal:
        journal.begin(job)
        job.target.write_text("output")
        journal.done(job)
    cut = (out / JOURNAL).read_bytes()[:-5]
    (out / JOURNAL).write_bytes(cut)
    with History.read(out, {"new": 1}) as history:
        assert history.is_current(job), "its first line is whole"
        assert not history.wrote(job.target)
    assert (out / JOURNAL).read_bytes() == cut
    with History.read(out, {}, fresh=True) as history:
        assert not history.is_current(job)


def test_a_journal_that_cannot_be_read_is_named(job: Job) -> None:
    (job.target.parent / JOURNAL).mkdir(parents=True)
    with (
        pytest.raises(OutputError, match=f"{JOURNAL}: cannot be read: Is a directory"),
        History.read(job.target.parent, {}),
    ):
        pass


def test_names_that_are_not_unicode(job: Job) -> None:
    odd = [os.fsdecode(b"caf\xe9.png"), "new\nline.png", '"\\".png', "..png", "a..b/c.png", "日本.png"]
    jobs = [replace(job, target=job.target.parent / name) for name in odd]
    for _ in range(2):
        with Journal(job.target.parent, {}) as journal:
            for one in jobs:
                assert journal.is_current(one) == one.target.exists()
            for one in jobs:
                one.target.parent.mkdir(exist_ok=True)
                journal.begin(one)
                one.target.write_text(repr(one))
                journal.done(one)
                assert journal.is_current(one)


def test_other_settings_are_refused(job: Job) -> None:
    out = job.target.parent
    with Journal(out, {"scale": 4, "tile": "auto"}):
        pass
    with pytest.raises(UsageError, match="--scale was 4, now 2"):
        Journal(out, {"scale": 2, "tile": "auto"})
    with Journal(out, {"scale": 2}, fresh=True) as journal:
        assert not journal.resumed


def test_settings_of_one_run_alone_are_added(job: Job) -> None:
    out = job.target.parent
    with Journal(out, {"scale": 4}) as journal:
        journal.begin(job)
        job.target.write_text("output")
        journal.done(job)
    with Journal(out, {"scale": 4, "video.args": ("-g", "48")}) as journal:
        assert journal.is_current(job)
    with Journal(out, {"scale": 4, "video.args": ("-g", "48")}) as journal:
        assert journal.is_current(job)
    with pytest.raises(UsageError, match="--args was -g 48, now not given"):
        Journal(out, {"scale": 4, "video.args": ()})


def test_one_run_at_a_time(job: Job) -> None:
    out = job.target.parent
    with Journal(out, {}), pytest.raises(UsageError, match="another"):
        Journal(out, {})
    with Journal(out, {}):
        pass


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError):
            Journal(folder, {})
