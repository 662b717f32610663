"""`rgt models suggest`: which model suits each input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import click

from rgt_cli.checkpoints.catalogue import CatalogueEntry
from rgt_cli.checkpoints.resolve import automatic_entries
from rgt_cli.cli import options
from rgt_cli.cli.candidates import files
from rgt_cli.cli.command import Command, common
from rgt_cli.cli.console import Console
from rgt_cli.cli.json_output import print_json
from rgt_cli.cli.param_types import InputType
from rgt_cli.errors import ExitCode, InputError, NoInputError
from rgt_cli.jobs import SourceFilter, find_sources
from rgt_cli.jobs.automatic import COMPRESSED, compression_of_file
from rgt_cli.jobs.job import is_video_name
from rgt_cli.media import frames_in, shown_size
from rgt_cli.size import Dimensions


@dataclass(frozen=True, kw_only=True)
class SuggestedModel:
    """A model that suits an input. The fields are the keys of the JSON output."""

    name: str
    """The short name."""
    seconds: float | None
    """Estimated time for the input at x4, in fp32 on two CPU cores; None if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """The models that suit an input. The fields are the keys of the JSON output."""

    source: str
    """The path of the input."""
    source_size: Dimensions
    """Size in pixels."""
    frames: int | None
    """Number of frames or pages; None if the file does not reveal it."""
    compressed: bool
    """Whether the input counts as compressed."""
    reason: str
    """What the file reveals of that."""
    models: tuple[SuggestedModel, ...]
    """The bundled model, and the published one if there is one of this factor."""


@click.command(cls=Command)
@click.argument("sources", metavar="INPUT...", nargs=-1, type=InputType(), shell_complete=files)
@options.recursive
@options.native_scale
@options.json_flag
@common
@click.pass_obj
def suggest(
    console: Console, sources: tuple[Path, ...], recursive: bool, scale: int | None, as_json: bool
) -> int:
    """Suggest a model for each image and video, with the reason.

    \b
    Examples:
      rgt models suggest photo.jpg clip.mkv
      rgt models suggest photos -r -s 2
      rgt models suggest photos --json      for a program

    INPUT is a file, a folder or a glob pattern. `rgt upscale` chooses by the same rules if -m is not
    given.
    """
    if not sources:
        raise NoInputError("no input files given: `rgt models suggest --help` shows examples")
    scan = find_sources(sources, SourceFilter(recursive=recursive))
    if not scan.sources:
        raise NoInputError(f"{sources[0]}: no images or videos found{scan.why_nothing_found()}")
    found, code = [], ExitCode.DONE
    for source in scan.sources:
        try:
            found.append(suggest_model(source.path, scale))
        except InputError as error:
            console.error(str(error))
            code = ExitCode.SOME_FAILED
    if as_json:
        print_json({"inputs": [asdict(suggestion) for suggestion in found]})
    elif found:
        _print(console, found)
    return code


def suggest_model(path: Path, scale: int | None) -> Suggestion:
    """Return the models that suit a file.

    Args:
        path: An image or a video.
        scale: The factor; None is 4.

    Raises:
        InputError: The file cannot be read.
    """
    size, frames = _size_and_frames(path)
    compression = compression_of_file(path)
    megapixels = size.width * size.height * (frames or math.nan) / 1e6
    models = [entry for entry in automatic_entries(compression.model, scale) if entry]
    return Suggestion(
        source=str(path),
        source_size=size,
        frames=frames,
        compressed=compression.model == COMPRESSED,
        reason=compression.reason,
        models=tuple(_with_time(entry, megapixels) for entry in models),
    )


def _with_time(entry: CatalogueEntry, megapixels: float) -> SuggestedModel:
    pace = entry.seconds_per_megapixel
    is_known = pace is not None and not math.isnan(megapixels)
    return SuggestedModel(name=entry.short, seconds=pace * megapixels if pace and is_known else None)


def _size_and_frames(path: Path) -> tuple[Dimensions, int | None]:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not is_video_name(path):
        return shown_size(path), frames_in(path)
    from rgt_cli.media.video.probe import probe  # imports libraries that images do not need

    video = probe(path)
    return video.size, video.frames


def _print(console: Console, found: Sequence[Suggestion]) -> None:
    rows = []
    for each in found:
        frames = "" if each.frames == 1 else f", {each.frames or '?'} frames"
        reason = f"{'compressed' if each.compressed else 'clean'}: {each.reason}"
        models = [f"{model.name}, {_time(model.seconds)}" for model in each.models]
        rows.append([each.source, f"{each.source_size}{frames}", reason, *models, ""][:5])
    console.table(["input", "size", "reason", "model", "published model"], rows)
    console.info(
        "The first model is bundled; the published one is better and slower. "
        "Times are for x4 on two CPU cores; GPUs are much faster"
    )


def _time(seconds: float | None) -> str:
    return "?" if seconds is None else str(timedelta(seconds=math.ceil(seconds)))
