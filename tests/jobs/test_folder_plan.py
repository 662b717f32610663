"""The plan of many files: names that meet anywhere, jobs that are made late, and little memory."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from rgt_cli.errors import UsageError
from rgt_cli.jobs import (
    Existing,
    Job,
    Journal,
    OutputOptions,
    Source,
    SourceFilter,
    find_sources,
    partition,
    plan_folder,
    run_jobs,
)
from rgt_cli.jobs.folder_plan import FolderPlan
from rgt_cli.jobs.journal import JOURNAL
from rgt_cli.jobs.resume import JobSelection
from rgt_cli.jobs.source_list import Place
from rgt_cli.jobs.workers.queue import MAX_GROUP, WorkQueue
from rgt_cli.size import Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler

X2 = Size(scale=2)
EVERYTHING = SourceFilter(recursive=True)


def plan(*folders: Path, out: Path, form: str | None = None) -> FolderPlan:
    return plan_folder(find_sources(folders, EVERYTHING).sources, out, X2, OutputOptions(format=form))


def relative(jobs: Collection[Job], out: Path) -> list[str]:
    return [os.fspath(job.target.relative_to(out)) for job in jobs]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_names_that_meet_are_far_apart(tmp_path: Path) -> None:
    many = [f"{folder}/{number}.png" for folder in "abc" for number in range(20)]
    first = touch(tmp_path / "1", "a/x.png", *many)
    second = touch(tmp_path / "2", *(f"d/{name}" for name in many), "z/0.png", "A/x.png")
    names = relative(plan(first, second, out=tmp_path / "out"), tmp_path / "out")
    assert len({name.casefold() for name in names}) == len(names) == 2 * len(many) + 3
    assert [name for name in names if "x_png" in name] == ["a/x_png_x2.png", "A/x_png_2_x2.png"]


def test_a_name_that_is_changed_leaves_others_alone(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "a.png", "a_png.png", "b/a.png", "b/a_png.gif")
    names = relative(plan(folder, out=tmp_path / "out", form="png"), tmp_path / "out")
    assert names == ["a_jpg_x2.png", "a_png_2_x2.png", "a_png_x2.png", "b/a_x2.png", "b/a_png_x2.png"]


@pytest.mark.parametrize("kind", ["folder", "input", "pipe"])
def test_what_only_the_last_output_shows_is_refused_beforehand(tmp_path: Path, kind: str) -> None:
    folder, out = touch(tmp_path / "in", *(f"{n:02}.png" for n in range(30))), tmp_path / "out"
    out.mkdir()
    last = out / "29_x2.png"
    if kind == "folder":
        last.mkdir()
    elif kind == "pipe":
        os.mkfifo(last)
    else:
        last.symlink_to(folder / "29.png")
    with pytest.raises(UsageError, match="29_x2"):
        plan(folder, out=out)


@pytest.mark.parametrize("through_a_link", [False, True])
def test_outputs_of_other_inputs_have_no_job(tmp_path: Path, through_a_link: bool) -> None:
    folder = touch(tmp_path / "in", "a.png", "a.x2.png", "b.png")
    out = folder
    if through_a_link:
        out = tmp_path / "link"
        out.symlink_to(folder)
    sources = find_sources([folder]).sources
    jobs = plan_folder(sources, out, X2, OutputOptions(name="{stem}.{size}{ext}"))
    assert [job.source.name for job in jobs] == ["a.png", "b.png"]
    assert len(jobs) == 2


def test_some_jobs_of_a_plan(tmp_path: Path) -> None:
    names = [f"{i}.{suffix}" for i in range(4) for suffix in ("jpg", "png")]
    for form in (None, "png"):
        jobs = plan(touch(tmp_path / "in", *names), out=tmp_path / "out", form=form)
        every = list(jobs)
        assert list(jobs) == every
        wanted = [1, 2, 5]
        some = JobSelection(jobs, bytes(i in wanted for i in range(len(jobs))))
        assert list(some) == [every[i] for i in wanted]
        assert list(reversed(some)) == [every[i] for i in reversed(wanted)]
        assert len(some) == 3
        assert list(JobSelection(some, bytes([1, 0, 1]))) == [every[1], every[5]]


class Taken(Collection[Job]):
    """Jobs of which it is known how many were taken."""

    def __init__(self, jobs: Collection[Job]) -> None:
        self.jobs, self.count = jobs, 0

    def __len__(self) -> int:
        return len(self.jobs)

    def __contains__(self, job: object) -> bool:
        return job in self.jobs

    def __iter__(self) -> Iterator[Job]:
        for job in self.jobs:
            self.count += 1
            yield job


def test_the_first_job_starts_before_the_last_input_is_looked_at(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "000.png")
    for number in range(1, 3 * MAX_GROUP):
        os.link(folder / "000.png", folder / f"{number:03}.png")
    jobs = Taken(partition(plan(folder, out=out), None, Existing.REFUSE).pending)
    context = make_context(nearest_upscaler(), stop=threading.Event())
    outcome = next(islice(run_jobs(jobs, context), 1))
    assert outcome.error is None
    assert outcome.job.target == out / "000_x2.png"
    assert jobs.count < len(jobs) / 2
    jobs = Taken(jobs.jobs)
    queue = WorkQueue(jobs, context)
    assert queue.next("cpu", {"cpu"}, 0.0, is_idle=True)
    assert 0 < jobs.count <= MAX_GROUP
    queue.close()


def traced_bytes(make: Callable[[], object]) -> int:
    """Return the bytes of what a function makes."""
    tracemalloc.start()
    try:
        made = make()
        used, _ = tracemalloc.get_traced_memory()
        del made
    finally:
        tracemalloc.stop()
    return used


def test_a_file_takes_few_bytes(tmp_path: Path) -> None:
    count, places = 5000, [Place(f"{tmp_path}/in/{n}", str(n)) for n in range(50)]

    def make() -> FolderPlan:
        sources = (Source(places[n // 100], f"image_{n:05}.png") for n in range(count))
        return plan_folder(sources, tmp_path / "out", X2, OutputOptions())

    assert traced_bytes(make) < 60 * count
    jobs = make()
    folders = range(0, count, 100)
    assert partition(jobs, None, Existing.REFUSE).pending.folders == {
        f"{tmp_path}/out/{n // 100}" for n in folders
    }


def test_an_output_in_the_journal_takes_few_bytes(tmp_path: Path) -> None:
    count, stack = 5000, ExitStack()
    with Journal(tmp_path, {}):
        pass
    with (tmp_path / JOURNAL).open("a") as file:
        file.writelines(
            f'{{"target": "{n}.png", "source": [1, 2], "before": null, "after": [3, 4]}}\n'
            for n in range(count)
        )

    def read() -> Journal:
        journal = stack.enter_context(Journal(tmp_path, {}))
        assert not journal.wrote(tmp_path / "17.png"), "there is no such file"
        return journal

    with stack:
        assert traced_bytes(read) < 60 * count
