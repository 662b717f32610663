"""The scores of the paper, and the names of datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgt_cli.errors import NoInputError
from rgt_cli.measure.evaluate import find_dataset, paper_scores


def test_scores_of_the_paper() -> None:
    assert paper_scores("RGT", "Urban100", 4) == (27.98, 0.8369)
    assert paper_scores("RGT+", "manga109", 2) == (40.45, 0.9810)
    assert paper_scores("RGT-S", "Set5", 3) == (35.11, 0.9328)
    assert paper_scores("RGT-tiny", "Set5", 4) is None
    assert paper_scores("RGT", "my photos", 4) is None


def test_a_dataset_has_the_name_of_its_folder(tmp_path: Path) -> None:
    for folder in (tmp_path / "Set14" / "HR", tmp_path / "Urban100"):
        folder.mkdir(parents=True)
        with pytest.raises(NoInputError):
            find_dataset(folder, None, 2)
        (folder / "a.png").write_bytes(b"")
    assert find_dataset(tmp_path / "Set14" / "HR", None, 2).name == "Set14"
    assert find_dataset(tmp_path / "Urban100", None, 2).name == "Urban100"
