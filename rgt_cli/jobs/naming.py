"""How outputs in a folder are named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rgt_cli.errors import UsageError
from rgt_cli.jobs.job import is_video_name
from rgt_cli.jobs.options import OutputOptions
from rgt_cli.jobs.source_list import Source, name_of, split_name
from rgt_cli.media import CONTAINERS, FORMATS, Format, container_of, is_installed
from rgt_cli.size import Size

_SUFFIX_WITHOUT_PLUGIN = ".jpg"
"""The suffix of the output of an input whose own format needs a plugin that is not installed."""
_SUFFIXES_OF_INPUTS = {".mpo": ".jpg"}
"""Suffix of an input that is not written -> that of its output, unless it is `.png`."""
LONGEST_NAME = 255
"""Bytes of a file name on the usual file systems."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How outputs in a folder are named.

    Raises:
        UsageError: The requested format is unknown.
    """

    size: Size
    output: OutputOptions

    @cached_property
    def _wanted(self) -> Format | None:
        """The requested format."""
        return self.output.requested_format

    @cached_property
    def _suffixes(self) -> dict[str, str]:
        """Suffix of an input -> suffix of its output."""
        return {}

    @cached_property
    def _fields(self) -> dict[str, Any]:
        """The fields of the template that are the same for all inputs."""
        return {"size": self.size, "scale": f"{self.size.scale:g}" if self.size.scale else self.size}

    def relative(self, source: Source, index: int, stem: str) -> str:
        """Return the place of an output in its folder.

        Raises:
            UsageError: The template has an unknown field, or leads out of the folder.
        """
        template, own = self.output.name, split_name(source.name)[1]
        if (suffix := self._suffixes.get(own)) is None:
            suffix = self._suffixes[own] = self._suffix(own)
        fields = {"ext": suffix, "name": source.name, "index": index, **self._fields}
        try:
            name: str = template.format(stem=stem, **fields)
            excess = len(os.fsencode(name_of(name))) - LONGEST_NAME
            if excess > 0:
                name = template.format(stem=os.fsdecode(os.fsencode(stem)[:-excess]), **fields)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise UsageError(
                f"--name {template!r}: {error} is not a field: "
                "use {stem}, {ext}, {name}, {size}, {scale} or {index}"
            ) from error
        if name_of(name) == name and split_name(name)[1]:  # the usual case, and a quick one
            return source.place.relative_prefix + name
        relative = Path(source.place.relative, name)
        if Path(name).name and not relative.suffix:
            raise UsageError(f"--name {template!r}: gives a name without a suffix: add {{ext}}")
        if not Path(name).name or Path(name).is_absolute() or ".." in relative.parts:
            raise UsageError(f"--name {template!r}: leads out of the output folder")
        return os.fspath(relative)

    def _suffix(self, own: str) -> str:
        """Return the suffix of the requested format if the input can be converted, else its own.

        Args:
            own: The suffix of the input.
        """
        is_video = is_video_name(Path(f"_{own}"))
        if self._wanted and (not is_video or container_of(self._wanted)):
            return self._wanted.suffixes[0]
        if kept := next((f for f in (*FORMATS, *CONTAINERS) if own.lower() in f.suffixes), None):
            return own if is_installed(kept) else _SUFFIX_WITHOUT_PLUGIN
        return ".mkv" if is_video else _SUFFIXES_OF_INPUTS.get(own.lower(), ".png")
