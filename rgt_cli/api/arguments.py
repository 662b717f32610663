"""The keyword arguments of the API: the options of `rgt upscale`, parsed and checked as it does."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from rgt_cli import values
from rgt_cli.errors import UsageError
from rgt_cli.jobs import Existing, ImageOptions, JobOptions, ModelOptions, OutputOptions, VideoOptions
from rgt_cli.media import format_named
from rgt_cli.size import Size

if TYPE_CHECKING:  # arguments must not wait for torch
    from rgt_cli.inference.device import Precision

PathLike = str | os.PathLike[str]
"""The path of a file or a folder."""
_EXISTING = ("overwrite", "skip_existing", "update")
"""The flags that determine what happens to existing outputs."""
Options = TypeVar("Options", ModelOptions, ImageOptions, VideoOptions, OutputOptions)


class ModelArguments(TypedDict, total=False):
    """Which model computes, how, and to which size."""

    model: PathLike
    scale: float | str | None
    width: int | None
    height: int | None
    fit: str | tuple[int, int] | None
    device: str
    precision: Precision
    tile: int | Literal["auto", "none"]
    overlap: int | None
    batch_size: int | None
    memory: int | str | None
    threads: int | None
    self_ensemble: bool
    alpha: Literal["network", "lanczos"]


class FileArguments(ModelArguments, total=False):
    """The options for one file, each named like that of `rgt upscale`."""

    format: str | None
    name: str
    strip: bool
    strip_gps: bool
    keep_times: bool
    overwrite: bool
    skip_existing: bool
    update: bool
    max_pixels: int | str
    quality: int
    lossless: bool
    bits: Literal[8, 16] | None
    background: str | tuple[int, int, int] | None
    dpi: float | Literal["keep", "scale"]
    codec: str | None
    crf: float | None
    preset: str | None
    pix_fmt: str | None
    encoder_args: str | Sequence[str]
    deinterlace: bool
    fields: bool
    inverse_telecine: bool
    square_pixels: bool
    maps: str | Sequence[str]
    fps: float | str | None
    start: float | str | None
    end: float | str | None
    segment_seconds: float


class FolderArguments(FileArguments, total=False):
    """The options for many files, each named like that of `rgt upscale`."""

    recursive: bool
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    fail_fast: bool


def parse(given: Mapping[str, Any], known: type, function: str) -> dict[str, Any]:
    """Return the arguments that are given, parsed. None means that one is not given.

    Args:
        given: Arguments by name.
        known: The class that lists the names.
        function: The name of the function that they were passed to.

    Raises:
        TypeError: A name is unknown.
        UsageError: A value is not valid.
    """
    parsed = {}
    for name, value in given.items():
        if name not in known.__annotations__:
            near = difflib.get_close_matches(name, known.__annotations__, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise TypeError(f"{function}() has no argument {name!r}{hint}")
        if value is not None:
            try:
                parsed[name] = _PARSERS[name](value)
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from error
    return parsed


def size_of(parsed: Mapping[str, Any]) -> Size | None:
    """Return the requested size; None if it is that of the model.

    Raises:
        UsageError: It is requested in several ways.
    """
    return values.requested_size(
        scale=parsed.get("scale"),
        width=parsed.get("width"),
        height=parsed.get("height"),
        fit=parsed.get("fit"),
    )


def model_options(parsed: Mapping[str, Any]) -> ModelOptions:
    """Return the options of the model."""
    return _build(ModelOptions, parsed)


def job_options(parsed: Mapping[str, Any], target: Path | None) -> JobOptions:
    """Return the options of a job whose output is `target`, or in it."""
    limit = {"max_pixels": parsed["max_pixels"]} if "max_pixels" in parsed else {}
    return JobOptions(
        image=_build(ImageOptions, parsed),
        video=_build(VideoOptions, parsed),
        output=_build(OutputOptions, {**parsed, "target": target}),
        existing=Existing.of(**{name: parsed.get(name, False) for name in _EXISTING}),
        **limit,
    )


def parse_path(value: object, name: str) -> Path:
    """Return a path.

    Raises:
        UsageError: It is empty, or not a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"{name}: {type(value).__name__} is not a path")
    path = os.fspath(value)
    if not path or not isinstance(path, str):
        raise UsageError(f"{name}: {path!r} is not a path")
    return Path(path)


def _build(kind: type[Options], parsed: Mapping[str, Any]) -> Options:
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in parsed.items() if name in names})


def _parse_flag(value: Any) -> bool:
    if value is not True and value is not False:
        raise UsageError(f"{value!r} is not a flag: use True or False")
    return bool(value)


def _parse_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{value!r} is not a string")
    return value


def _parse_model(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise UsageError(f"{value!r} is not a model: use a name, an address or a path")
    return str(os.fspath(value))  # not a `Path`, which would shorten the slashes of an address


def _parse_format(value: Any) -> str:
    return format_named(_parse_text(value)).name


def _parse_texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(_parse_text(text) for text in value)


def _whole(least: int, most: int | None = None) -> Callable[[Any], int]:
    return functools.partial(values.parse_whole_number, least=least, most=most)


def _choice(*choices: Any) -> Callable[[Any], Any]:
    return functools.partial(values.parse_choice, choices=choices)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "model": _parse_model,
    "scale": values.parse_scale,
    "width": _whole(1),
    "height": _whole(1),
    "fit": values.parse_box,
    "device": _parse_text,
    "precision": _choice("auto", "fp32", "fp16", "bf16"),
    "tile": values.parse_tile,
    "overlap": _whole(0),
    "batch_size": _whole(1),
    "memory": values.parse_memory,
    "threads": _whole(1),
    "alpha": _choice("network", "lanczos"),
    "format": _parse_format,
    "name": _parse_text,
    "max_pixels": values.parse_pixels,
    "quality": _whole(1, 100),
    "bits": _choice(8, 16),
    "background": values.parse_color,
    "dpi": values.parse_dpi,
    "codec": _parse_text,
    "crf": values.parse_number,
    "preset": _parse_text,
    "pix_fmt": _parse_text,
    "encoder_args": values.parse_arguments,
    "fps": values.parse_frame_rate,
    "start": values.parse_time,
    "end": values.parse_time,
    "segment_seconds": functools.partial(values.parse_number, least=0.1),
    "include": _parse_texts,
    "exclude": _parse_texts,
    "maps": _parse_texts,
    **dict.fromkeys(
        ("self_ensemble", "strip", "strip_gps", "keep_times", "overwrite", "skip_existing", "update",
         "lossless", "deinterlace", "fields", "inverse_telecine", "square_pixels", "recursive",
         "fail_fast"),
        _parse_flag,
    ),
}  # fmt: skip
"""Name of an argument -> what parses its value."""
