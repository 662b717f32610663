"""Fetching, by the real client in a real process, from a real server that misbehaves on demand."""

import dataclasses
import hashlib
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rgt_cli.checkpoints.load import load_network
from tests.checkpoints.test_load import OFFICIAL, Evil
from tests.conftest import UNPRIVILEGED, RunRGT
from tests.helpers.hub import COMMIT, Hub

TOKEN = "hf_canaryThatMustNeverBeShown"
NAME = "owner/repo:net.pth"
SERVED = "owner/repo/net.pth"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
RunModels = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environment(hub: Hub, home: Path) -> dict[str, str]:
    return os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_ETAG_TIMEOUT": "2",
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
    }


@pytest.fixture
def run(rgt: RunRGT, environment: dict[str, str]) -> RunModels:
    """Run `rgt --debug`-free and check what must hold every time: the token stays hidden."""

    def run_models(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        merged = {"env": environment | dict(options.pop("also", {}))} | options
        result = rgt(*arguments, **merged)
        assert TOKEN not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    return run_models


@pytest.fixture
def official(micro_checkpoint: Path) -> bytes:
    """A checkpoint wrapped as the published ones are, derived buffers and all."""
    state = load_file(micro_checkpoint)
    for key in [key for key in state if key.endswith("attns.0.pos.pos_proj.weight")]:
        for branch in ("attns.0", "attns.1"):
            prefix = key.split("attns.0")[0] + branch
            state[f"{prefix}.relative_position_index"] = torch.arange(32 * 32).view(32, 32)
            state[f"{prefix}.rpe_biases"] = state["layers.0.blocks.0.attn.attns.0.rpe_biases"].clone()
    path = micro_checkpoint.with_suffix(".pth")
    torch.save({"params": state}, path)
    return path.read_bytes()


def assert_refused(result: subprocess.CompletedProcess[str], words: str, home: Path) -> None:
    """Exit 4, one line that says why, and nothing that could be mistaken for a checkpoint."""
    assert result.returncode == 4, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("rgt: error: ")
    assert words in line
    assert remains(home) == []


def remains(home: Path) -> list[str]:
    """Every file that somebody could trust: not locks, tags, refs, nor what was set aside."""
    harmless = {"lock", "refused", "CACHEDIR.TAG", "main", ".gitignore"}
    found = (path for path in home.rglob("*") if path.is_file() or path.is_symlink())
    return [str(p) for p in found if p.name not in harmless and p.suffix != ".lock"]


def test_fetched_once_then_offline(hub: Hub, run: RunModels, official: bytes, small_png: Path) -> None:
    hub.files[SERVED] = official
    result = run("upscale", small_png, "-m", "owner/repo")
    assert result.returncode == 0, result.stderr
    assert f"pinned to sha256 {hashlib.sha256(official).hexdigest()}" in result.stderr
    assert small_png.with_name("in_x2.png").exists()
    assert len(hub.downloads()) == 1
    hub.requests.clear()
    result = run("upscale", small_png, "-m", "owner/repo", "--overwrite")
    assert result.returncode == 0, result.stderr
    assert "sha256" not in result.stderr
    result = run("upscale", small_png, "-m", "owner/repo", "--overwrite", also={"HF_HUB_OFFLINE": "1"})
    assert result.returncode == 0, result.stderr
    assert hub.requests == []


def test_slim_file_has_the_same_weights(
    hub: Hub, run: RunModels, official: bytes, tmp_path: Path
) -> None:
    hub.files[SERVED] = official
    assert run("models", "get", NAME).returncode == 0
    slim = Path(run("models", "path", NAME).stdout.strip())
    (tmp_path / "net.pth").write_bytes(official)
    expected, network = load_network(tmp_path / "net.pth"), load_network(slim)
    assert network.config == expected.config
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in expected.state_dict().items())
    assert slim.stat().st_size < len(official)
    derived = [key for key in load_file(slim) if "relative_position_index" in key or "rpe_biases" in key]
    assert len(derived) == 1


