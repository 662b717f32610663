"""The real `rgt` command between a server that plays the Hub and an empty cache."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hub import Hub
from tests.helpers.process import run_rgt

TOKEN = "hf_canaryThatMustNeverBeShown"
"""The secret of the user. No output may contain it."""
NAME = "owner/repo:net.pth"
"""The name of the model that the server has."""
SERVED = "owner/repo/net.pth"
"""Its path on the server."""
HARMLESS = {"lock", "refused", "CACHEDIR.TAG", "main", ".gitignore"}
"""Names of files in a cache that are never loaded as a checkpoint."""

Result = subprocess.CompletedProcess[str]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder and its subfolders read-only for a while."""
    folders = [p for p in [folder, *folder.rglob("*")] if p.is_dir() and not p.is_symlink()]
    for path in folders:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o700)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of `size` bytes at `folder` for a while; skip the test where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a disk needs root, and containers often refuse it to root too")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def resize_disk(folder: Path, size: int) -> None:
    """Give a disk that is mounted by `small_disk` another size in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


class Sandbox:
    """A server, a cache, and the `rgt` command that uses both.

    Args:
        hub: The running server.
        folder: An existing folder. The cache is created inside it.
    """

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.home = folder / "home"
        """The cache, HF_HOME. It does not exist at first."""
        self.environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(self.home),
            "HF_TOKEN": TOKEN,
            "HF_HUB_ETAG_TIMEOUT": "2",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        }

    def run(self, *arguments: object, also: dict[str, str] | None = None, **options: Any) -> Result:
        """Run `rgt` and check that it prints neither the token nor a traceback.

        Args:
            arguments: As on the command line.
            also: More environment variables.
            options: As for `run_rgt`.
        """
        result = run_rgt(*arguments, env=self.environment | (also or {}), **options)
        assert TOKEN not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    def succeed(self, *arguments: object, **options: Any) -> Result:
        """Run `rgt`, as `run` does, and check that it succeeds."""
        result = self.run(*arguments, **options)
        assert result.returncode == 0, result.stderr
        return result

    def json(self, *arguments: object, **options: Any) -> dict[str, Any]:
        """Return the JSON object that `rgt` prints."""
        content = json.loads(self.succeed(*arguments, "--json", **options).stdout)
        assert isinstance(content, dict)
        return content

    def path_of(self, model: str, **options: Any) -> Path:
        """Return the cached file of a model."""
        return Path(self.succeed("models", "path", model, **options).stdout.strip())

    def download(self, model: str, **options: Any) -> Path:
        """Download a model and return its cached file."""
        self.succeed("models", "download", model, **options)
        return self.path_of(model, **options)

    def assert_refused(self, result: Result, words: str) -> None:
        """Check for exit code 4, one line that gives the reason, and a cache without checkpoints."""
        assert result.returncode == 4, result.stderr
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("rgt: error: ")
        assert words in line
        assert self.remains() == []

    def remains(self) -> list[str]:
        """Return every file in the cache that could be loaded: not locks, tags or refused files."""
        found = (path for path in self.home.rglob("*") if path.is_file() or path.is_symlink())
        return [str(p) for p in found if p.name not in HARMLESS and p.suffix != ".lock"]

    def catalogue(self, content: bytes, name: str = "net-x2", **facts: object) -> dict[str, str]:
        """Return an environment with a catalogue of one entry: `content`, with its size and hash.

        Args:
            content: The file that the server should deliver.
            name: The full name of the entry.
            facts: Keys that differ from the defaults. None removes a key.
        """
        facts = {
            "short": "net", "variant": "RGT", "scale": 2, "purpose": "bicubic", "description": "a test",
            "license": "CC0-1.0", "author": "nobody", "hub": "owner/repo", "file": "net.pth",
            "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
        } | facts  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in facts.items() if value is not None]
        path = self.folder / "catalogue.toml"
        path.write_text("\n".join([f"[{name}]", *lines]))
        return {"RGT_CATALOGUE": str(path)}
