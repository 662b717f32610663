"""Completion in real shells, the scripts and where they are installed, and what is offered."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rgt_cli.checkpoints.catalogue import catalogue
from rgt_cli.cli.completion import completer
from rgt_cli.cli.console import Console
from rgt_cli.cli.main import COMMANDS, cli
from rgt_cli.errors import OutputError
from tests.helpers.process import RunRGT, command, forked_command
from tests.helpers.terminal import Terminal, on_terminal

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


def needs(shell: str) -> pytest.MarkDecorator:
    """Return the mark of tests that need a shell."""
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"the shell {shell} is not installed")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with `rgt` on PATH, and a home of its own."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    program = programs / "rgt"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(forked_command())} "$@"\n')
    program.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "BASH_", "ZDOTDIR"))}
    return kept | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "HF_HOME": str(tmp_path / "models"),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with an image, and a folder whose name has a space."""
    folder = tmp_path / "work"
    (folder / "my photos").mkdir(parents=True)
    (folder / "portrait.png").touch()
    (folder / "own-model.pth").touch()
    return folder


def install(shell: str, rgt: RunRGT, environment: dict[str, str]) -> str:
    """Install the script for a shell, and return what is printed."""
    result = rgt("completion", shell, "--install", env=environment)
    assert (result.returncode, result.stdout) == (0, "")
    return str(result.stderr)


def check_lines(terminal: Terminal) -> None:
    """Check what the Tab key makes of lines, in any shell."""
    for line, added in {
        "rgt upscale --dev": "ice ",
        "rgt upscale -m tiny-p": "hoto ",
        "rgt upscale -m own": "-model.pth ",
        "rgt upscale my": r"\\ photos/",
        "rgt evaluate --compare tiny,textu": "re",
    }.items():
        terminal.type(f"{line}\t")
        terminal.wait_for(line.partition(" ")[2] + added)
        terminal.type("\x15")  # clears the line


@needs("bash")
@pytest.mark.skipif(not BASH_COMPLETION.exists(), reason="the package bash-completion is not installed")
def test_bash_loads_the_installed_script(rgt: RunRGT, environment: dict[str, str], folder: Path) -> None:
    assert "bash-completion/completions/rgt: written" in install("bash", rgt, environment)
    with on_terminal(["bash", "--norc", "--noprofile", "-i"], folder, environment) as bash:
        bash.type(f". {BASH_COMPLETION}; echo RE''ADY\n")
        bash.wait_for("READY")
        check_lines(bash)
        bash.type("rgt upscale --precision=bf\t")
        bash.wait_for("--precision=bf16")


@needs("bash")
def test_bash_evaluates_the_printed_script(environment: dict[str, str], folder: Path) -> None:
    lines = [
        'eval "$(rgt completion bash)"', "complete -p rgt",
        "COMP_WORDS=(rgt upscale -m tiny) COMP_CWORD=3", "_rgt_completion rgt",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]  # fmt: skip
    result = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.stdout.splitlines()[1:] == ["tiny", "tiny-photo"], result.stderr


@needs("zsh")
def test_zsh_loads_the_installed_script(rgt: RunRGT, environment: dict[str, str], folder: Path) -> None:
    hint = install("zsh", rgt, environment)
    setting = hint.partition("before compinit, add: ")[2].strip()
    with on_terminal(["zsh", "-f", "-i"], folder, environment) as zsh:
        zsh.type(f"{setting}; autoload -Uz compinit; compinit -u -D; echo RE''ADY\n")
        zsh.wait_for("READY")
        check_lines(zsh)
        zsh.type("rgt upscale --over\t")
        zsh.wait_for(r"--overlap +-- \w+")


