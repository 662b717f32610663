"""Configuration: what files, profiles and variables set, in which order, and what is refused."""

from __future__ import annotations

import json
import os
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from rgt_cli import upscale_file
from rgt_cli.cli.configuration import NOT_FROM_FOLDERS, keys_of
from rgt_cli.cli.console import Console
from rgt_cli.cli.main import cli
from rgt_cli.cli.upscale import upscale
from rgt_cli.errors import NoInputError, UsageError
from tests.helpers.docs import REFERENCE, code_blocks
from tests.helpers.process import UNPRIVILEGED, run_rgt

EXAMPLES: dict[str, Any] = {
    "from-file": ["list.txt"], "include": ["*.png", "b.jpg"], "exclude": ["a b"], "max-pixels": "10M",
    "output": "out", "format": "webp", "name": "{stem}{ext}", "scale": 2, "width": 100, "height": 80,
    "fit": "100x80", "model": "tiny", "device": "cpu", "precision": "fp32", "tile": 64, "overlap": 8,
    "batch-size": 2, "memory": "2G", "threads": 1, "quality": 80, "bits": 16, "alpha": "lanczos",
    "background": "white", "dpi": 72.5, "codec": "x265", "crf": 20.5, "preset": "fast",
    "pix-fmt": "yuv420p", "encoder-args": "-tune grain", "map": ["0:a:0"], "fps": "24000/1001",
    "start": "0:01", "end": "1:30", "segment-seconds": 5, "preview": 2, "report": "run.json",
    "cluster": "auto", "workers": 2, "verbose": 2,
}  # fmt: skip
"""A value for each option that is not a flag."""
FLAGS = {key for key, option in keys_of(upscale).items() if option.is_flag}


class Place:
    """A working folder, and the folder of the user's configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.own = folder / "own" / "rgt" / "rgt.toml"
        self.folder.mkdir()
        self.own.parent.mkdir(parents=True)
        self.local = self.folder / "rgt.toml"
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "own")}

    def run(self, *arguments: object, **environment: str) -> Any:
        """Run `rgt` in the working folder."""
        return run_rgt(*arguments, cwd=self.folder, env=self.environment | environment)

    def call(self, *arguments: str, **environment: str) -> Result:
        """Call the command in this process, which takes less time."""
        with chdir(self.folder):
            variables = {"XDG_CONFIG_HOME": self.environment["XDG_CONFIG_HOME"]} | environment
            return CliRunner().invoke(cli, arguments, obj=Console(), env=variables)

    def shown(self, *arguments: str, **environment: str) -> dict[str, tuple[Any, str, str | None]]:
        """Return the value of each option, the kind of place that set it, and its name."""
        result = self.call("config", "show", "--json", *arguments, **environment)
        assert result.exit_code == 0, result.exception
        values = json.loads(result.stdout)["values"]
        return {row["option"]: (row["value"], row["source"], row["origin"]) for row in values}

    def refused(self, *arguments: str, **environment: str) -> str:
        """Return why the usage of a command is wrong."""
        result = self.call(*arguments, **environment)
        assert isinstance(result.exception, UsageError)
        return str(result.exception)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def photo_in(place: Place, photo: np.ndarray) -> Place:
    """The working folder, with an image of 40 x 48 pixels."""
    Image.fromarray(photo[:48, :40]).save(place.folder / "in.png")
    return place


def toml(values: dict[str, Any]) -> str:
    """Return a file that sets values; JSON is TOML as far as these go."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def test_every_option_can_be_set_by_the_users_file_and_by_the_environment(place: Place) -> None:
    (place.folder / "list.txt").write_text("in.png\n")
    assert EXAMPLES.keys() | FLAGS == keys_of(upscale).keys()
    values = EXAMPLES | dict.fromkeys(FLAGS, True)
    del values["verbose"]  # would log in this process
    place.own.write_text(toml(values))
    shown = place.shown()
    del shown["verbose"]
    assert shown == {key: (value, "user", str(place.own)) for key, value in values.items()}
    place.own.unlink()
    variables = {f"RGT_{key.upper().replace('-', '_')}": text_of(value) for key, value in values.items()}
    shown = place.shown(**variables)
    del shown["verbose"]
    assert {row[1:] for row in shown.values()} == {("environment", name) for name in variables}


