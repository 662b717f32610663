"""The distribution: what is built is whole, and the rooms keep to their arrows."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.conftest import DATA

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "errors": set(),
    "size": set(),
    "network": set(),
    "checkpoints": {"network", "errors"},
    "inference": {"checkpoints", "errors", "size"},
    "media": {"errors"},
    "batch": {"media", "inference", "errors", "size"},
    "measure": {"inference", "media", "network", "errors"},
    "cli": {"batch", "media", "inference", "checkpoints", "network", "measure", "errors", "size"},
}


def test_arrows_point_down() -> None:
    for path in (ROOT / "rgt_cli").glob("*/*.py"):
        room = path.parent.name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rgt_cli."):
                used = node.module.split(".")[1]
                assert used == room or used in ALLOWED[room], f"{path} imports {node.module}"


def test_installed_wheel_upscales(tmp_path: Path) -> None:
    def run(*command: object, cwd: Path = tmp_path) -> str:
        arguments = [sys.executable, "-m", *map(str, command)]
        return subprocess.run(arguments, cwd=cwd, check=True, capture_output=True, text=True).stdout

    run("build", "--no-isolation", "--outdir", tmp_path / "dist", cwd=ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    bundled = {path.name for path in (ROOT / "weights").glob("*.safetensors")}
    assert len(bundled) == 5
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {f"rgt_cli/weights/{name}" for name in bundled} <= names
        assert not any("test" in name for name in names)
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        assert {f"weights/{name}" for name in bundled} | {"tests/conftest.py", "LICENSE"} <= names
    installed = tmp_path / "installed"
    run("pip", "install", "--quiet", "--no-deps", "--target", installed, wheel)
    code = (
        "import sys; sys.path.insert(0, 'installed'); import rgt_cli; print(rgt_cli.__file__); "
        "from rgt_cli.cli import main; main(sys.argv[1:])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "upscale", str(DATA / "cat.png"), "-s", "2", "-o", "out.png"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert str(installed) in shown.stdout
    assert (tmp_path / "out.png").stat().st_size > 100_000
