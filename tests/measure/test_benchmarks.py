"""The paper's figures, and the names of benchmarks."""

from pathlib import Path

import pytest

from rgt_cli.errors import NoInputError
from rgt_cli.measure.evaluate import find_dataset, reported


def test_what_the_paper_reports() -> None:
    assert reported("RGT", "Urban100", 4) == (27.98, 0.8369)
    assert reported("RGT+", "manga109", 2) == (40.45, 0.9810)
    assert reported("RGT-S", "Set5", 3) == (35.11, 0.9328)
    assert reported("RGT-tiny", "Set5", 4) is None
    assert reported("RGT", "my photos", 4) is None


def test_benchmarks_are_called_like_their_folders(tmp_path: Path) -> None:
    for folder in (tmp_path / "Set14" / "HR", tmp_path / "Urban100"):
        folder.mkdir(parents=True)
        with pytest.raises(NoInputError):
            find_dataset(folder, None, 2)
        (folder / "a.png").write_bytes(b"")
    assert find_dataset(tmp_path / "Set14" / "HR", None, 2).name == "Set14"
    assert find_dataset(tmp_path / "Urban100", None, 2).name == "Urban100"