def catalogued(tmp_path: Path, content: bytes, **facts: object) -> dict[str, str]:
    """An environment whose own catalogue knows `net-x2` with the hash of `content`."""
    facts = {
        "short": "net", "variant": "RGT", "scale": 2, "purpose": "bicubic", "note": "a test",
        "license": "CC0-1.0", "author": "nobody", "hub": "owner/repo", "file": "net.pth",
        "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    } | facts  # fmt: skip
    lines = [f"{key} = {value!r}" for key, value in facts.items() if value is not None]
    path = tmp_path / "catalogue.toml"
    path.write_text("\n".join(["[net-x2]", *lines]))
    return {"RGT_CATALOGUE": str(path)}


def test_catalogued_model_from_get_to_remove(
    hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path
) -> None:
    hub.files[SERVED] = official
    also = catalogued(tmp_path, official)
    listed = {"cached": "net-x2.*cached", "remote": "net-x2.*remote"}
    assert_matches(listed["remote"], run("models", also=also).stdout)
    assert "not kept here" in run("models", "info", "net", "-s", "2", also=also).stdout
    assert run("models", "path", "net-x2", also=also).returncode == 4
    result = run("models", "get", "net", "-s", "2", also=also)
    assert result.returncode == 0, result.stderr
    assert "first use" not in result.stderr
    assert_matches(listed["cached"], run("models", also=also).stdout)
    info = run("models", "info", "net-x2", also=also).stdout
    for fact in ("CC0-1.0", "nobody", COMMIT, hashlib.sha256(official).hexdigest(), "upscale .* 2"):
        assert_matches(fact, info)
    assert_matches("sound +net-x2", run("models", "verify", also=also).stdout)
    slim = Path(run("models", "path", "net-x2", also=also).stdout.strip())
    content = bytearray(slim.read_bytes())
    content[-1] ^= 1
    slim.write_bytes(content)
    damaged = run("models", "verify", also=also)
    assert damaged.returncode == 4
    assert_matches("DAMAGED +net-x2", damaged.stdout)
    assert run("models", "remove", "net-x2", also=also).returncode == 0
    assert remains(home) == []
    assert run("models", "remove", "net-x2", also=also).returncode == 4


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


def test_tampered_and_moved_files(
    hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path
) -> None:
    """A slim file that changed is made anew; one that only looks different is hashed and kept."""
    hub.files[SERVED] = official
    also = catalogued(tmp_path, official)
    slim = Path(get_and_path(run, also))
    good = slim.read_bytes()
    slim.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    hub.requests.clear()
    assert run("models", "path", "net-x2", also=also).returncode == 4
    assert get_and_path(run, also) == str(slim)
    assert slim.read_bytes() == good
    os.utime(slim, ns=(1, 1))
    assert run("models", "path", "net-x2", also=also).returncode == 0
    assert hub.downloads() == [], "the checked original was at hand all the time"


def get_and_path(run: RunModels, also: dict[str, str]) -> str:
    result = run("models", "get", "net-x2", also=also)
    assert result.returncode == 0, result.stderr
    return run("models", "path", "net-x2", also=also).stdout.strip()


def test_corrupt_bytes(hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path) -> None:
    hub.files[SERVED], hub.corrupt = official, 2
    also = catalogued(tmp_path, official)
    result = run("models", "get", "net-x2", also=also)
    assert_refused(result, "twice; set aside as", home)
    assert len(hub.downloads()) == 2
    hub.corrupt = 1
    assert get_and_path(run, also), "fetched once more, and good then"


@pytest.mark.parametrize("url", [False, True])
def test_wrong_size(
    hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path, url: bool
) -> None:
    hub.files |= {SERVED: official + b"more", "direct/net.pth": official + b"more"}
    at = {"url": f"{hub.url}/direct/net.pth", "hub": None, "file": None} if url else {}
    result = run("models", "get", "net-x2", also=catalogued(tmp_path, official, **at))
    assert_refused(result, f"offers {len(official) + 4} bytes instead of {len(official)}", home)
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
        (500, {}, "server failed (500)"),
    ],
)
def test_statuses(
    hub: Hub, run: RunModels, home: Path, status: int, headers: dict[str, str], words: str
) -> None:
    hub.statuses, hub.stuck = [(status, headers)], True
    assert_refused(run("models", "get", NAME), words, home)
    debug = run_raw(["--debug", "models", "get", NAME], hub, home)
    assert TOKEN not in debug


