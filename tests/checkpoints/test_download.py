"""Downloads by the real client in a real process, from a real server that misbehaves on demand."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rgt_cli.checkpoints.load import load_network
from tests.helpers.checkpoints import official_state, save_evil
from tests.helpers.hub import COMMIT
from tests.helpers.process import command
from tests.helpers.sandbox import NAME, SERVED, TOKEN, Sandbox


def test_model_is_downloaded_once_and_then_used_offline(
    sandbox: Sandbox, published: bytes, small_png: Path
) -> None:
    hub = sandbox.hub
    hub.files[SERVED] = published
    result = sandbox.succeed("upscale", small_png, "-m", "owner/repo")
    assert f"pinned to sha256 {hashlib.sha256(published).hexdigest()}" in result.stderr
    assert small_png.with_name("in_x2.png").exists()
    assert len(hub.downloads()) == 1
    hub.requests.clear()
    again = ("upscale", small_png, "-m", "owner/repo", "--overwrite")
    assert "sha256" not in sandbox.succeed(*again).stderr
    sandbox.succeed(*again, also={"HF_HUB_OFFLINE": "1"})
    assert hub.requests == []


def test_downloaded_model_has_the_same_weights(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    slim, original = sandbox.download(NAME), sandbox.folder / "net.pth"
    original.write_bytes(published)
    expected, network = load_network(original), load_network(slim)
    assert network.config == expected.config
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in expected.state_dict().items())
    assert slim.stat().st_size < len(published)
    assert len([key for key in load_file(slim) if "rpe_biases" in key]) == 1


def test_decisions_are_logged_without_secrets(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    log = sandbox.succeed("-v", "models", "download", NAME).stderr
    for word in ("fetching", hashlib.sha256(published).hexdigest(), "cached as"):
        assert word in log


def test_corrupt_download_is_repeated_once(sandbox: Sandbox, published: bytes) -> None:
    hub, own = sandbox.hub, sandbox.catalogue(published)
    hub.files[SERVED], hub.corrupt = published, 2
    result = sandbox.run("models", "download", "net-x2", also=own)
    sandbox.assert_refused(result, "moved to")
    assert hashlib.sha256(published).hexdigest()[:12] in result.stderr
    assert len(hub.downloads()) == 2
    hub.corrupt = 1
    assert sandbox.download("net-x2", also=own).is_file()
    assert len(hub.downloads()) == 4


@pytest.mark.parametrize("direct", [False, True], ids=["hub", "url"])
def test_wrong_size_is_refused_before_the_download(
    sandbox: Sandbox, published: bytes, direct: bool
) -> None:
    hub = sandbox.hub
    hub.files |= {SERVED: published + b"more", "direct/net.pth": published + b"more"}
    url = f"{hub.url}/direct/net.pth"
    own = sandbox.catalogue(published)
    if direct:
        own = sandbox.catalogue(published, url=url, hub=None, file=None)
    result = sandbox.run("models", "download", "net-x2", also=own)
    sandbox.assert_refused(result, f"offers {len(published) + 4} bytes instead of {len(published)}")
    assert hub.downloads() == []


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, "HF_TOKEN"),
        (401, {"X-Error-Code": "GatedRepo"}, "gated"),
        (403, {}, "forbidden"),
        (404, {"X-Error-Code": "RepoNotFound"}, "no such repository"),
        (404, {"X-Error-Code": "EntryNotFound"}, "no such file"),
        (429, {"Retry-After": "999"}, "try again in 999 s"),
        (500, {}, "failed (500)"),
    ],
)
def test_refusals_of_the_server_are_explained(
    sandbox: Sandbox, status: int, headers: dict[str, str], words: str
) -> None:
    sandbox.hub.statuses, sandbox.hub.stuck = [(status, headers)], True
    sandbox.assert_refused(sandbox.run("models", "download", NAME), words)
    assert TOKEN not in debug_output(sandbox)


def debug_output(sandbox: Sandbox) -> str:
    """Return all that a failing download prints, with tracebacks and the client's own log."""
    result = subprocess.run(
        command("--debug", "-vv", "models", "download", NAME),
        env=sandbox.environment | {"HF_HUB_VERBOSITY": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.stdout + result.stderr


def test_busy_server_is_asked_again(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    sandbox.hub.statuses = [(429, {"Retry-After": "1"}), (503, {})]
    started = time.monotonic()
    sandbox.succeed("models", "download", NAME)
    assert time.monotonic() - started > 2, "it waits as long as the server asks, then one second"


def test_a_reason_that_all_locations_share_is_given_once(sandbox: Sandbox, small_png: Path) -> None:
    result = sandbox.run("upscale", small_png, "-m", "rgt", also={"HF_HUB_OFFLINE": "1"})
    assert (result.returncode, result.stderr) == (
        4,
        "rgt: error: rgt-x4: cannot be downloaded: not in the cache, and offline mode is on "
        "(HF_HUB_OFFLINE); bundled models need no download: use -m tiny or -m tiny-photo\n",
    )


def test_server_that_never_answers(sandbox: Sandbox) -> None:
    sandbox.hub.silent = True
    for model in (NAME, f"{sandbox.hub.url}/direct/net.pth"):
        sandbox.assert_refused(sandbox.run("models", "download", model), "no data")


def test_offline_mode_sends_no_request(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files[SERVED] = published
    for model in (NAME, "owner/repo", f"{sandbox.hub.url}/direct/net.pth"):
        result = sandbox.run("models", "download", model, also={"HF_HUB_OFFLINE": "1"})
        sandbox.assert_refused(result, "offline mode is on")
    assert [r for r in sandbox.hub.requests if "owner" in r.path or "direct" in r.path] == []


@pytest.mark.parametrize("model", [NAME, "http://127.0.0.1:9/net.pth"])
def test_server_that_cannot_be_reached(sandbox: Sandbox, model: str) -> None:
    result = sandbox.run("models", "download", model, also={"HF_ENDPOINT": "http://127.0.0.1:9"})
    sandbox.assert_refused(result, "cannot connect to 127.0.0.1")


@pytest.mark.parametrize("by_torch", [True, False])
def test_malicious_pickle_is_refused(sandbox: Sandbox, tmp_path: Path, by_torch: bool) -> None:
    sandbox.hub.files[SERVED] = save_evil(tmp_path / "evil.pth", by_torch).read_bytes()
    sandbox.assert_refused(sandbox.run("models", "download", NAME, cwd=tmp_path), "run code")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    [
        (1 << 60).to_bytes(8, "little") + b"{}",
        (64).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[99951162777],"data_offsets":[0,4]}}',
        b"",
        b"<html>not what you wanted</html>",
    ],
    ids=["huge header", "huge shape", "empty", "web page"],
)
def test_absurd_safetensors_are_refused(sandbox: Sandbox, content: bytes) -> None:
    sandbox.hub.files["owner/repo/net.safetensors"] = content
    sandbox.assert_refused(sandbox.run("models", "download", "owner/repo"), "damaged")


def test_repository_with_several_checkpoints(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files |= {SERVED: published, "owner/repo/other.pth": published}
    result = sandbox.run("models", "download", "owner/repo")
    sandbox.assert_refused(result, "select one as owner/repo:FILE")
    sandbox.download("owner/repo:other.pth")


def test_file_is_selected_by_its_hash(sandbox: Sandbox, published: bytes) -> None:
    sandbox.hub.files |= {"owner/repo/a.safetensors": b"other", "owner/repo/b.pth": b"more"}
    own = sandbox.catalogue(published, file=None)
    result = sandbox.run("models", "download", "net", also=own)
    sandbox.assert_refused(result, "owner/repo: no file in this repository has the expected hash")
    sandbox.hub.files["owner/repo/deep/c.pth"] = published
    path = sandbox.download("net", also=own)
    assert path.is_file()
    sandbox.succeed("models", "download", "net", also=own | {"HF_HUB_OFFLINE": "1"})


def test_repository_without_a_checkpoint(sandbox: Sandbox) -> None:
    sandbox.hub.files["owner/repo/README.md"] = b""
    sandbox.assert_refused(sandbox.run("models", "download", "owner/repo"), "no checkpoint")


def test_second_location_is_used_if_the_first_fails(sandbox: Sandbox, published: bytes) -> None:
    hub = sandbox.hub
    url = f"{hub.url}/direct/net.pth"
    own = sandbox.catalogue(published, url=url)
    result = sandbox.run("models", "download", "net-x2", also=own)
    sandbox.assert_refused(result, "owner/repo:net.pth: no such repository")
    assert f"; {url}: not found (404)" in result.stderr
    hub.files["direct/net.pth"] = published
    hub.requests.clear()
    assert sandbox.download("net-x2", also=own).is_file()
    authorized = {r.path.startswith("/direct/") for r in hub.requests if r.authorized}
    assert authorized == {False}, "only the Hub gets the token"


def test_first_hash_is_trusted_and_pinned(sandbox: Sandbox, published: bytes) -> None:
    hub = sandbox.hub
    url = f"{hub.url}/direct/net.pth"
    hub.files["direct/net.pth"] = published
    assert "trusted on first use" in sandbox.succeed("models", "download", url).stderr
    sandbox.path_of(url).unlink()
    hub.files["direct/net.pth"] = published[:-1] + bytes([published[-1] ^ 1])
    result = sandbox.run("models", "download", url)
    assert result.returncode == 4
    assert f"rgt models remove {url}" in result.stderr
    hub.files["direct/net.pth"] = published
    sandbox.succeed("models", "download", url)
    sandbox.succeed("models", "remove", url)
    assert sandbox.remains() == []


def test_published_size_over_a_connection_that_breaks(sandbox: Sandbox) -> None:
    """Download the keys and shapes of the published RGT-S at x4, 135 MB, with a cut at 50 %."""
    original = sandbox.folder / "RGT_S_x4.pth"
    torch.save({"params": official_state("RGT_S_x4", random=True)}, original)
    content = original.read_bytes()
    assert len(content) == pytest.approx(135_963_303, rel=0.01)
    sandbox.hub.files["owner/repo/RGT_S_x4.pth"] = content
    sandbox.hub.cuts = 1
    slim = sandbox.download("owner/repo")
    first, second = sandbox.hub.downloads()
    assert first.range is None
    assert second.range
    assert int(second.range.removeprefix("bytes=").rstrip("-")) > 60e6, "it resumes in the middle"
    assert slim.stat().st_size == pytest.approx(41e6, rel=0.01)
    info = sandbox.json("models", "info", "owner/repo")
    assert (info["variant"], info["scale"], info["revision"]) == ("RGT-S", 4, COMMIT)
    assert (info["bytes"], info["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    file = info["file"]
    assert (file["groups"], file["blocks"]) == (6, 36)
    assert file["parameters"] == pytest.approx(10.20e6, rel=0.001)
    assert file["multiply_adds"] == pytest.approx(193.08e9, rel=0.01)
