"""Check the formats of images, ffmpeg, the models and their cache."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rgt_cli.checkpoints import cache
from rgt_cli.checkpoints.catalogue import catalogue
from rgt_cli.doctor.check import Check, State, set_variable
from rgt_cli.errors import UsageError, first_line
from rgt_cli.files import partial_path
from rgt_cli.media.formats import FORMATS, ImageFormat, is_installed, register_plugins
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.codecs import CODECS

_NVENC = tuple(name for name in CODECS if name.endswith("_nvenc"))
_MOST_NAMES = 6
"""Cached models that are listed by name."""
_LEAST_SCRATCH = 100_000_000
"""Bytes that the folder for temporary files should have."""


def check_formats() -> Iterator[Check]:
    """Check that an image can be written and read in each format."""
    register_plugins()
    missing = [each.name for each in FORMATS if not is_installed(each)]
    failures = {each.name: _failure_of(each) for each in FORMATS if each.name not in missing}
    works = [name for name, failure in failures.items() if not failure]
    broken = {name: failure for name, failure in failures.items() if failure}
    yield Check(name="formats", text=", ".join(works), facts={"formats": works})
    if missing:
        yield Check(
            name="extra formats",
            text=f"{' and '.join(missing)} not installed",
            state=State.NOTE,
            command='pip install "rgt-cli[formats]"',
            facts={"missing": missing},
        )
    for name, failure in broken.items():
        package = next((each.plugin for each in FORMATS if each.name == name), None) or "pillow"
        yield Check(
            name=name,
            text=f"does not work: {failure}",
            state=State.FAIL,
            command=f"pip install --force-reinstall {package.replace('_', '-')}",
        )


def _failure_of(image_format: ImageFormat) -> str:
    """Return why a small image cannot be written and read; empty if it can."""
    from PIL import Image

    file = io.BytesIO()
    try:
        Image.new("RGB", (16, 16), "white").save(file, image_format.pillow)
        with Image.open(file) as image:
            image.load()
    except Exception as error:  # plugins raise anything
        return first_line(error)
    return ""


def check_ffmpeg() -> Iterator[Check]:
    """Check the ffmpeg program, its encoders, and whether NVENC works."""
    own = os.environ.get("IMAGEIO_FFMPEG_EXE")
    reinstall = "pip install --force-reinstall imageio-ffmpeg"
    command = set_variable("IMAGEIO_FFMPEG_EXE", None) if own else reinstall
    try:
        program = ffmpeg.executable()
        code, banner, stderr = ffmpeg.run(["-version"])
    except (UsageError, OSError) as error:
        text = f"cannot be started: {getattr(error, 'strerror', None) or error}"
        yield Check(name="ffmpeg", text=text, state=State.FAIL, command=command)
        return
    version = re.match(r"ffmpeg version (\S+)", banner)
    if code or not version:
        text = f"does not run: {ffmpeg.in_words(stderr.splitlines(), code)}"
        yield Check(name="ffmpeg", text=text, state=State.FAIL, command=command)
        return
    is_bundled = "imageio_ffmpeg" in program
    origin = "IMAGEIO_FFMPEG_EXE" if own else "imageio-ffmpeg" if is_bundled else "PATH"
    facts: dict[str, object] = {"version": version[1], "origin": origin}
    yield Check(name="ffmpeg", text=f"{version[1]}, from {origin}", facts=facts)
    found = set(re.findall(r"^ V\S+ (\S+)", ffmpeg.run(["-encoders"])[1], re.MULTILINE))
    yield _encoders(found, command)
    yield _nvenc(found)


def _encoders(found: set[str], command: str) -> Check:
    """Check the encoders that need no GPU."""
    names = [name for name in CODECS if name not in _NVENC]
    missing = [name for name in names if CODECS[name].encoder not in found]
    text = ", ".join(name for name in names if name not in missing)
    if missing:
        text += f", but not {', '.join(missing)}"
    state = State.FAIL if "x264" in missing else State.NOTE if missing else State.OK
    return Check(
        name="encoders",
        text=text,
        state=state,
        command=command if missing else "",
        facts={"missing": missing},
    )


def _nvenc(found: set[str]) -> Check:
    """Check by a frame which encoders of NVIDIA GPUs work."""
    failures = {
        name: _failure_to_encode(name) if name in found else "not in this ffmpeg" for name in _NVENC
    }
    works = [name for name, failure in failures.items() if not failure]
    if works:
        return Check(name="nvenc", text=", ".join(works), facts={"works": works})
    reasons = "; ".join(dict.fromkeys(failures.values()))
    return Check(name="nvenc", text=f"not usable: {reasons}", state=State.NOTE, facts={"works": works})


def _failure_to_encode(encoder: str) -> str:
    """Return why an encoder cannot encode a frame; empty if it can."""
    source = ["-f", "lavfi", "-i", "color=black:size=256x256:rate=25", "-frames:v", "1"]
    code, _, stderr = ffmpeg.run(["-v", "error", *source, "-c:v", encoder, "-f", "null", "-"])
    return ffmpeg.in_words(stderr.splitlines(), code) if code else ""


def check_models() -> Iterator[Check]:
    """Check the bundled and the cached models, and the folders for the cache and temporary files."""
    bundled = {entry.name: entry for entry in catalogue().values() if entry.bundled}
    damaged = [
        name for name, entry in bundled.items()
        if not entry.bundled or not entry.bundled.is_file()
        or cache.sha256_of(entry.bundled) != entry.sha256
    ]  # fmt: skip
    yield Check(
        name="bundled",
        text=f"damaged: {', '.join(damaged)}" if damaged else f"{len(bundled)} models, intact",
        state=State.FAIL if damaged else State.OK,
        command="pip install --force-reinstall --no-deps rgt-cli" if damaged else "",
        facts={"models": len(bundled), "damaged": damaged},
    )
    yield from _cached()
    yield _folder("cache folder", cache.cache_root(), _largest_download(), "HF_HOME")
    yield _folder("temporary", _temporary(), _LEAST_SCRATCH, "TMPDIR")


def _cached() -> Iterator[Check]:
    """Hash every cached model."""
    records = cache.all_records()
    damaged = [
        record.name for folder, record in records.items() if not cache.verify_cached(folder, record)
    ]
    size = sum(cache.slim_path(folder).stat().st_size for folder in records
               if cache.slim_path(folder).is_file())  # fmt: skip
    names = [record.name for record in records.values()]
    count = f"{len(names)} model{'s' * (len(names) != 1)}, {size / 1e6:.0f} MB"
    if damaged:
        text, public = f"damaged: {', '.join(damaged)}", f"{count}, {len(damaged)} damaged"
    else:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        text = f"{', '.join(names[:_MOST_NAMES])}{more} ({count}), intact" if names else "no models"
        public = f"{count}, intact" if names else ""
    yield Check(
        name="cached",
        text=text,
        state=State.FAIL if damaged else State.OK,
        command="; ".join(f"rgt models remove {shlex.quote(name)}" for name in damaged),
        facts={"models": names, "bytes": size, "damaged": damaged},
        public=public,
    )


def _largest_download() -> int:
    """Return the bytes of the largest model that can be downloaded."""
    return max((entry.bytes or 0 for entry in catalogue().values() if not entry.bundled), default=0)


def _temporary() -> Path:
    """Return the folder for temporary files, whether or not it can be used."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # none of them can be written
        return Path(os.environ.get("TMPDIR", "/tmp"))


def _folder(name: str, folder: Path, needed: int, variable: str) -> Check:
    """Check that files can be created in a folder, and that it has room.

    Args:
        name: The name of the check.
        folder: The folder, which need not exist if it can be created.
        needed: The bytes that should be free.
        variable: The environment variable that selects another folder.
    """
    place = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    text, state = f"{folder}, {free / 1e9:.1f} GB free", State.OK
    try:
        probe = partial_path(place)
        probe.touch()
        probe.unlink()
    except OSError as error:
        text, state = f"{text}, cannot be written: {error.strerror}", State.FAIL
    if free < needed:
        text, state = f"{text}, less than {needed / 1e6:.0f} MB", State.FAIL
    return Check(
        name=name,
        text=text,
        state=state,
        command=set_variable(variable, "FOLDER") if state is State.FAIL else "",
        facts={"free": free, "is_writable": "cannot be written" not in text},
        public=text.removeprefix(f"{folder}, "),
    )