def run_raw(arguments: list[str], hub: Hub, home: Path) -> str:
    """All that `rgt` prints, tracebacks and the client's own log at its chattiest included."""
    result = subprocess.run(
        [sys.executable, "-m", "rgt_cli", *arguments],
        env=os.environ
        | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_VERBOSITY": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.stdout + result.stderr


def test_busy_for_a_moment(hub: Hub, run: RunModels, official: bytes) -> None:
    hub.files[SERVED] = official
    hub.statuses = [(429, {"Retry-After": "1"}), (503, {})]
    started = time.monotonic()
    assert run("models", "get", NAME).returncode == 0
    assert time.monotonic() - started > 2, "waited as it was told, and then a second"


def test_server_that_never_answers(hub: Hub, run: RunModels, home: Path) -> None:
    hub.silent = True
    assert_refused(run("models", "get", NAME), "sent nothing", home)
    url = f"{hub.url}/direct/net.pth"
    assert_refused(run("models", "get", url), "sent nothing", home)


def test_offline(hub: Hub, run: RunModels, official: bytes, home: Path) -> None:
    hub.files[SERVED] = official
    for model in (NAME, "owner/repo", f"{hub.url}/direct/net.pth"):
        result = run("models", "get", model, also={"HF_HUB_OFFLINE": "1"})
        assert_refused(result, "offline mode is on", home)
    assert [r for r in hub.requests if "owner" in r.path or "direct" in r.path] == []


def test_no_server(run: RunModels, home: Path) -> None:
    result = run("models", "get", NAME, also={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert_refused(result, "cannot connect", home)


def test_read_only_cache(hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path) -> None:
    hub.files[SERVED] = official
    also = catalogued(tmp_path, official)
    home.mkdir(mode=0o500)
    assert_refused(run("models", "get", "net-x2", also=also, before=UNPRIVILEGED), "HF_HOME", home)
    home.chmod(0o700)
    path = get_and_path(run, also)
    close(home)
    try:
        result = run("models", "path", "net-x2", also=also, before=UNPRIVILEGED)
        assert result.stdout.strip() == path
        os.utime(path, ns=(1, 1))  # it must be hashed again, and that cannot be remembered
        assert run("models", "path", "net-x2", also=also, before=UNPRIVILEGED).returncode == 0
    finally:
        close(home, mode=0o700)


def test_original_in_a_read_only_cache(
    hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path, small_png: Path
) -> None:
    """What another tool fetched is used as it is where nothing can be kept."""
    hub.files[SERVED] = official
    also = catalogued(tmp_path, official)
    get_and_path(run, also)
    subprocess.run(["rm", "-r", home / "assets"], check=True)
    hub.requests.clear()
    close(home)
    try:
        result = run("upscale", small_png, "-m", "net-x2", also=also, before=UNPRIVILEGED)
    finally:
        close(home, mode=0o700)
    assert result.returncode == 0, result.stderr
    assert "nothing is kept" in result.stderr
    assert [r for r in hub.requests if "owner" in r.path] == []


def close(folder: Path, mode: int = 0o500) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(mode)


@AS_ROOT
@pytest.mark.parametrize("where", ["hub", "url"])
def test_full_disk(
    hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path, where: str
) -> None:
    hub.files |= {SERVED: official, "direct/net.pth": official}
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", home], check=True)
    try:
        model = NAME if where == "hub" else f"{hub.url}/direct/net.pth"
        assert_refused(run("models", "get", model), "no space left", home)
    finally:
        subprocess.run(["umount", home], check=True)


@AS_ROOT
def test_disk_that_holds_the_original_alone(
    hub: Hub, run: RunModels, official: bytes, home: Path, small_png: Path
) -> None:
    hub.files[SERVED] = official
    home.mkdir()
    size = f"size={len(official) + 150_000}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", home], check=True)
    try:
        result = run("upscale", small_png, "-m", NAME)
        assert result.returncode == 0, result.stderr
        assert "nothing is kept" in result.stderr
        assert not list(home.rglob("*.part"))
    finally:
        subprocess.run(["umount", home], check=True)


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rgt_cli", "models", "get", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("where", ["hub", "url"])
def test_two_processes_fetch_once(
    hub: Hub, environment: dict[str, str], official: bytes, where: str
) -> None:
    hub.files |= {SERVED: official, "direct/net.pth": official}
    hub.seconds_per_chunk = 0.1
    model = NAME if where == "hub" else f"{hub.url}/direct/net.pth"
    both = [start(environment, model) for _ in range(2)]
    for process in both:
        _, shown = process.communicate(timeout=60)
        assert process.returncode == 0, shown
    assert len(hub.downloads()) == 1


@pytest.mark.parametrize("where", ["hub", "url"])
def test_killed_in_mid_download(
    hub: Hub, environment: dict[str, str], run: RunModels, official: bytes, home: Path, where: str
) -> None:
    hub.files |= {SERVED: official, "direct/net.pth": official}
    hub.seconds_per_chunk = 0.2
    model = NAME if where == "hub" else f"{hub.url}/direct/net.pth"
    process = start(environment, model)
    deadline = time.monotonic() + 30
    while not hub.downloads() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert run("models", "path", model).returncode == 4
    assert all(Path(name).suffix in (".part", ".incomplete") for name in remains(home))
    hub.seconds_per_chunk = 0
    assert run("models", "get", model).returncode == 0
    assert run("models", "path", model).returncode == 0


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_malicious_pickle(hub: Hub, run: RunModels, tmp_path: Path, home: Path, how: str) -> None:
    if how == "torch":
        torch.save({"params": Evil()}, tmp_path / "evil.pth")
    else:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"params": Evil()}))
    hub.files[SERVED] = (tmp_path / "evil.pth").read_bytes()
    assert_refused(run("models", "get", NAME, cwd=tmp_path), "wants to run code", home)
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
)  # fmt: skip
def test_absurd_safetensors(hub: Hub, run: RunModels, home: Path, content: bytes) -> None:
    hub.files["owner/repo/net.safetensors"] = content
    assert_refused(run("models", "get", "owner/repo"), "damaged", home)


