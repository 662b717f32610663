"""The arguments of the API are the options of `rgt upscale`."""

import click
import pytest

import rgt_cli
from rgt_cli.api.arguments import FileArguments, FolderArguments, model_options, parse
from rgt_cli.cli.upscale import upscale
from rgt_cli.errors import UsageError
from rgt_cli.jobs import ImageOptions, ModelOptions, VideoOptions

ELSEWHERE = {"target": "an argument of its own", "from_file": "a list", "null": "a list"}
"""Options that the functions of the API have in another form."""
OF_THE_TERMINAL = {
    "profile",
    "dry_run",
    "preview",
    "watch",
    "report",
    "print_events",
    "debug",
    "verbose",
    "quiet",
}
OF_WORKERS = {"cluster", "workers"}
OF_FOLDERS = {"recursive", "include", "exclude", "fail_fast"}


def test_every_option_of_the_command_is_an_argument() -> None:
    named = (
        {option.name for option in upscale.params if isinstance(option, click.Option)}
        - ELSEWHERE.keys()
        - OF_THE_TERMINAL
        - OF_WORKERS
    )
    assert FolderArguments.__annotations__.keys() == named
    assert FileArguments.__annotations__.keys() == named - OF_FOLDERS


def test_every_argument_has_a_parser_that_accepts_the_default_of_the_command() -> None:
    defaults = {option.name: option.get_default(click.Context(upscale)) for option in upscale.params}
    for name in FolderArguments.__annotations__:
        default = defaults[name]
        if isinstance(default, (str, int, float)) and default != "":
            assert parse({name: default}, FolderArguments, "f") == {name: default}
        else:
            assert parse({name: None}, FolderArguments, "f") == {}


def test_arguments_that_are_not_given_have_the_defaults_of_the_options() -> None:
    nothing = parse(dict.fromkeys(FolderArguments.__annotations__), FolderArguments, "f")
    assert nothing == {}
    assert rgt_cli.Upscaler("tiny").options == ModelOptions(model="tiny")
    assert ImageOptions().alpha == "network"
    assert VideoOptions().segment_seconds == 10


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tile", 0, "tile: 0 is too small for a tile"),
        ("scale", "big", "scale: 'big' is not a factor"),
        ("memory", "4X", "memory: '4X' is not an amount of memory"),
        ("width", 0, "width: 0 is out of range: use at least 1"),
        ("quality", 101, "quality: 101 is out of range: use 1 to 100"),
        ("bits", 12, "bits: 12 is not supported: use 8 or 16"),
        ("bits", True, "bits: True is not supported"),
        ("alpha", "none", "alpha: 'none' is not supported: use network or lanczos"),
        ("precision", "int8", "precision: 'int8' is not supported"),
        ("strip", "no", "strip: 'no' is not a flag: use True or False"),
        ("format", "docx", "format: 'docx'"),
        ("codec", 5, "codec: 5 is not a string"),
        ("model", 5, "model: 5 is not a model"),
        ("start", -1, "start: -1 is not a time"),
        ("segment_seconds", 0, "segment_seconds: 0 is out of range: use at least 0.1"),
    ],
)
def test_values_are_refused_with_the_name_of_the_argument(name: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse({name: value}, FolderArguments, "f")
    assert str(caught.value).startswith(words)


def test_an_overlap_is_below_the_tile() -> None:
    with pytest.raises(UsageError, match="--overlap 40: must be smaller than --tile 32"):
        model_options(parse({"tile": "32", "overlap": 40}, FolderArguments, "f"))


def test_an_unknown_argument_is_answered_with_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"\(\) has no argument 'overwite': did you mean overwrite"):
        rgt_cli.upscale_file("in.png", overwite=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no argument 'recursive'"):
        rgt_cli.upscale_file("in.png", recursive=True)  # type: ignore[call-arg]


def test_addresses_of_models_keep_their_slashes() -> None:
    assert parse({"model": "hf://a/b"}, FileArguments, "f") == {"model": "hf://a/b"}
