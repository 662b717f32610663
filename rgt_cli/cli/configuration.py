"""Values of the options of `rgt upscale` that files and environment variables set.

In order of priority: the command line, the environment, a profile, `rgt.toml` in the working folder, and
`rgt.toml` in the user's configuration folder.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from rgt_cli.cli.param_types import ARGUMENTS
from rgt_cli.errors import UsageError

FILE = "rgt.toml"
PREFIX = "RGT_"
"""What precedes the name of an option in the name of its environment variable."""
PROFILES = "profile"
"""The option that selects a profile, and the table of a file whose tables are profiles."""
_MOST_BYTES = 1 << 20
"""A larger file is not a configuration."""
_EXCLUSIVE = (
    {"scale", "width", "height", "fit"},
    {"overwrite", "skip-existing", "update"},
    {"fields", "inverse-telecine"},
    {"device", "cluster"},
    {"device", "workers"},
)
"""Options that cannot be used together. A place that sets one of them replaces all of them."""
NOT_FROM_FOLDERS = frozenset(
    {
        "cluster", "encoder-args", "from-file", "max-pixels", "output", "overwrite", "report", "update",
        "workers",
    }
)  # fmt: skip
"""Options that a file in the working folder cannot set, since somebody else may have made the folder.

They replace files, reach outside of the folder, send inputs to other machines, or lift a safeguard."""

Place = Literal["environment", "profile", "folder", "user"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The value of an option, and where it comes from."""

    key: str
    """The option without its dashes."""
    value: Any
    """As TOML has it, or the text of an environment variable."""
    place: Place
    origin: str
    """The file, with the profile if there is one, or the environment variable."""


Layer = Mapping[str, Setting]
"""The settings of one place, by key."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The settings of a run."""

    settings: Layer
    """Those in effect."""
    defaults: Mapping[str, Any]
    """Their values for Click, by the names of the parameters."""

    def of_folder(self) -> list[str]:
        """Return the keys that the working folder sets."""
        local = (s.key for s in self.settings.values() if s.origin.startswith(FILE))
        return sorted(local)


def user_file() -> Path:
    """Return the path of the user's file, which need not exist."""
    from platformdirs import user_config_path  # the folder of the system, or of XDG_CONFIG_HOME

    return user_config_path("rgt", appauthor=False) / FILE


def files() -> list[tuple[Literal["folder", "user"], Path]]:
    """Return the files to read, the one with priority first. They need not exist."""
    local, own = Path(FILE), user_file()
    if exists(local) and exists(own) and local.samefile(own):
        return [("user", own)]
    return [("folder", local), ("user", own)]


def exists(path: Path) -> bool:
    """Return whether a file exists; false if the permissions of its folder hide it."""
    with suppress(OSError):
        return path.exists()
    return False


