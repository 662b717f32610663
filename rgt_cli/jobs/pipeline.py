"""Threads that read items before they are needed, and write results while the next ones are computed."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

DEPTH = 2
"""Number of items that are read ahead, and number of calls that may wait in the background."""

Item = TypeVar("Item")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class _Ready(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


class Prefetcher(Iterable[Item]):
    """An iterable that runs a generator in a background thread, up to `DEPTH` items ahead.

    Use it as a context manager: leaving the block ends the thread and closes the generator. An exception
    of the generator is raised again at the position where it occurred.

    Args:
        items: The generator. It is advanced and closed in the background thread only.
    """

    def __init__(self, items: Generator[Item]) -> None:
        self._items = items
        self._queue: queue.Queue[_Ready[Item] | _End] = queue.Queue(DEPTH)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        end = _End()
        try:
            with closing(self._items):
                for item in self._items:
                    self._put(_Ready(item))
                    if self._closed.is_set():
                        return
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _put(self, entry: _Ready[Item] | _End) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(entry, timeout=0.2)
                return

    def __enter__(self) -> Prefetcher[Item]:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        while True:
            entry = self._queue.get()
            if isinstance(entry, _Ready):
                yield entry.item
            elif entry.error is None:
                return
            else:
                raise entry.error


class BackgroundWriter:
    """A background thread that runs calls one after the other, of which `DEPTH` may wait.

    Use it as a context manager: leaving the block waits for the running call and drops those that wait.
    Call `flush` before, so that nothing is lost.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._waiting: deque[Future[object]] = deque()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(
        self, call: Callable[Arguments, object], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> None:
        """Queue a call; wait while `DEPTH` others are queued.

        Raises:
            Exception: An earlier call raised it.
        """
        self._waiting.append(self._executor.submit(call, *args, **kwargs))
        while len(self._waiting) > DEPTH:
            self._waiting.popleft().result()

    def flush(self) -> None:
        """Wait until every call has returned.

        Raises:
            Exception: As `submit`.
        """
        while self._waiting:
            self._waiting.popleft().result()