@needs("fish")
def test_fish_loads_the_installed_script(rgt: RunRGT, environment: dict[str, str], folder: Path) -> None:
    assert "fish/completions/rgt.fish: written" in install("fish", rgt, environment)
    photo = catalogue()["realwebphoto-v2-s-x4"].description
    assert "; " in photo
    assert ", " in photo
    lines = {
        "rgt upsc": [f"upscale\t{COMMANDS['upscale']}"],
        "rgt upscale -m photo-": [f"photo-s\t{photo}"],
        "rgt upscale --precision bf": ["bf16"],
        "rgt upscale my": ["my photos/"],
        "rgt evaluate --compare tiny,photo-": [f"tiny,photo-s\t{photo}"],
    }
    script = "; echo ==; ".join(f"complete -C {shlex.quote(line)}" for line in lines)
    result = subprocess.run(
        ["fish", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    found = [answer.strip("\n").splitlines() for answer in result.stdout.split("==\n")]
    assert dict(zip(lines, found, strict=True)) == lines, result.stderr


def call(*arguments: str, **environment: str) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(cli, ["completion", *arguments], obj=Console(), env=environment)


def test_variables_determine_where_scripts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASH_COMPLETION_USER_DIR", raising=False)
    own = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    expected = {
        "bash": "data/bash-completion/completions/rgt",
        "zsh": "data/zsh/site-functions/_rgt",
        "fish": "config/fish/completions/rgt.fish",
    }
    for shell, name in expected.items():
        assert call(shell, "--install", **own).exit_code == 0
        assert (tmp_path / name).read_text() == call(shell).stdout
    other = tmp_path / "bash"
    assert call("bash", "--install", **own, BASH_COMPLETION_USER_DIR=str(other)).exit_code == 0
    assert (other / "completions" / "rgt").exists()


def test_a_script_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call("fish", "--install", XDG_CONFIG_HOME=str(tmp_path / "file"))
    assert isinstance(result.exception, OutputError)
    assert "rgt.fish: cannot be written" in str(result.exception)


def test_the_shell_is_named() -> None:
    assert call().exit_code == 2
    assert call("tcsh").exit_code == 2


def offered(line: str, **environment: str) -> list[str]:
    """Return what is offered for the last word of a line."""
    words = line.split(" ")
    result = subprocess.run(
        forked_command(),
        env=os.environ
        | {"_RGT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        | environment,
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    return [item.removeprefix("plain,") for item in result.stdout.splitlines() if item]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rgt conf", ["config"]),
        ("rgt upscale in.png --ou", ["--output"]),
        ("rgt upscale --no-str", ["--no-strip", "--no-strip-gps"]),
        ("rgt upscale -m RGT-TINY-PHOTO", ["rgt-tiny-photo-x2", "rgt-tiny-photo-x4"]),
        ("rgt upscale -m ./x", ["file,./x"]),
        ("rgt upscale --format jp", ["jpeg"]),
        ("rgt upscale --codec ff", ["ffv1"]),
        ("rgt upscale --device al", ["all"]),
        ("rgt bench --device al", []),
        ("rgt bench --precision fp32,b", ["fp32,bf16"]),
        ("rgt evaluate --hr a", ["dir,a"]),
        ("rgt compare in.png -m tiny,photo-", ["tiny,photo-s"]),
        ("rgt compare in.png -m ./x", ["file,./x"]),
        ("rgt compare in.png -m tiny,./x", []),
        ("rgt compare i", ["file,i"]),
        ("rgt models d", ["download"]),
        ("rgt models download tiny photo-", ["photo-s"]),
        ("rgt unknown --x", []),
        ("rgt upscale --unknown --tile n", ["none"]),
    ],
)
def test_what_is_offered(line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    items = completer(cli, "bash").complete().splitlines()
    assert [item.removeprefix("plain,") for item in items] == expected


def test_profiles_are_offered(tmp_path: Path) -> None:
    own = tmp_path / "rgt" / "rgt.toml"
    own.parent.mkdir()
    own.write_text("[profile.clips]\n[profile.print]\n")
    place = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert offered("rgt upscale --profile ", **place) == ["clips", "print"]
    own.write_text("broken")
    assert offered("rgt upscale --profile ", **place) == []


def test_names_of_a_catalogue_of_ones_own_are_offered_and_a_broken_one_prints_nothing(
    tmp_path: Path,
) -> None:
    catalogue = tmp_path / "own.toml"
    catalogue.write_text(
        '[mine-x4]\nshort = "mine"\nvariant = "RGT"\nscale = 4\npurpose = "photo"\ndescription = "x"\n'
        'license = "MIT"\nauthor = "me"\nhub = "a/b"\nfile = "c.pth"\n'
    )
    assert offered("rgt upscale -m mi", RGT_CATALOGUE=str(catalogue)) == ["mine"]
    catalogue.write_text("broken")
    assert offered("rgt upscale -m mi", RGT_CATALOGUE=str(catalogue)) == []


def test_completion_does_not_import_torch() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        "from rgt_cli.cli import main; main([])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"_RGT_COMPLETE": "bash_complete", "COMP_WORDS": "rgt upscale -m ti", "COMP_CWORD": "3"},
        capture_output=True,
        text=True,
    )
    assert result.stdout.splitlines() == ["plain,tiny", "plain,tiny-photo", "False"]


def test_the_script_of_completion_is_printed_by_a_new_process() -> None:
    result = subprocess.run(command("completion", "zsh"), capture_output=True, text=True, check=True)
    assert result.stdout.startswith("#compdef rgt\n")
