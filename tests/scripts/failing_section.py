"""A section for `tests/benchmarks/test_on_gpu.py`, whose steps end in every way."""

import os
import time

from tests.benchmarks.gpu.steps import Goal, NotRun, Run, Section

SECTION = Section("failing", "A section that fails", seconds=20)


@SECTION.step(Goal(key="small", text="a number", most=1), seconds=10)
def first(run: Run) -> None:
    run.value("pixels", run.pick(12, 3), "pixels")
    run.goal("small", 0.5)


@SECTION.step(Goal(key="small", text="a number that is too large", most=1), seconds=10)
def missing_its_goal(run: Run) -> None:
    run.goal("small", 2.0)


@SECTION.step(Goal(key="never", text="a number that is never found", most=1), seconds=10)
def failing(run: Run) -> None:
    run.value("before the failure", 1.0)
    raise ValueError("it is Monday")


@SECTION.step(seconds=0.3)
def hanging(run: Run) -> None:
    run.value("before it hangs", 1.0)
    time.sleep(60)


@SECTION.step(seconds=10)
def crashing(run: Run) -> None:
    os.abort()


@SECTION.step(seconds=10)
def lacking(run: Run) -> None:
    raise NotRun("needs spandrel")


@SECTION.step(Goal(key="fast", text="a speed", least=1, cuda_only=True), seconds=10, cuda_only=True)
def on_a_gpu(run: Run) -> None:
    run.goal("fast", 0.0)


@SECTION.step(Goal(key="full", text="a size", least=1, full_only=True), seconds=10)
def last(run: Run) -> None:
    run.goal("full", 0.0)
