"""`Check`: one thing that was examined."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_PATH = re.compile(r"(?<![\w/:.~-])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,()'\"]+){2,}")
"""A path of two or more parts, but not the address of a web page."""


class State(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Something is missing that most people do not need."""
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was examined."""

    name: str
    text: str
    """The finding, in words."""
    state: State = State.OK
    command: str = ""
    """The shell command that fixes it or adds what is missing; empty if there is none."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """The finding for programs: values that JSON can represent."""
    public: str = ""
    """The finding for a bug report, if `text` contains private names."""

    @property
    def public_text(self) -> str:
        """The finding for a bug report. It has no paths, which may contain names of people."""
        return _PATH.sub("PATH", without_home(self.public or self.text))


def without_home(text: str) -> str:
    """Return a text with `~` in place of the user's home folder."""
    try:
        home = str(Path.home())
    except RuntimeError:  # in a container, the user may have none
        return text
    return text.replace(home, "~") if len(home) > 1 else text


def set_variable(name: str, value: str | None) -> str:
    """Return the command that sets an environment variable in a shell, or unsets it for None."""
    if sys.platform == "win32":
        return f"set {name}={value or ''}"
    return f"unset {name}" if value is None else f"export {name}={value}"
