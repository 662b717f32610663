"""The cache: whatever happens to its files, disk or processes, nothing unverified is used."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from rgt_cli.checkpoints.cache import read_record
from tests.helpers.checkpoints import flip_last_bit
from tests.helpers.process import UNPRIVILEGED, start_rgt, wait_until
from tests.helpers.sandbox import NAME, SERVED, Sandbox, read_only, small_disk

SOURCES = pytest.mark.parametrize("source", ["hub", "url"])


def serve(sandbox: Sandbox, content: bytes, source: str) -> str:
    """Serve a checkpoint on the Hub and at a URL. Return the name of the model at `source`."""
    sandbox.hub.files |= {SERVED: content, "direct/net.pth": content}
    return NAME if source == "hub" else f"{sandbox.hub.url}/direct/net.pth"


def test_tampered_file_is_replaced_and_touched_file_is_kept(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    own = sandbox.catalogue(published)
    slim = sandbox.download("net-x2", also=own)
    good = slim.read_bytes()
    slim.write_bytes(flip_last_bit(good))
    sandbox.hub.requests.clear()
    assert sandbox.run("models", "path", "net-x2", also=own).returncode == 4
    assert sandbox.download("net-x2", also=own) == slim
    assert slim.read_bytes() == good
    os.utime(slim, ns=(1, 1))
    assert sandbox.path_of("net-x2", also=own) == slim
    record = read_record(slim.parent)
    assert record
    assert record.stamp.mtime_ns == 1, "the new state is recorded, so that the next run does not hash"
    assert sandbox.hub.downloads() == [], "the verified original is still in the cache of the Hub"


def test_damaged_record_is_replaced(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    slim = sandbox.download(NAME)
    for content in ("", "{}", "[]", '{"stamp": [1, 2], "unknown": 1}'):
        slim.with_name("record.json").write_text(content)
        assert sandbox.run("models", "path", NAME).returncode == 4
    assert sandbox.download(NAME) == slim


def test_new_hash_in_the_catalogue_invalidates_the_cache(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    sandbox.download("net-x2", also=sandbox.catalogue(published))
    changed = sandbox.catalogue(published, sha256="0" * 64)
    assert sandbox.run("models", "path", "net-x2", also=changed).returncode == 4
    assert sandbox.path_of("net-x2", also=sandbox.catalogue(published)).is_file()


def test_read_only_cache(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    own = sandbox.catalogue(published)
    sandbox.home.mkdir()
    with read_only(sandbox.home):
        result = sandbox.run("models", "download", "net-x2", also=own, before=UNPRIVILEGED)
        sandbox.assert_refused(result, "HF_HOME")
    path = sandbox.download("net-x2", also=own)
    with read_only(sandbox.home):
        assert sandbox.path_of("net-x2", also=own, before=UNPRIVILEGED) == path
        os.utime(path, ns=(1, 1))  # it must be hashed again, and the new state cannot be recorded
        assert sandbox.path_of("net-x2", also=own, before=UNPRIVILEGED) == path


def test_original_in_a_read_only_cache_is_used_directly(
    sandbox: Sandbox, published: bytes, small_png: Path
) -> None:
    """A file that another program downloaded is used although no slim file can be written."""
    sandbox.hub.files[SERVED] = published
    own = sandbox.catalogue(published)
    sandbox.download("net-x2", also=own)
    shutil.rmtree(sandbox.home / "assets")
    sandbox.hub.requests.clear()
    with read_only(sandbox.home):
        result = sandbox.succeed("upscale", small_png, "-m", "net-x2", also=own, before=UNPRIVILEGED)
    assert "without caching" in result.stderr
    assert [r for r in sandbox.hub.requests if "owner" in r.path] == []


@SOURCES
def test_full_disk(sandbox: Sandbox, published: bytes, source: str) -> None:
    model = serve(sandbox, published, source)
    with small_disk(sandbox.home, 256 << 10):
        sandbox.assert_refused(sandbox.run("models", "download", model), "no space left")


@SOURCES
def test_disk_with_room_for_the_original_only(
    sandbox: Sandbox, published: bytes, small_png: Path, source: str
) -> None:
    model = serve(sandbox, published, source)
    with small_disk(sandbox.home, len(published) + 150_000):
        result = sandbox.succeed("upscale", small_png, "-m", model)
        assert "without caching" in result.stderr
        assert not list(sandbox.home.rglob("*.part"))


@SOURCES
def test_two_processes_download_once(sandbox: Sandbox, published: bytes, source: str) -> None:
    model = serve(sandbox, published, source)
    sandbox.hub.seconds_per_chunk = 0.1
    both = [start_rgt("models", "download", model, env=sandbox.environment) for _ in range(2)]
    for process in both:
        _, messages = process.communicate(timeout=60)
        assert process.returncode == 0, messages
    assert len(sandbox.hub.downloads()) == 1


@SOURCES
def test_killed_while_downloading(sandbox: Sandbox, published: bytes, source: str) -> None:
    model = serve(sandbox, published, source)
    sandbox.hub.seconds_per_chunk = 0.2
    process = start_rgt("models", "download", model, env=sandbox.environment)
    wait_until(sandbox.hub.downloads, process)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sandbox.run("models", "path", model).returncode == 4
    assert all(Path(name).suffix in (".part", ".incomplete") for name in sandbox.remains())
    sandbox.hub.seconds_per_chunk = 0
    slim = sandbox.download(model)
    assert not list(slim.parent.glob(".*")), "the unfinished file of the dead process is removed"
