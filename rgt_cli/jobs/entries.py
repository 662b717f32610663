"""Find the entries of a journal by their outputs, without holding them."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rgt_cli.files import AppendLog, parsed_entry

if TYPE_CHECKING:  # `rgt --help` must not wait for numpy
    import numpy as np


class EntryIndex:
    """Where a journal has the last entry of each output: 16 bytes for each.

    An entry is read from the file when it is requested, which shows whether it is that of the output. So
    two outputs whose hashes are equal are never confused, but only the later one is found. A million
    outputs have such a pair once in 10^7 times.

    Args:
        path: The journal. It need not exist before the first entry is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._adding = threading.Lock()
        self._new_hashes, self._new_positions = array("q"), array("q")
        """The entries that were added since the last search, in order."""
        self._hashes: np.ndarray | None = None
        """In rising order, each once."""
        self._positions: np.ndarray | None = None

    def close(self) -> None:
        """Close the journal."""
        if self._file:
            self._file.close()

    def __len__(self) -> int:
        hashes, _ = self._merged()
        return len(hashes)

    def load(self) -> None:
        """Add the entries that the journal has.

        Raises:
            OSError: It cannot be read.
        """
        for position, line in AppendLog.lines(self._path):
            entry = parsed_entry(line)
            if entry and "target" in entry:
                self.add(entry["target"], position)

    def add(self, target: str, position: int) -> None:
        """Add the entry of an output at a position of the file. Threads may call this."""
        with self._adding:
            self._new_hashes.append(hash(target))
            self._new_positions.append(position)

    def find(self, target: str) -> dict[str, Any] | None:
        """Return the last entry of an output; None if there is none."""
        hashes, positions = self._merged()
        place = int(hashes.searchsorted(hash(target)))
        if place == len(hashes) or hashes[place] != hash(target):
            return None
        if self._file is None:
            self._file = self._path.open("rb")
        self._file.seek(int(positions[place]))
        entry = parsed_entry(self._file.readline())
        return entry if entry and entry.get("target") == target else None

    def _merged(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the hashes in rising order, and where the last entry of each is."""
        if self._hashes is None or self._positions is None or self._new_hashes:
            import numpy as np

            with self._adding:
                new = (np.array(self._new_hashes, np.int64), np.array(self._new_positions, np.int64))
                self._new_hashes, self._new_positions = array("q"), array("q")
            hashes, positions = new
            if self._hashes is not None and self._positions is not None:
                hashes = np.concatenate([self._hashes, hashes])
                positions = np.concatenate([self._positions, positions])
            order = hashes.argsort(kind="stable")
            hashes = hashes[order]
            is_last = np.append(hashes[1:] != hashes[:-1], np.ones(min(1, len(hashes)), bool))
            self._hashes, self._positions = hashes[is_last], positions[order][is_last]
        return self._hashes, self._positions
