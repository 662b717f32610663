"""Run steps of a section in this process: `python -m tests.benchmarks.gpu.process --help`.

Every event is appended to a file at once, so that what was found is there whatever happens next.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import click

from tests.benchmarks.gpu.steps import NotRun, Run, Section, Step


def section_of(module: str) -> Section:
    """Return the section that a module defines."""
    section = importlib.import_module(module).SECTION
    assert isinstance(section, Section)
    return section


def run_step(step: Step, run: Run) -> None:
    """Run a step and report how it ended."""
    started = time.monotonic()
    run.report({"event": "start", "time": time.time()})
    outcome, reason = "done", ""
    try:
        if step.cuda_only and not run.is_cuda:
            raise NotRun("needs CUDA")
        step.measure(run)
    except NotRun as missing:
        outcome, reason = "not run", str(missing)
    except Exception as error:
        traceback.print_exc()
        outcome, reason = "failed", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    run.report({"event": "end", "outcome": outcome, "reason": reason, "seconds": seconds})


@click.command(help=__doc__)
@click.option("--module", required=True, help="Module of the section.")
@click.option("--steps", required=True, help="Names of steps, with commas between.")
@click.option("--device", required=True, help="Device, as PyTorch names it.")
@click.option("--quick", is_flag=True, help="Make everything small.")
@click.option("--events", required=True, type=Path, help="File to which events are appended.")
def main(module: str, steps: str, device: str, quick: bool, events: Path) -> None:
    section = section_of(module)
    if "torch" in sys.modules:  # the threads of a busy processor would wait for one another
        from rgt_cli.inference import use_threads

        use_threads()
    with events.open("a", buffering=1) as file:
        for name in steps.split(","):

            def report(facts: dict[str, Any], name: str = name) -> None:
                file.write(json.dumps({"step": name} | facts) + "\n")

            run = Run(device=device, is_quick=quick, out=events.parent, report=report)
            run_step(section.steps[name], run)


if __name__ == "__main__":
    main()
