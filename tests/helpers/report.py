"""What `rgt upscale` reports to programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_report(path: Path) -> dict[str, Any]:
    """Return the report that `--report` wrote."""
    report: dict[str, Any] = json.loads(path.read_text())
    assert report["schema"] == 1
    return report


def read_events(stdout: str) -> list[dict[str, Any]]:
    """Return the events that `--json` printed."""
    return [json.loads(line) for line in stdout.splitlines()]
