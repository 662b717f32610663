"""The program for GPUs continues after whatever ends a step. Its sections themselves need a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.benchmarks import on_gpu
from tests.benchmarks.gpu.process import section_of
from tests.benchmarks.gpu.runner import Options, run_section
from tests.benchmarks.gpu.steps import Goal

FAILING = "tests.scripts.failing_section"


def test_it_goes_on_after_steps_that_fail_hang_or_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = on_gpu.run_all([FAILING], Options(device="cpu", quick=True, out=tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    steps = {step["step"]: (step["outcome"], step["reason"]) for step in results["steps"]}
    assert steps == {
        "first": ("done", ""),
        "missing-its-goal": ("done", ""),
        "failing": ("failed", "ValueError: it is Monday"),
        "hanging": ("failed", "took longer than its 0.3 seconds"),
        "crashing": ("failed", "its process was ended by SIGABRT"),
        "lacking": ("not run", "needs spandrel"),
        "on-a-gpu": ("not run", "needs CUDA"),
        "last": ("done", ""),
    }
    values = {
        step["step"]: [(v["name"], v["value"]) for v in step["values"]] for step in results["steps"]
    }
    assert values["first"] == [("pixels", 3)]
    assert values["failing"] == [("before the failure", 1)]
    assert values["hanging"] == [("before it hangs", 1)]
    goals = {goal["goal"]["text"]: (goal["state"], goal["note"]) for goal in results["goals"]}
    assert goals == {
        "a number": ("ok", ""),
        "a number that is too large": ("missed", ""),
        "a number that is never found": ("not run", "ValueError: it is Monday"),
        "a speed": ("not run", "needs CUDA"),
        "a size": ("not run", "needs the full sizes"),
    }
    assert code == 1
    printed = capsys.readouterr().out
    assert "5 goals, 1 missed; 8 steps, 3 failed" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "results.json"}
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_section_ends_when_the_time_is_over(tmp_path: Path) -> None:
    results = run_section(FAILING, Options(device="cpu", quick=True, out=tmp_path), seconds_left=0)
    assert {result.outcome for result in results} == {"not run"}
    assert {result.reason for result in results} == {"the time of its section was over"}


def test_a_section_that_cannot_start_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    first, *others = run_section(FAILING, Options(device="cpu", quick=True, out=tmp_path))
    assert first.outcome == "failed"
    assert {result.outcome for result in others} == {"not run"}
    assert {result.reason for result in others} == {first.reason}


@pytest.mark.parametrize(
    ("least", "most", "found", "is_reached"),
    [
        (1, None, 1, True),
        (1, None, 0.9, False),
        (None, 2, 2, True),
        (None, 2, 2.1, False),
        (1, 2, 1.5, True),
        (1, 2, 3, False),
        (1, None, float("nan"), False),
        (None, 2, float("nan"), False),
    ],
)
def test_bounds(least: float | None, most: float | None, found: float, is_reached: bool) -> None:
    assert Goal(key="a", text="b", least=least, most=most).is_reached(found) == is_reached


def test_all_sections_fit_into_the_time() -> None:
    sections = [section_of(module) for module in (on_gpu.MACHINE, *on_gpu.SECTIONS.values())]
    assert sum(section.seconds for section in sections) <= 60 * on_gpu.MINUTES


@pytest.mark.parametrize("arguments", [("--only", "speed,nonsense"), ("--device", "nonsense")])
def test_bad_usage(arguments: tuple[str, str]) -> None:
    result = CliRunner().invoke(on_gpu.main, arguments)
    assert result.exit_code == 2
    assert "nonsense" in result.output