def test_second_place(hub: Hub, run: RunModels, official: bytes, tmp_path: Path, home: Path) -> None:
    url = f"{hub.url}/direct/net.pth"
    also = catalogued(tmp_path, official, url=url)
    result = run("models", "get", "net-x2", also=also)
    assert_refused(result, "owner/repo:net.pth: no such repository", home)
    assert f"; {url}: not found (404)" in result.stderr
    hub.files["direct/net.pth"] = official
    hub.requests.clear()
    assert get_and_path(run, also)
    assert not any(r.authorized for r in hub.requests if "/direct/" in r.path), "the token is the Hub's"
    assert any(r.authorized for r in hub.requests), "which gets it"


def test_trust_on_first_use(hub: Hub, run: RunModels, official: bytes, home: Path) -> None:
    url = f"{hub.url}/direct/net.pth"
    hub.files["direct/net.pth"] = official
    assert "trusted on first use" in run("models", "get", url).stderr
    Path(run("models", "path", url).stdout.strip()).unlink()
    hub.files["direct/net.pth"] = official[:-1] + bytes([official[-1] ^ 1])
    result = run("models", "get", url)
    assert result.returncode == 4
    assert f"rgt models remove {url}" in result.stderr
    hub.files["direct/net.pth"] = official
    assert run("models", "get", url).returncode == 0
    assert run("models", "remove", url).returncode == 0
    assert remains(home) == []