def text_of(value: object) -> str:
    """Return the text of an environment variable."""
    if isinstance(value, list):
        return " ".join(f"'{item}'" for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_nearest_place_wins(place: Place) -> None:
    place.own.write_text("tile = 16\nquality = 1\noverlap = 1\nthreads = 1\n[profile.p]\noverlap = 2\n")
    place.local.write_text("tile = 32\nquality = 2\n[profile.p]\nquality = 3\n")
    shown = place.shown("--profile", "p", RGT_TILE="64")
    found = {key: shown[key][:2] for key in ("tile", "quality", "overlap", "threads", "scale")}
    assert found == {
        "tile": ("64", "environment"),
        "quality": (3, "profile"),
        "overlap": (2, "profile"),
        "threads": (1, "user"),
        "scale": (None, "default"),
    }
    assert place.shown(RGT_PROFILE="p")["quality"] == (3, "profile", "rgt.toml [profile.p]")
    assert place.shown()["quality"] == (2, "folder", "rgt.toml")


def test_a_place_that_sets_one_of_several_options_replaces_all_of_them(place: Place) -> None:
    place.own.write_text("width = 100\nheight = 80\nskip-existing = true\n")
    place.local.write_text("scale = 2\n")
    shown = place.shown(RGT_UPDATE="yes")
    keys = ("scale", "width", "height", "skip-existing", "update")
    assert [shown[key][1] for key in keys] == [
        "folder", "default", "default", "default", "environment",
    ]  # fmt: skip
    place.local.unlink()
    place.own.write_text('cluster = "auto"\nworkers = 2\n[profile.here]\ndevice = "cpu"\n')
    shown = place.shown("--profile", "here")
    assert [shown[key][0] for key in ("device", "cluster", "workers")] == ["cpu", None, None]


def test_a_run_follows_its_configuration_and_the_command_line_wins(photo_in: Place) -> None:
    photo_in.own.write_text('width = 60\nmodel = "tiny-photo"\nupdate = true\nstrip = true\n')
    photo_in.local.write_text('model = "tiny"\nformat = "webp"\n[profile.p]\nformat = "bmp"\n')
    result = photo_in.run("upscale", "in.png")
    assert result.returncode == 0, result.stderr
    assert "using rgt.toml of this folder: format, model" in result.stderr
    with Image.open(photo_in.folder / "in_w60.webp") as image:
        assert image.size == (60, 72)
    assert "rgt-tiny-x2" in result.stderr
    more = ("--overwrite", "--no-strip", "-s", "2", "-m", "tiny-photo", "--profile", "p")
    result = photo_in.run("upscale", "in.png", *more, RGT_SCALE="3")
    assert result.returncode == 0, result.stderr
    assert "rgt-tiny-photo-x2" in result.stderr
    with Image.open(photo_in.folder / "in_x2.bmp") as image:
        assert image.size == (80, 96)


def test_quiet_can_be_configured(photo_in: Place) -> None:
    photo_in.local.write_text("scale = 1.5\nquiet = true\n")
    result = photo_in.run("upscale", "in.png")
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "")


REFUSED = {
    "scael = 2": ("'scael' is not an option", "scale"),
    "batch_size = 2": ("'batch_size' is not an option", "batch-size"),
    "[clips]\nscale = 2": ("'clips' is not an option", "[profile.clips]"),
    "[profile.clips]\nscael = 2": ("[profile.clips]: 'scael' is not an option", "scale"),
    "profile = 3": ("profile", "[profile.NAME]"),
    "scale = true": ("scale: true is not", "a number or a string"),
    "scale = 'big'": ("scale: 'big' is not a factor", "use a number"),
    "recursive = 'yes'": ('recursive: "yes" is not', "true or false"),
    "recursive = 1": ("recursive: 1 is not", "true or false"),
    "exclude = '*.gif'": ('exclude: "*.gif" is not', "list"),
    "scale = [2]": ("scale: [2] is not", "a number or a string"),
    "precision = 'int8'": ("precision: 'int8' is not", "fp32"),
    "quality = 101": ("quality: 101 is out of range", "100"),
    "scale = ": ("not valid TOML", "Invalid value"),
    "a = " + "[" * 9999: ("not valid TOML", ""),
}
"""Content of a file -> part of the error, and the hint."""


@pytest.mark.parametrize("content", REFUSED, ids=lambda content: content[:20])
def test_what_a_file_cannot_set_is_refused_with_its_name(place: Place, content: str) -> None:
    place.own.write_text(content)
    problem, hint = REFUSED[content]
    message = place.refused("upscale", "in.png")
    assert message.startswith(str(place.own))
    assert problem in message
    assert hint in message.split(problem, 1)[1]