def keys_of(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command that can be configured, by their names without dashes."""
    named = {max(p.opts, key=len)[2:]: p for p in command.params if isinstance(p, click.Option)}
    named.pop(PROFILES, None)
    return named


def profile_names() -> list[str]:
    """Return the profiles in all files.

    Raises:
        UsageError: A file cannot be read.
    """
    return sorted({name for _, path in files() for name in _profiles(path, _read(path))})


def load_configuration(
    context: click.Context, profile: str | None, given: Mapping[str, Any]
) -> Configuration:
    """Read the configuration of a command.

    Args:
        context: That of the command.
        profile: The requested profile.
        given: Key -> value, for the options on the command line.

    Raises:
        UsageError: A file cannot be read, or has an unknown key; a value is refused; or there is no such
            profile.
    """
    options = keys_of(context.command)
    layers = [_environment(options), *_of_files(options, profile)]
    for layer in layers:
        for setting in layer.values():
            _check(context, options[setting.key], setting)
    settings = _merged(layers, given)
    defaults = {str(options[key].name): _text(options[key], s) for key, s in settings.items()}
    return Configuration(settings=settings, defaults=defaults)


def _environment(options: Collection[str]) -> Layer:
    return {
        key: Setting(key=key, value=os.environ[variable], place="environment", origin=variable)
        for variable, key in variables_of(options).items()
        if os.environ.get(variable)
    }


def variables_of(keys: Iterable[str]) -> dict[str, str]:
    """Return the environment variables of options -> their keys."""
    return {PREFIX + key.upper().replace("-", "_"): key for key in keys}


def _of_files(options: Collection[str], profile: str | None) -> list[Layer]:
    """Return the settings of files: those of the profile first, then those outside of profiles."""
    profiles: list[Layer] = []
    plain: list[Layer] = []
    names: list[str] = []
    for place, path in files():
        content = _read(path)
        tables = _profiles(path, content)
        content.pop(PROFILES, None)
        plain.append(_layer(path, content, place, options))
        for name, table in tables.items():
            layer = _layer(path, table, place, options, name)
            if name == profile:
                profiles.append(layer)
        names += tables
    if profile is not None and not profiles:
        near = difflib.get_close_matches(profile, names, n=1) or sorted(set(names))
        hint = f"did you mean {' or '.join(near)}?" if near else f"no {FILE} contains profiles"
        raise UsageError(f"--profile: {profile!r} is not a profile: {hint}")
    return [*profiles, *plain]


def _profiles(path: Path, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the profiles of a file, by their names.

    Raises:
        UsageError: They are not tables.
    """
    tables = content.get(PROFILES, {})
    if isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values()):
        return tables
    raise UsageError(f"{path}: {PROFILES}: write [{PROFILES}.NAME] above the keys of a profile")


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a file; nothing if it does not exist."""
    if not exists(path):
        return {}
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:  # opening a pipe would wait
            raise UsageError(f"{path}: not a configuration file: remove it or rename it")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _layer(
    path: Path, content: Mapping[str, Any], place: Place, options: Collection[str], profile: str = ""
) -> Layer:
    """Return the settings of a file, or of one of its profiles.

    Raises:
        UsageError: A key is not an option, or a file of the working folder cannot set it.
    """
    origin = f"{path} [{PROFILES}.{profile}]" if profile else str(path)
    for key in content:
        if key not in options:
            raise UsageError(
                f"{origin}: {key!r} is not an option of rgt upscale: {_hint(key, content, options)}"
            )
        if place == "folder" and key in NOT_FROM_FOLDERS:
            raise UsageError(
                f"{origin}: {key} cannot be set by a file in the working folder, which may come from "
                f"somebody else: use the command line or {user_file()}"
            )
    where: Place = "profile" if profile else place
    return {
        key: Setting(key=key, value=value, place=where, origin=origin) for key, value in content.items()
    }


def _hint(key: str, content: Mapping[str, Any], options: Collection[str]) -> str:
    """Return a suggestion for a key that is not an option."""
    if isinstance(content[key], dict):
        return f"did you mean [{PROFILES}.{key}]?"
    near = difflib.get_close_matches(key.replace("_", "-").lower(), options, n=1)
    return f"did you mean {near[0]}?" if near else "`rgt config show` lists them"


def _check(context: click.Context, option: click.Option, setting: Setting) -> None:
    """Refuse a value that an option does not accept.

    Raises:
        UsageError: The value is not valid.
    """
    try:
        option.type_cast_value(context, _text(option, setting))
    except click.BadParameter as error:
        message = error.message[:1].lower() + error.message[1:].rstrip(".")
        key = "" if setting.place == "environment" else f"{setting.key}: "
        raise UsageError(f"{setting.origin}: {key}{message}") from error


def _text(option: click.Option, setting: Setting) -> Any:
    """Return the value as the command line has it: a string, a boolean, a count, or a list of strings.

    Raises:
        BadParameter: The kind of value is wrong.
    """
    value = setting.value
    if option.is_flag and isinstance(value, str) and setting.place == "environment":
        return click.BOOL.convert(value, None, None)
    if option.multiple:
        values = value
        if setting.place == "environment":
            values = list(ARGUMENTS.convert(value, None, None))
        if not (isinstance(values, list) and all(isinstance(item, str) for item in values)):
            raise click.BadParameter(f"{json.dumps(value, default=str)} is not a list of strings")
        return values
    wanted: tuple[type, ...] = (bool,) if option.is_flag else (str, int, float)
    if isinstance(value, bool) != option.is_flag or not isinstance(value, wanted):
        kind = "true or false" if option.is_flag else "a number or a string"
        raise click.BadParameter(f"{json.dumps(value, default=str)} is not {kind}")
    return value if option.is_flag else str(value)


def _merged(layers: Iterable[Layer], given: Mapping[str, Any]) -> Layer:
    """Return the settings in effect, from layers with the first one on top, below the command line."""
    settings: dict[str, Setting] = {}
    decided = set(given) | _excluded(given)
    for layer in layers:
        new = {key: setting for key, setting in layer.items() if key not in decided}
        settings |= new
        decided |= new.keys() | _excluded({key: setting.value for key, setting in new.items()})
    return settings


def _excluded(values: Mapping[str, Any]) -> set[str]:
    """Return the keys that some values also decide, since they cannot be used together."""
    used = {key for key, value in values.items() if value is not False}
    return set().union(*(keys for keys in _EXCLUSIVE if keys & used))
