"""The distribution is complete, and imports between its modules point down only."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.helpers import DATA

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rgt_cli"
LEAVES = {"errors", "files", "size", "values", "version"}
ALLOWED = {
    "errors": set[str](),
    "size": set[str](),
    "version": set[str](),
    "files": {"errors"},
    "values": {"errors", "size"},
    "network": set[str](),
    "media": LEAVES,
    "pages": {"media"} | LEAVES,
    "checkpoints": {"network"} | LEAVES,
    "inference": {"checkpoints", "network"} | LEAVES,
    "measure": {"inference", "media", "network"} | LEAVES,
    "jobs": {"pages", "media", "inference", "checkpoints"} | LEAVES,
    "api": {"jobs", "media", "inference", "checkpoints"} | LEAVES,
    "doctor": {"jobs", "media", "inference", "checkpoints"} | LEAVES,
    "cli": {"doctor", "jobs", "pages", "media", "inference", "checkpoints", "network", "measure"}
    | LEAVES,
    "__main__": {"cli"},
    "": {"api", "errors", "version"},
}
"""Folder or module directly under rgt_cli -> those that it may import; "" is rgt_cli/__init__.py."""
UNUSED_BY_MEDIA = {"torch", "click", "rich"}


def module_name(path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports_of(path: Path) -> Iterator[str]:
    """Yield the names that a file imports, by either form of import, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


def room(module: str) -> str:
    """Return the folder or module directly under rgt_cli that a module belongs to."""
    return module.partition(".")[2].partition(".")[0]


def test_imports_point_down() -> None:
    assert len(MODULES) > 60
    for name, path in MODULES.items():
        for imported in imports_of(path):
            if imported.split(".")[0] == "rgt_cli":
                below = room(imported)
                assert below == room(name) or below in ALLOWED[room(name)], f"{name} imports {imported}"
            elif room(name) == "media":
                assert imported.split(".")[0] not in UNUSED_BY_MEDIA, f"{name} imports {imported}"


def test_modules_form_no_circle() -> None:
    graph = {
        name: {imported for imported in imports_of(path) if imported in MODULES}
        for name, path in MODULES.items()
    }
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in finished:
            for imported in sorted(graph[name]):
                visit(imported, (*above, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_modules_and_functions_are_short() -> None:
    for name, path in MODULES.items():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 60, f"{name}.{node.name}"


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
        assert {"rgt_cli/py.typed", "rgt_cli/docs/images.md", "rgt_cli/pages/page.html"} <= names
        assert not any("test" in name for name in names)
    with tarfile.open(sdist) as sources:
        names = {name.split("/", 1)[1] for name in sources.getnames() if "/" in name}
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