def test_auto_on_cuda(hub: Hub, environment: dict[str, str], official: bytes, tmp_path: Path) -> None:
    """The published model where it can be had, else the bundled one and a word about it."""
    code = (
        "from rgt_cli.checkpoints import resolve; r = resolve('auto', 2, 'cuda'); print(r.name, r.notes)"
    )

    def chosen(**also: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment | also, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    entry = catalogued(tmp_path, official, short="rgt")["RGT_CATALOGUE"]
    Path(entry).write_text(Path(entry).read_text().replace("[net-x2]", "[rgt-x2]"))
    shown = chosen(RGT_CATALOGUE=entry)
    assert shown.startswith("rgt-tiny-x2 ")
    assert "no such repository" in shown
    hub.files[SERVED] = official
    assert chosen(RGT_CATALOGUE=entry) == "rgt-x2 ()\n"


def test_published_size_over_a_connection_that_breaks(
    hub: Hub, run: RunModels, tmp_path: Path, micro_checkpoint: Path
) -> None:
    """The keys and shapes of the published RGT-S at x4, 135 MB with all its buffers, cut at 50 %."""
    state = {}
    for key, (shape, dtype) in OFFICIAL["RGT_S_x4"].items():
        kind = getattr(torch, dtype)
        state[key] = (
            torch.randn(shape).to(kind) if kind.is_floating_point else torch.zeros(shape, dtype=kind)
        )
        if key.endswith("attns.0.rpe_biases"):
            state[key] = torch.cartesian_prod(torch.arange(-7.0, 8), torch.arange(-31.0, 32))
    torch.save({"params": state}, tmp_path / "RGT_S_x4.pth")
    hub.files["owner/repo/RGT_S_x4.pth"] = (tmp_path / "RGT_S_x4.pth").read_bytes()
    assert len(hub.files["owner/repo/RGT_S_x4.pth"]) == pytest.approx(135_963_303, rel=0.01)
    hub.cuts = 1
    result = run("models", "get", "owner/repo")
    assert result.returncode == 0, result.stderr
    first, second = hub.downloads()
    assert first.range is None
    assert int(second.range.removeprefix("bytes=").rstrip("-")) > 60e6, "went on from the middle"
    slim = Path(run("models", "path", "owner/repo").stdout.strip())
    assert slim.stat().st_size == pytest.approx(41e6, rel=0.01)
    info = run("models", "info", "owner/repo").stdout
    assert_matches(r"architecture +RGT-S: 6 groups, 36 blocks", info)
    assert_matches(r"parameters +10\.20 M", info)
    assert_matches(r"upscale +4", info)
    giga = float(info.split("multiply-adds")[1].split()[0])
    assert giga == pytest.approx(193.08, rel=0.01)


def test_convert(run: RunModels, official: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "net.pth", tmp_path / "net.safetensors"
    source.write_bytes(official)
    target.write_bytes(b"precious")
    assert run("models", "convert", source, target).returncode == 2
    assert target.read_bytes() == b"precious"
    assert run("models", "convert", source, target, "--overwrite").returncode == 0
    expected, network = load_network(source), load_network(target)
    assert dataclasses.asdict(network.config) == dataclasses.asdict(expected.config)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in expected.state_dict().items())
    assert run("models", "convert", source, tmp_path / "half.safetensors", "--fp16").returncode == 0
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * target.stat().st_size
    assert run("models", "convert", source, tmp_path / "none" / "x.safetensors").returncode == 6
    assert (
        run("models", "convert", tmp_path / "nonesuch.pth", tmp_path / "y.safetensors").returncode == 4
    )
