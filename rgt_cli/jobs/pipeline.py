"""Reading before, and writing after, what is computed now."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

AHEAD = 2
"""How many items are read before their turn, and how many wait to be written."""

Item = TypeVar("Item")


class Prefetcher(Iterable[Item]):
    """An iterator that is run in a thread of its own, a few items before they are asked for."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[bool, Any]] = queue.Queue(AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for item in self._items:
                self._put(True, item)
                if self._ended.is_set():
                    return
            self._put(False, None)
        except BaseException as error:
            self._put(False, error)
        finally:
            self._items.close()  # type: ignore[attr-defined]

    def _put(self, more: bool, item: Any) -> None:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._queue.put((more, item), timeout=0.2)
                return

    def __enter__(self) -> Prefetcher[Item]:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        while True:
            more, item = self._queue.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item


class BackgroundWriter:
    """Calls in a thread of their own, one after the other, a few of which may wait."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._waiting: list[Future[Any]] = []

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have a call done; what an earlier one raised is raised here."""
        self._waiting.append(self._executor.submit(call, *arguments))
        while len(self._waiting) > AHEAD:
            self._waiting.pop(0).result()

    def flush(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._waiting.pop(0).result()
