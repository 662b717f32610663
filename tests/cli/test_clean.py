"""`rgt clean`: what interrupted runs have left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rgt_cli.files import atomic_write
from tests.helpers.process import RunRGT, names_in, start_rgt, wait_until
from tests.helpers.videos import X264, lavfi


@pytest.fixture
def folder(tmp_path: Path, micro_checkpoint: Path) -> Path:
    """A folder with what a killed run and a dead process have left."""
    folder = tmp_path / "videos"
    folder.mkdir()
    lavfi(*X264, source="testsrc2=size=64x48:rate=25:duration=60")(folder / "long.mkv")
    process = start_rgt(*command(folder, micro_checkpoint))
    wait_until(lambda: list(folder.glob(".rgt-*.segments/000000.mkv")), process)
    process.kill()
    process.wait()
    (folder / "sub").mkdir()
    (folder / "sub/.rgt-0123abcd.part").write_bytes(b"half")
    return folder


def command(folder: Path, checkpoint: Path) -> tuple[object, ...]:
    return ("upscale", folder / "long.mkv", "-m", checkpoint, "--segment-seconds", "0.2")


def test_remains_are_listed_and_removed(rgt: RunRGT, folder: Path) -> None:
    (segments,) = folder.glob(".rgt-*.segments")
    listed = rgt("clean", folder, "--dry-run")
    assert listed.returncode == 0
    text = "".join(listed.stdout.split())
    for part in (segments.name, "long_x2.mkv", ".rgt-0123abcd.part"):
        assert part in text
    assert "2 would be removed" in listed.stderr
    assert segments.is_dir()

    cleaned = rgt("clean", cwd=folder)
    assert "2 removed" in cleaned.stderr
    assert names_in(folder) == {"long.mkv", "sub"}
    assert names_in(folder / "sub") == set()
    assert "nothing to remove" in rgt("clean", folder).stderr
    assert rgt("clean", folder / "missing").returncode == 3


def test_what_is_in_use_stays(rgt: RunRGT, folder: Path, micro_checkpoint: Path) -> None:
    process = start_rgt(*command(folder, micro_checkpoint))
    wait_until(lambda: list(folder.glob(".rgt-*.segments/*.part")), process)
    with atomic_write(folder / "sub/image.png") as file:
        result = rgt("clean", folder)
        assert "1 removed" in result.stderr
        assert Path(file.name).exists()
    assert list(folder.glob(".rgt-*.segments"))
    process.terminate()
    process.communicate(timeout=60)
    shutil.rmtree(folder)
