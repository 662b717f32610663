"""The images of a report: links to files, and thumbnails that are made during the run."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rgt_cli.errors import UsageError
from rgt_cli.media import Encoding, ImageFormat, ImageSequence, Picture, format_named, format_of
from rgt_cli.media import write_images as write
from rgt_cli.media.identify import identify
from rgt_cli.media.thumbnail import read_thumbnail, reduced
from rgt_cli.pages.page import files_folder, relative_url, remove_other_images

logger = logging.getLogger(__name__)

THUMBNAIL, COPY = 192, 2048
"""The longer side in pixels of a thumbnail, and of a copy of what browsers do not show."""
_SHOWN = ("png", "jpeg", "webp", "avif", "gif", "bmp")
"""The formats that browsers show."""
_ENCODING = Encoding(quality=85, background=(255, 255, 255))
_PATIENCE = 60.0
"""Seconds that the end of a run waits for thumbnails."""


class ShownImage(NamedTuple):
    """How a page shows an input or an output."""

    thumbnail: str | None = None
    """The address of a small version."""
    src: str | None = None
    """The address of the file itself, or of a copy that browsers show."""


class Pair(NamedTuple):
    """How a page shows an input and its output."""

    before: ShownImage = ShownImage()
    after: ShownImage = ShownImage()


class Thumbnails:
    """Makes the thumbnails of a report in the background. One that fails is left out.

    Args:
        page: The file of the report.
    """

    def __init__(self, page: Path) -> None:
        self._page, self._folder = page, files_folder(page)
        self._thread = ThreadPoolExecutor(1, "thumbnails")
        self._pairs: dict[int, Future[Pair]] = {}
        self._names: set[str] = set()

    def add(self, number: int, before: Path, after: Path | None, *, are_kept: bool) -> None:
        """Start to make the thumbnails of an input and its output.

        Args:
            number: The number of the input in the report.
            before: The input.
            after: The output; None if there is none.
            are_kept: Whether both files remain after the run, so that the page can show them.
        """

        def make() -> Pair:
            shown = [
                self._shown(f"{number:06}-{side}", path, are_kept) if path else ShownImage()
                for side, path in (("before", before), ("after", after))
            ]
            return Pair(*shown)

        self._pairs[number] = self._thread.submit(make)

    def pairs(self) -> dict[int, Pair]:
        """Return what is ready, by the number of the input; wait for the rest, but not for long."""
        deadline = time.monotonic() + _PATIENCE
        ready = {}
        for number, pair in self._pairs.items():
            with suppress(TimeoutError):
                ready[number] = pair.result(max(0, deadline - time.monotonic()))
        return ready

    def close(self) -> None:
        """Cancel the thumbnails that have not been started, and remove those of an earlier report."""
        self._thread.shutdown(cancel_futures=True)
        with suppress(OSError):
            remove_other_images(self._folder, self._names)

    def _shown(self, stem: str, path: Path, is_kept: bool) -> ShownImage:
        src = None
        try:
            if is_kept and path.is_file() and identify(path) in _SHOWN:
                src = relative_url(path, self._page)
            picture = read_thumbnail(path, THUMBNAIL if src else COPY)
            src = src or self._write(f"{stem}-large.jpg", picture)
            return ShownImage(self._write(f"{stem}.jpg", reduced(picture, THUMBNAIL)), src)
        except Exception as error:  # a thumbnail is no reason to end a run
            logger.info("%s: no thumbnail: %s", path, error)
            return ShownImage(src=src)

    def _write(self, name: str, picture: Picture) -> str:
        jpeg = format_named("jpeg")
        assert isinstance(jpeg, ImageFormat)
        self._folder.mkdir(exist_ok=True)
        self._names.add(name)
        write(ImageSequence([picture]), self._folder / name, jpeg, _ENCODING)
        return relative_url(self._folder / name, self._page)


def shown_file(path: Path, page: Path) -> ShownImage:
    """Return how a page shows a file that is not read, by its suffix."""
    try:
        is_shown = format_of(path).name in _SHOWN
    except UsageError:
        is_shown = False
    return ShownImage(src=relative_url(path, page) if is_shown else None)
