"""What interrupted runs have left: segments of videos, and unfinished files."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rgt_cli.errors import UsageError
from rgt_cli.files import cannot_write, exclusive, find_partials
from rgt_cli.jobs.video.segments import find_segment_folders


@dataclass(frozen=True, kw_only=True)
class Remains:
    """A file or a folder that an interrupted run has left."""

    path: Path
    size: int
    """Bytes."""
    target: Path | None = None
    """The video that a run would finish with it; None if that is unknown."""

    def remove(self) -> bool:
        """Remove it, and return whether it is gone: a run may have begun to use it again.

        Raises:
            OutputError: It cannot be removed.
        """
        try:
            if not self.path.is_dir():
                self.path.unlink(missing_ok=True)
                return True
            with exclusive(self.path):
                shutil.rmtree(self.path)
        except UsageError:
            return False
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return True


def find_remains(folder: Path) -> list[Remains]:
    """Return what interrupted runs have left in a folder and below it, without what a run still uses."""
    found = [
        Remains(path=segments.path, size=segments.size, target=segments.target)
        for segments in find_segment_folders(folder)
    ]
    for place, _, _ in os.walk(folder):
        found += [Remains(path=path, size=path.stat().st_size) for path in find_partials(Path(place))]
    inside = {remains.path for remains in found}
    return [remains for remains in found if remains.path.parent not in inside]
