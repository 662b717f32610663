"""A folder of unusual and broken files: each one is accounted for."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.process import UNPRIVILEGED, RunRGT
from tests.helpers.report import read_report

GOOD = 260


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int = 8, rows: bytes = b"") -> bytes:
    """Return a gray PNG whose header and rows need not agree."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


@pytest.fixture
def hostile(tmp_path: Path, photo: np.ndarray) -> tuple[Path, set[str], set[str]]:
    """Return a folder, the names of its unusual files, and those of its broken files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    small = Image.fromarray(photo[:8, :10])
    for i in range(GOOD):
        small.save(folder / f"good{i:03}.{('png', 'jpg', 'webp')[i % 3]}")
    whole = (folder / "good000.png").read_bytes()
    jpeg = (folder / "good001.jpg").read_bytes()
    moving = io.BytesIO()
    small.save(moving, "GIF", save_all=True, append_images=[small.rotate(180)])
    gif = moving.getvalue()
    place = gif.rindex(b"\x2c\0\0\0\0\x0a\0\x08\0") + 5  # where the size of its last frame stands
    unusual: dict[str, Callable[[Path], object]] = {
        "cmyk.jpg": lambda p: small.convert("CMYK").save(p),
        "bilevel.png": lambda p: small.convert("1").save(p),
        "sixteen.png": lambda p: p.write_bytes(png(4, 2, 16, b"\0\1\2\3\4\5\6\7\x08" * 2)),
        "sixteen.tif": lambda p: Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(p),
        "palette.png": lambda p: small.quantize(8).save(p, transparency=bytes([0, 128, 255])),
        "clear.webp": lambda p: Image.new("RGBA", (9, 9)).save(p),
        "one.png": lambda p: Image.new("RGB", (1, 1), (3, 4, 5)).save(p),
        "long.png": lambda p: small.resize((700, 2)).save(p),
        "exif.jpg": lambda p: p.write_bytes(
            jpeg[:2] + b"\xff\xe1\x00\x20Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xee" * 14 + jpeg[2:]
        ),
        "icc.png": lambda p: p.write_bytes(
            whole[:33] + chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile" * 20)) + whole[33:]
        ),
        "wrong_suffix.jpg": lambda p: p.write_bytes(whole),
        "UPPER.PNG": lambda p: p.write_bytes(whole),
        "-dash.png": lambda p: p.write_bytes(whole),
        "sp ace\nline.png": lambda p: p.write_bytes(whole),
        "\udcff\udcfe.png": lambda p: p.write_bytes(whole),
        "n" * 251 + ".png": lambda p: p.write_bytes(whole),
        "gray_alpha.png": lambda p: small.convert("LA").save(p),
        "pages.tif": lambda p: small.save(p, save_all=True, append_images=[small]),
        "moving.gif": lambda p: p.write_bytes(gif),
        "link.png": lambda p: p.symlink_to(shutil.copy(folder / "good000.png", tmp_path / "far.png")),
    }
    broken: dict[str, Callable[[Path], object]] = {
        "cut.png": lambda p: p.write_bytes(whole[:-30]),
        "cut.jpg": lambda p: p.write_bytes(jpeg[: len(jpeg) // 2]),
        "empty.png": lambda p: p.write_bytes(b""),
        "text.jpg": lambda p: p.write_text("not an image"),
        "bomb.png": lambda p: p.write_bytes(png(60_000, 60_000, 1, b"\0" * 9000)),
        "wide.webp": lambda p: p.write_bytes(whole[:5]),
        "crc.png": lambda p: p.write_bytes(whole[:45] + b"\xff" * 20 + whole[65:]),
        "huge_header.png": lambda p: p.write_bytes(png(2**31 - 1, 2**31 - 1)),
        "zero_wide.png": lambda p: p.write_bytes(png(0, 5)),
        "pipe.png": os.mkfifo,
        "socket.png": lambda p: socket_at(p),
        "dangling.png": lambda p: p.symlink_to("nowhere.png"),
        "html.png": lambda p: p.write_text("<html><body>404</body></html>"),
        "video.gif": lambda p: p.write_bytes(b"\0\0\0\x20ftypisom" + b"\0" * 100),
        "head.gif": lambda p: p.write_bytes(b"GIF89a\xff\xff\xff\xff"),
        "bomb.gif": lambda p: p.write_bytes(gif[:place] + b"\xff" * 4 + gif[place + 4 :]),
        "tags.tif": lambda p: p.write_bytes(b"II*\0\x08\0\0\0\x10\0" + b"\1\2\0\3" * 60),
        "unreadable.png": lambda p: p.chmod(0) if p.write_bytes(whole) else None,
        "float.tif": lambda p: Image.fromarray(np.ones((4, 4), np.float32)).save(p),
    }
    for name, make in (unusual | broken).items():
        make(folder / name)
    (folder / "wide_65536.png").write_bytes(png(65_536, 1, 8, bytes(65_537)))
    (folder / "directory.png").mkdir()
    (folder / "notes.txt").write_text("ignored")
    (folder / ".hidden.png").write_bytes(whole)
    return folder, {*unusual, "wide_65536.png"}, set(broken)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket has 108 bytes at most
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def test_each_file_is_accounted_for(
    rgt: RunRGT, hostile: tuple[Path, set[str], set[str]], micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder, unusual, broken = hostile
    assert (GOOD + len(unusual | broken), len(unusual | broken)) == (300, 40)
    out, report_path = tmp_path / "out", tmp_path / "run.json"
    arguments = ("upscale", folder, "-r", "-m", micro_checkpoint, "-o", out, "--report", report_path)
    result = rgt(*arguments, before=UNPRIVILEGED)
    assert result.returncode == 1, result.stderr
    assert not re.search("Traceback|Warning|Tag|raised|logger", result.stderr), "libraries print nothing"
    report = read_report(report_path)
    outcomes = {Path(file["source"]).name: file for file in report["files"]}
    assert {name for name, file in outcomes.items() if file["error"]} == broken
    made = {name for name, file in outcomes.items() if not file["error"]}
    assert made == unusual | {path.name for path in folder.glob("good*")}
    assert report["ignored"]["hidden"] == 1
    assert sum(report["ignored"].values()) == 2
    assert (report["done"], report["failed"]) == (GOOD + len(unusual), len(broken))
    targets = [Path(file["target"]) for file in outcomes.values() if not file["error"]]
    assert len(set(targets)) == len(made)
    assert {path.name for path in out.iterdir()} == {t.name for t in targets} | {".rgt-journal.jsonl"}
    for target in targets:
        with Image.open(target) as opened:
            opened.load()
    for name in broken:
        assert outcomes[name]["error"]
        assert "\n" not in outcomes[name]["error"]
