"""`rgt evaluate` scores what it is given."""

from pathlib import Path

from tests.conftest import DATA, RunRGT


def test_bundled_model_beats_bicubic(rgt: RunRGT, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes((DATA / "cat.png").read_bytes())
    result = rgt("evaluate", tmp_path, "-s", "2")
    assert result.returncode == 0, result.stderr
    model, _, bicubic, *_ = result.stdout.splitlines()[-1].split()
    assert float(model) > float(bicubic) > 25
    assert rgt("evaluate", Path(__file__).parent).returncode == 3
