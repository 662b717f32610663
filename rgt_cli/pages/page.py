"""Fill the template of pages: everything but images is inside one HTML file, and nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import string
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

_SUFFIXES = (".html", ".htm")
_IMAGES = re.compile(r"\d{2,}-[a-z0-9.-]+\.(png|jpg)")
"""The names of images in the folder beside a page."""


def is_page(path: Path) -> bool:
    """Return whether the name of an output means a page."""
    return path.suffix.lower() in _SUFFIXES


def render(
    *, title: str, subtitle: str, bodies: Sequence[str], scripts: Sequence[str], data: dict[str, Any]
) -> str:
    """Return a page as HTML.

    The policy of the page lets a browser run its own script alone, and load images only.

    Args:
        title: The title, such as a file name.
        subtitle: The line below the title.
        bodies: The resources with its body.
        scripts: The resources with its script.
        data: What the script shows, as `data` in JSON.
    """
    style = _resource("style.css")
    script = "\n".join(_resource(name) for name in scripts)
    policy = {
        "default-src": "'none'",
        "img-src": "'self' file: data:",
        "style-src": f"'{_digest(style)}'",
        "script-src": f"'{_digest(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return string.Template(_resource("page.html")).substitute(
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        title=_escaped(title),
        heading=_escaped(title),
        subtitle=_escaped(subtitle),
        style=style,
        body="".join(_resource(name) for name in bodies).rstrip("\n"),
        script=script,
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    )


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _escaped(text: str) -> str:
    """Return text escaped for HTML; bytes of file names that are not UTF-8 are spelled out."""
    return html.escape(text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def files_folder(page: Path) -> Path:
    """Return the folder beside a page that contains its images."""
    return page.with_name(f"{page.stem}_files")


def relative_url(path: Path, page: Path) -> str:
    """Return the address of a file as a page links to it."""
    try:
        relative = os.path.relpath(path, page.parent)
    except ValueError:  # on another drive of Windows
        return path.absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def data_url(content: bytes, kind: str = "image/png") -> str:
    """Return the address of an image that is inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def slug(text: str) -> str:
    """Return text as a part of a file name, in lower case and without special characters."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60] or "image"


def is_image_of_page(path: Path) -> bool:
    """Return whether a file is an image in the folder beside a page that was written here."""
    name, _, rest = path.parent.name.rpartition("_files")
    if not name or rest or not _IMAGES.fullmatch(path.name):
        return False
    return any(path.parent.with_name(name + suffix).is_file() for suffix in _SUFFIXES)


def remove_other_images(folder: Path, wanted: Iterable[str]) -> None:
    """Remove the images of an earlier page from its folder, but no file that was not written for it."""
    wanted = set(wanted)
    for path in folder.iterdir():
        if path.name not in wanted and _IMAGES.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
