"""Reading ahead, and writing in the background."""

import threading
import time
from collections.abc import Generator

import pytest

from rgt_cli.jobs.pipeline import DEPTH, BackgroundWriter, Prefetcher


def wait_for(event: threading.Event) -> None:
    assert event.wait(10)


def test_prefetched_items_arrive_in_order_from_another_thread() -> None:
    threads = set[int]()

    def items() -> Generator[int]:
        for number in range(10):
            threads.add(threading.get_ident())
            yield number

    with Prefetcher(items()) as ahead:
        assert list(ahead) == list(range(10))
    assert threads
    assert threading.get_ident() not in threads


def test_only_a_few_items_are_read_ahead() -> None:
    produced: list[int] = []

    def items() -> Generator[int]:
        for number in range(100):
            produced.append(number)
            yield number

    with Prefetcher(items()) as ahead:
        assert next(iter(ahead)) == 0
        time.sleep(0.3)
        assert 1 + DEPTH <= len(produced) <= 2 + DEPTH


def test_an_exception_arrives_after_the_items_before_it() -> None:
    def items() -> Generator[int]:
        yield 1
        yield 2
        raise ValueError("third")

    received: list[int] = []
    with Prefetcher(items()) as ahead, pytest.raises(ValueError, match="third"):
        received.extend(ahead)
    assert received == [1, 2]


def test_leaving_early_closes_the_generator_in_its_thread() -> None:
    closed_in: list[int] = []

    def items() -> Generator[int]:
        try:
            while True:
                yield 0
        finally:
            closed_in.append(threading.get_ident())

    with Prefetcher(items()) as ahead:
        assert next(iter(ahead)) == 0
    assert len(closed_in) == 1
    assert closed_in[0] != threading.get_ident()


def test_calls_run_in_order_and_few_wait() -> None:
    release, done = threading.Event(), list[int]()

    def call(number: int) -> None:
        wait_for(release)
        done.append(number)

    with BackgroundWriter() as background:
        for number in range(DEPTH):
            background.submit(call, number)
        assert done == []
        blocked = threading.Thread(target=background.submit, args=(call, DEPTH))
        blocked.start()
        blocked.join(0.2)
        assert blocked.is_alive()
        release.set()
        blocked.join(10)
        background.flush()
    assert done == list(range(DEPTH + 1))


def test_a_failed_call_is_reported() -> None:
    def fail() -> None:
        raise ValueError("cannot write")

    with BackgroundWriter() as background:
        background.submit(fail)
        with pytest.raises(ValueError, match="cannot write"):
            background.flush()
    with BackgroundWriter() as background:
        for _ in range(DEPTH):
            background.submit(fail)
        with pytest.raises(ValueError, match="cannot write"):
            background.submit(fail)


def test_leaving_early_drops_the_calls_that_wait() -> None:
    started, release, done = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        started.set()
        wait_for(release)
        done.append("slow")

    with BackgroundWriter() as background:
        background.submit(slow)
        background.submit(done.append, "dropped")
        wait_for(started)
        threading.Timer(0.1, release.set).start()
    assert done == ["slow"]
