"""Tables fit the terminal, and no word in them is cut."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgt_cli.cli.console import Console
from rgt_cli.cli.tables import available_width
from tests.helpers.process import RunRGT

COLUMNS = ["input", "how it is done", "size", "remark"]
ROWS = [
    ["a photo.png", "upscaled by the network in several tiles", "12.5 MB", "a"],
    ["日本語の写真.png", "in one piece", "1 MB", ""],
]
WORDS = {word for cell in [*COLUMNS, *ROWS[0], *ROWS[1]] for word in cell.split()}


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, *optional: str
) -> list[str]:
    """Return the lines of the table at a width."""
    monkeypatch.setenv("COLUMNS", str(width))
    Console().table(COLUMNS, ROWS, optional=optional)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", range(16, 121))
def test_words_are_whole_at_any_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = printed(capsys, monkeypatch, width)
    found = {word for line in lines for word in line.split() if set(word) != {"-"}}
    assert found == WORDS
    for line in lines:
        cells = sum(2 if char > "\u2fff" else 1 for char in line)
        assert cells <= width or len(line.split()) == 1


def test_optional_columns_are_left_out_from_the_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = [printed(capsys, monkeypatch, w, "size", "remark")[1].split() for w in (90, 55, 45)]
    assert [header[-1] for header in headers] == ["remark", "size", "done"]


def test_narrow_tables_are_printed_as_lists(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(capsys, monkeypatch, 32)
    assert lines[0] == "input           a photo.png"
    assert lines[1:3] == ["how it is done  upscaled by the", " " * 16 + "network in"]


@pytest.mark.parametrize("columns", ["", "0", "wide", "-5"])
def test_invalid_widths_are_ignored(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert available_width(stderr=False) >= 20


@pytest.mark.parametrize("width", [40, 70])
def test_other_commands_honor_the_width_in_a_pipe(rgt: RunRGT, tmp_path: Path, width: int) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    command = ("upscale", ".", "-o", "out", "-s", 2)
    environment = os.environ | {"COLUMNS": str(width)}
    planned = rgt(*command, "--dry-run", cwd=tmp_path, env=environment).stdout
    failed = rgt(*command, cwd=tmp_path, env=environment).stderr.partition("\n\n")[2]
    for text, words in ((planned, "good.png out/good_x2.png"), (failed, "broken.png reason")):
        lines = text.partition("\n\n")[0].splitlines()
        assert {*words.split()} <= {word for line in lines for word in line.split()}
        assert max(map(len, lines)) <= width
