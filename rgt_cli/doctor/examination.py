"""Run all checks, and sum them up for a bug report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rgt_cli.doctor.check import Check, State
from rgt_cli.doctor.devices import check_golden_tiles, check_pytorch
from rgt_cli.doctor.files import check_ffmpeg, check_formats, check_models
from rgt_cli.doctor.services import HubRequest, check_ray
from rgt_cli.doctor.system import check_system
from rgt_cli.errors import RGTError, first_line


@dataclass
class Examination:
    """The checks so far."""

    groups: dict[str, list[Check]] = field(default_factory=dict)
    """Group -> its checks, in order."""
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Number of checks that failed."""
        return sum(check.state is State.FAIL for checks in self.groups.values() for check in checks)

    @property
    def report(self) -> str:
        """A line for each group, for a bug report: without names of people, paths and secrets."""
        return "\n".join(f"{group}: {text}" for group, text in self.summaries.items())

    @property
    def summaries(self) -> dict[str, str]:
        """Group -> the findings of its checks, in one line."""
        return {
            group: "; ".join(
                f"{check.name}{' FAIL' * (check.state is State.FAIL)} {check.public_text}"
                for check in checks
            )
            for group, checks in self.groups.items()
        }


def examine() -> Iterator[tuple[str, list[Check], Examination]]:
    """Run all checks.

    Yields:
        A group, its checks, and all checks so far. A check that fails unexpectedly counts as failed.
    """
    started = time.monotonic()
    request = HubRequest()  # the answer is collected when the other checks are done
    groups: dict[str, Callable[[], Iterator[Check]]] = {
        "system": check_system,
        "pytorch": check_pytorch,
        "golden tile": check_golden_tiles,
        "images": check_formats,
        "videos": check_ffmpeg,
        "models": check_models,
        "workers": check_ray,
        "hub": request.check,
    }
    examination = Examination()
    for group, run in groups.items():
        checks: list[Check] = []
        try:
            for check in run():
                checks.append(check)
        except Exception as error:
            is_known = isinstance(error, RGTError)
            text = str(error) if is_known else f"unexpected {type(error).__name__}: {first_line(error)}"
            checks.append(Check(name=group, text=text, state=State.FAIL))
        if not checks:
            continue
        examination.groups[group] = checks
        examination.seconds = time.monotonic() - started
        yield group, checks, examination
