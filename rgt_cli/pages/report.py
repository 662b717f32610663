"""The page of `rgt upscale --report`: the outcome of every file, with thumbnails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rgt_cli.files import write_text
from rgt_cli.pages.page import render
from rgt_cli.pages.thumbnails import Pair, shown_file


def write_report(page: Path, report: Mapping[str, Any], pairs: Mapping[int, Pair]) -> None:
    """Write a report as a page.

    Args:
        page: The file.
        report: What `--report` writes as JSON.
        pairs: The images of each of the `files`, by its index.

    Raises:
        OutputError: The file cannot be written.
    """
    rows = [_row(facts, pairs.get(at, Pair())) for at, facts in enumerate(report["files"])]
    rows += [_skipped_row(facts, page) for facts in report["skipped_files"]]
    text = render(
        title=_title(report, rows),
        subtitle=f"Report of {datetime.now():%Y-%m-%d %H:%M}",
        bodies=["report.html", "viewer.html"],
        scripts=["common.js", "viewer.js", "report.js"],
        data={"totals": _totals(report, rows), "rows": rows},
    )
    write_text(page, text)


def _title(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    planned = _count(rows, "planned")
    done = f"{planned} to upscale" if planned else f"{report['done']} upscaled"
    return done + (f", {report['failed']} failed" if report["failed"] else "")


def _totals(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int | str]]:
    """Return the run in figures, each with its title; those that are 0 are left out."""
    counts = {
        "Failed": report["failed"],
        "With warnings": _count(rows, "warned"),
        "Upscaled": report["done"],
        "To upscale": _count(rows, "planned"),
        "Skipped": report["skipped"],
        "Ignored": sum(report["ignored"].values()),
    }
    totals: list[tuple[str, int | str]] = [(title, count) for title, count in counts.items() if count]
    totals.append(("Duration", str(timedelta(seconds=round(report["seconds"])))))
    if report["done"]:
        totals.append(("Device busy", f"{report['device_busy']:.0%}"))
    return totals


def _count(rows: Sequence[Mapping[str, Any]], status: str) -> int:
    return sum(row["status"] == status for row in rows)


def _row(facts: Mapping[str, Any], pair: Pair) -> dict[str, Any]:
    """Return a row of the table for an outcome or a forecast."""
    notes = list(facts["warnings"])
    if error := facts.get("error"):
        notes.insert(0, error)
        status = "failed"
    elif "how" in facts:
        notes.insert(0, facts["how"])
        status = "planned"
    else:
        status = "warned" if notes else "done"
    prefixes = [f"{facts[name]}: " for name in ("source", "target")]
    return {
        "status": status,
        "source": facts["source"],
        "target": facts["target"],
        "sourceSize": facts["source_size"],
        "targetSize": facts["target_size"],
        "frames": facts["frames"],
        "seconds": facts["seconds"],
        "model": facts["model"],
        "worker": facts.get("worker"),
        "notes": [_without(note, prefixes) for note in notes],
        "before": pair.before._asdict(),
        "after": pair.after._asdict(),
    }


def _without(note: str, prefixes: Sequence[str]) -> str:
    """Return a note without the name of the file that it is about."""
    for prefix in prefixes:
        note = note.removeprefix(prefix)
    return note


def _skipped_row(facts: Mapping[str, Any], page: Path) -> dict[str, Any]:
    return {
        "status": "skipped",
        "source": facts["source"],
        "target": facts["target"],
        "sourceSize": None,
        "targetSize": None,
        "frames": 1,
        "seconds": None,
        "model": None,
        "worker": None,
        "notes": [facts["reason"]],
        "before": shown_file(Path(facts["source"]), page)._asdict(),
        "after": shown_file(Path(facts["target"]), page)._asdict(),
    }
