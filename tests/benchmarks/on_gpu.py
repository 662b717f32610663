"""Check every claim about CUDA on one machine, and print a table of what was found.

\b
    pip install --editable ".[test]"
    pip install --no-deps spandrel einops    # for the comparison with the published code
    python tests/benchmarks/on_gpu.py --out results

It takes less than 9 minutes on an H100. Nothing is downloaded: weights are random, or bundled. Each
section runs in its own process with a time limit, and whatever fails, crashes or hangs, the others
follow. DIR receives `results.json`, `log.txt` with what the sections print, and traces of the profiler.

The exit code is 1 if a goal is missed or a step fails. `--device cpu --quick` tries the program itself:
it runs what needs no CUDA, in tiny sizes.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # this file is run as a program

from rgt_cli.cli.tables import print_table  # noqa: E402
from rgt_cli.errors import UsageError  # noqa: E402
from rgt_cli.inference.device import resolve_device  # noqa: E402
from tests.benchmarks.gpu.process import section_of  # noqa: E402
from tests.benchmarks.gpu.runner import (  # noqa: E402
    GoalResult,
    Options,
    StepResult,
    judge,
    run_section,
)

MACHINE = "tests.benchmarks.gpu.machine"
SECTIONS = {
    name: f"tests.benchmarks.gpu.{name}"
    for name in ("correctness", "speed", "memory", "command", "profile")
}
"""Name -> module of the section."""
MINUTES = 9.0


def names_of(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    """Parse the comma-separated names of sections."""
    names = value.split(",") if value else []
    for name in names:
        if name not in SECTIONS:
            raise click.BadParameter(f"{name!r} is not a section: use {', '.join(SECTIONS)}")
    return names


def run_all(modules: Sequence[str], options: Options) -> int:
    """Run sections, print the table, write the JSON, and return the exit code.

    Args:
        modules: The modules of the sections.
        options: How to run them.
    """
    options.log.unlink(missing_ok=True)
    started = time.monotonic()
    results: list[StepResult] = []
    goals: list[GoalResult] = []
    for module in modules:
        section, begun = section_of(module), time.monotonic()
        click.echo(f"{section.title} ...", err=True)
        found = run_section(module, options, seconds_left=60 * MINUTES - (begun - started))
        results += found
        goals += judge(module, found, options)
        click.echo(f"{section.title}: {time.monotonic() - begun:.0f} s", err=True)
    seconds = time.monotonic() - started
    facts = {
        "schema": 1,
        "device": options.device,
        "quick": options.quick,
        "seconds": seconds,
        "goals": [dataclasses.asdict(goal) for goal in goals],
        "steps": [dataclasses.asdict(result) for result in results],
    }
    (options.out / "results.json").write_text(json.dumps(facts, indent=2) + "\n")
    print_results(results)
    print_goals(goals)
    failed = [result for result in results if result.outcome == "failed"]
    missed = [goal for goal in goals if goal.state == "missed"]
    click.echo(
        f"{len(goals)} goals, {len(missed)} missed; {len(results)} steps, {len(failed)} failed; "
        f"{seconds / 60:.1f} minutes"
    )
    return 1 if failed or missed else 0


def print_results(results: Sequence[StepResult]) -> None:
    """Print what each step found, or why it found nothing."""
    rows = []
    for result in results:
        where = [result.section, result.step]
        for value in result.values:
            rows.append([*where, value["name"], shown(value["value"], value["unit"]), value["note"]])
        if result.outcome != "done":
            rows.append([*where, result.outcome, "", result.reason])
    print_table(["section", "step", "what", "value", "note"], rows)


def print_goals(goals: Sequence[GoalResult]) -> None:
    """Print each goal, with what was found."""
    rows = [
        [
            result.state,
            result.goal.text,
            result.goal.bound,
            "" if result.found is None else shown(result.found, result.goal.unit),
            result.note,
        ]
        for result in goals
    ]
    print_table(["goal", "what", "bound", "found", "note"], rows)


def shown(value: float | str, unit: str) -> str:
    """Return a value with its unit."""
    return f"{value if isinstance(value, str) else f'{value:.4g}'} {unit}".rstrip()


@click.command(help=__doc__)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder for the results. Default: a temporary one, which is deleted.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Use tiny sizes, which show no speed.")
@click.option("--device", default="cuda", show_default=True, help="Device, as PyTorch names it.")
@click.option("--only", callback=names_of, metavar="LIST", help="Run only these sections.")
@click.option("--skip", callback=names_of, metavar="LIST", help="Leave out these sections.")
def main(out: Path | None, quick: bool, device: str, only: list[str], skip: list[str]) -> None:
    try:
        resolve_device(device)
    except UsageError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
    chosen = [name for name in only or SECTIONS if name not in skip]
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        options = Options(device=device, quick=quick, out=folder.resolve())
        sys.exit(run_all([MACHINE, *(SECTIONS[name] for name in chosen)], options))


if __name__ == "__main__":
    main()
