"""Formats by name and suffix, and what is missing without a plugin."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rgt_cli.errors import UsageError
from rgt_cli.media import (
    CONTAINERS,
    FORMATS,
    READABLE,
    VIDEO_READABLE,
    Container,
    Format,
    ImageFormat,
    container_of,
    format_named,
    format_of,
)

ANY_FORMAT = pytest.mark.parametrize("file_format", [*FORMATS, *CONTAINERS], ids=lambda f: f.name)


@ANY_FORMAT
def test_format_has_its_name_and_suffixes(file_format: Format) -> None:
    for name in (file_format.name, *(suffix[1:] for suffix in file_format.suffixes)):
        assert format_named(name) is format_named(name.upper()) is file_format
    for suffix in file_format.suffixes:
        assert format_of(Path(f"a.b{suffix}")) is format_of(Path(f"A{suffix.upper()}")) is file_format


def test_names_and_suffixes_are_unique() -> None:
    everything = [name for f in (*FORMATS, *CONTAINERS) for name in (f.name, *f.suffixes)]
    assert len(everything) == len(set(everything))
    assert not READABLE & VIDEO_READABLE


@pytest.mark.parametrize("name", ["docx", "", "jpg2", ".png"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"not a known format.*png"):
        format_named(name)


@pytest.mark.parametrize("name", ["a.docx", "a", "a.avi", "a.ppm"])
def test_unknown_suffixes_are_refused(name: str) -> None:
    """Some of them can be read, but none can be written."""
    with pytest.raises(UsageError, match=rf"^{name}: .*\.png"):
        format_of(Path(name))


@ANY_FORMAT
def test_containers_of_formats(file_format: Format) -> None:
    container = container_of(file_format)
    if isinstance(file_format, Container):
        assert container is file_format
    elif file_format.name == "gif":
        assert container
        assert (container.name, container.muxer, container.suffixes) == ("gif", "gif", (".gif",))
    else:
        assert container is None


@pytest.mark.parametrize("name", ["heif", "jxl"])
def test_missing_plugins_are_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without_plugins(module: str) -> Any:
        return None if module.startswith("pillow_") else found(module)

    monkeypatch.setattr(importlib.util, "find_spec", without_plugins)
    file_format = next(f for f in FORMATS if f.name == name)
    assert isinstance(file_format, ImageFormat)
    message = rf"^{name.upper()} support is not installed.*rgt-cli\[formats\]"
    with pytest.raises(UsageError, match=message):
        format_named(name)
    with pytest.raises(UsageError, match=message):
        format_of(Path(f"a{file_format.suffixes[0]}"))
    assert format_named("png").name == "png"