def test_files_that_cannot_be_read_are_refused(place: Place) -> None:
    place.local.write_bytes(b'model = "\xff"')
    assert "rgt.toml: not valid TOML" in place.refused("config", "show")
    place.local.unlink()
    os.mkfifo(place.local)
    assert "rgt.toml: not a configuration file" in place.refused("config", "show")
    place.local.unlink()
    place.local.write_text("")
    place.local.chmod(0)
    result = run_rgt("upscale", "in.png", before=UNPRIVILEGED, cwd=place.folder, env=place.environment)
    assert result.returncode == 2
    assert result.stderr == "rgt: error: rgt.toml: cannot be read: Permission denied\n"


def test_a_profile_that_does_not_exist_is_refused_with_a_suggestion(place: Place) -> None:
    assert "no rgt.toml contains profiles" in place.refused("upscale", "in.png", "--profile", "clips")
    place.own.write_text("[profile.clips]\ncrf = 20\n")
    for name in ("cilps", "zzz"):
        message = place.refused("upscale", "in.png", "--profile", name)
        assert f"{name!r} is not a profile: did you mean clips?" in message


def test_environment_variables_are_refused_with_their_names(place: Place) -> None:
    assert "RGT_SCALE: 'big' is not a factor" in place.refused("upscale", "in.png", RGT_SCALE="big")
    assert "RGT_EXCLUDE: " in place.refused("upscale", "in.png", RGT_EXCLUDE="it's")
    assert "RGT_STRIP: " in place.refused("upscale", "in.png", RGT_STRIP="perhaps")
    for command in (["upscale", "in.png"], ["config", "show"]):
        result = place.call(*command, RGT_SCAEL="2", RGT_WHATEVER="1", RGT_SCALE="")
        assert isinstance(result.exception, NoInputError | None)
        assert "RGT_SCAEL is not used: did you mean RGT_SCALE?" in result.stderr
        assert "RGT_WHATEVER" not in result.stderr


@pytest.mark.parametrize("key", sorted(NOT_FROM_FOLDERS))
def test_a_file_in_the_working_folder_cannot_set_what_may_do_harm(place: Place, key: str) -> None:
    value = True if key in FLAGS else EXAMPLES[key]
    for content in (toml({key: value}), f"[profile.p]\n{toml({key: value})}"):
        place.local.write_text(content)
        message = place.refused("config", "show")
        assert f": {key} cannot be set by a file in the working folder" in message
        assert str(place.own) in message


def test_what_contradicts_a_configured_option_is_refused_with_the_place(photo_in: Place) -> None:
    photo_in.local.write_text("overlap = 64\nfps = 24\n")
    message = photo_in.refused("upscale", "in.png", "--tile", "48")
    assert message.startswith("--overlap 64: ")
    assert message.endswith("(--overlap is set by rgt.toml)")
    assert photo_in.refused("upscale", "in.png", "--fps", "24").startswith("--fps ")
    result = photo_in.run("upscale", "in.png", "-s", 2, "--tile", 128)
    assert result.returncode == 0, result.stderr


def test_the_example_of_the_manual_is_valid(place: Place) -> None:
    (example,) = code_blocks((REFERENCE.parent / "configuration.md").read_text(), "toml")
    place.own.write_text(example)
    shown = place.shown("--profile", "clips")
    assert shown["exclude"][:2] == (["*.gif", "drafts/*"], "user")
    assert shown["crf"][:2] == (18, "profile")


def test_the_table_lists_every_option_and_both_files(place: Place) -> None:
    place.local.write_text("scale = 2\n")
    result = place.call("config", "show", COLUMNS="300")
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert {f"--{key}" for key in keys_of(upscale)} <= lines.keys()
    assert lines["--scale"] == ["2", "rgt.toml"]
    assert str(place.local) in result.stderr
    assert f"file of the user: {place.own} (does not exist)" in result.stderr


def test_the_help_and_the_api_ignore_the_configuration(
    photo_in: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_in.local.write_text('quality = 3\nmodel = "missing"\n')
    result = photo_in.call("upscale", "--help", RGT_SCALE="big")
    assert (result.exit_code, result.stdout) == (
        0,
        CliRunner().invoke(cli, ["upscale", "--help"]).stdout,
    )
    monkeypatch.chdir(photo_in.folder)
    monkeypatch.setenv("RGT_MODEL", "missing")
    assert upscale_file("in.png", scale=2).target_size == (80, 96)
