"""Files are whole or absent, and what a living process writes is never removed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.files import (
    AppendLog,
    FileStamp,
    atomic_path,
    atomic_write,
    exclusive,
    remove_partials,
    scratch_file,
)
from tests.helpers.process import names_in

SCRIPTS = Path(__file__).parent / "scripts"


def test_a_target_is_replaced_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with atomic_write(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    with atomic_path(target) as path:
        path.write_bytes(b"newer")
    assert target.read_bytes() == b"newer"
    assert names_in(tmp_path) == {"a"}


def test_a_failure_leaves_the_target(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as file:
        raise ZeroDivisionError(file.write(b"new"))
    assert target.read_bytes() == b"old"
    assert names_in(tmp_path) == {"a"}
    with pytest.raises(OutputError, match="missing"), atomic_write(tmp_path / "missing" / "a"):
        pass


@pytest.mark.parametrize("kind", ["atomic", "scratch"])
def test_only_files_of_dead_processes_are_removed(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, str(SCRIPTS / "hold_partial.py"), kind, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        partial = Path(process.stdout.readline().strip())
        remove_partials(tmp_path)
        assert partial.exists(), "its process is alive"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert partial.exists()
    remove_partials(tmp_path)
    assert names_in(tmp_path) == set()


def test_scratch_file(tmp_path: Path) -> None:
    with scratch_file(tmp_path, 5000) as path:
        assert path.stat().st_size == 5000
    assert names_in(tmp_path) == set()
    free = os.statvfs(tmp_path)
    with pytest.raises(OutputError, match="no room"):
        scratch_file(tmp_path, 2 * free.f_bavail * free.f_frsize).__enter__()
    assert names_in(tmp_path) == set()


def test_stamps(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert FileStamp.of(path) is None
    path.write_text("one")
    before = FileStamp.of(path)
    assert before
    assert FileStamp.from_json(list(before)) == before
    path.write_text("three")
    assert FileStamp.of(path) != before


def test_a_log_truncated_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AppendLog(path) as log:
        for number in range(3):
            log.append({"number": number})
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        with AppendLog(path) as log:
            assert log.entries == [{"number": number} for number in range(complete)]
            log.append({"more": True})
        with AppendLog(path) as log:
            assert log.entries[complete:] == [{"more": True}]
            log.replace([{"only": 1}])
            log.append({"and": 2})
        with AppendLog(path) as log:
            assert log.entries == [{"only": 1}, {"and": 2}]


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    with AppendLog(tmp_path / "log") as log:

        def append_many(writer: int) -> None:
            for number in range(20):
                log.append({"writer": writer, "number": number})

        threads = [threading.Thread(target=append_many, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with AppendLog(tmp_path / "log") as log:
        assert len(log.entries) == 80


def test_a_lock_refuses_a_second_process_and_ends_with_the_first(tmp_path: Path) -> None:
    resource = tmp_path / "out"
    command = [sys.executable, str(SCRIPTS / "hold_partial.py"), "lock", str(resource)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(UsageError, match="another"), exclusive(resource):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with exclusive(resource):
        pass
    assert names_in(tmp_path) == set(), "nothing is left beside it"


def _count_up(counter: Path, times: int) -> None:
    for _ in range(times):
        with exclusive(counter, wait=True):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_one_process_at_a_time_holds_a_lock_whose_file_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter, locks = tmp_path / "counter", tmp_path / "locks"
    counter.write_text("0")
    locks.mkdir()
    monkeypatch.setenv("TMPDIR", str(locks))
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_count_up, args=(counter, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "200"
    assert names_in(locks) == set()
