"""Every command and every block of Python in README and in the manual works as it is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.helpers.docs import DOCUMENTS, code_blocks, shell_commands
from tests.helpers.shell import ENVIRONMENT, Shell

INTERPOLATED = ("01-02-input-bicubic", "01-03-input-lanczos")
"""The images of the input in the folder beside the page of a comparison."""
SIZES: dict[str, dict[str, tuple[int, int] | None]] = {
    "rgt upscale photo.jpg": {"photo_x4.jpg": (160, 120)},
    "rgt upscale photo.jpg -v": {"photo_x4.jpg": (160, 120)},
    "rgt upscale photo.jpg -s 2 -o large.webp": {"large.webp": (80, 60)},
    "rgt upscale photo.jpg --fit 1920x1080": {"photo_1920x1080.jpg": (1440, 1080)},
    "rgt upscale photo.jpg --width 100": {"photo_w100.jpg": (100, 75)},
    "rgt upscale photo.jpg --tile 128 --threads 1 -s 2": {"photo_x2.jpg": (80, 60)},
    "rgt upscale photo.jpg -m photo": {"photo_x4.jpg": (160, 120)},
    "rgt upscale photo.jpg -m tiny-photo -o fast.jpg": {"fast.jpg": (160, 120)},
    "rgt upscale photo.jpg -m RGT_S_x4.pth -o own.jpg": {"own.jpg": (160, 120)},
    "rgt upscale photo.png -m rgt": {"photo_x4.png": (160, 120)},
    "rgt upscale photo.png --memory 4G": {"photo_x4.png": (160, 120)},
    "rgt upscale logo.png -o logo.jpg --background white": {"logo.jpg": (160, 120)},
    "rgt upscale - < photo.jpg > large.jpg": {"large.jpg": (160, 120)},
    "rgt upscale clip.mkv -s 2": {"clip_x2.mkv": (64, 48)},
    "rgt upscale clip.mkv -s 2 --dry-run": {},
    "rgt upscale clip.mkv -s 2 --preview 3": {
        f"clip_x2_preview{number}.png": (64, 48) for number in (1, 2, 3)
    },
    "rgt upscale clip.mkv -s 2 -o clip.mp4 --crf 20 --preset fast": {"clip.mp4": (64, 48)},
    "rgt upscale clip.mkv -s 2 --start 0:01 --end 1.8": {"clip_x2.mkv": (64, 48)},
    "rgt upscale clip.mkv -s 2 -o frames/%06d.png": {
        f"frames/{number:06}.png": (64, 48) for number in range(1, 9)
    },
    "rgt upscale renders -s 2 -o video.mp4 --fps 24": {"video.mp4": (80, 60)},
    "rgt upscale renders/%06d.png -s 2 -o video.mkv": {"video.mkv": (80, 60)},
    "rgt upscale photos -r": {
        "photos_upscaled/portrait_x4.jpg": (160, 120),
        "photos_upscaled/2024/cat_x4.webp": (160, 120),
    },
    "rgt upscale photo.jpg clip.mkv -s 2 -o large": {
        "large/photo_x2.jpg": (80, 60),
        "large/clip_x2.mkv": (64, 48),
    },
    "rgt upscale photos -r --include '*.webp' -o out": {"out/2024/cat_x4.webp": (160, 120)},
    "rgt upscale 'photos/*/*.webp' -o out": {"out/cat_x4.webp": (160, 120)},
    "find photos -name '*.webp' -print0 | rgt upscale --from-file - -0 -o out": {
        "out/cat_x4.webp": (160, 120)
    },
    "rgt upscale photos -r -s 2 -o out --json --report run.json": {
        "out/portrait_x2.jpg": (80, 60),
        "out/2024/cat_x2.webp": (80, 60),
        "run.json": None,
    },
    "rgt upscale photos -r -s 2 -o out --report run.html": {
        "out/portrait_x2.jpg": (80, 60),
        "out/2024/cat_x2.webp": (80, 60),
        "run.html": None,
        **{f"run_files/00000{n}-before.jpg": (40, 30) for n in (0, 1)},
        **{f"run_files/00000{n}-after.jpg": (80, 60) for n in (0, 1)},
    },
    "rgt upscale photos -r -o out --dry-run": {},
    "rgt upscale photos -r -s 2 -o out --device cpu,cpu": {
        "out/portrait_x2.jpg": (80, 60),
        "out/2024/cat_x2.webp": (80, 60),
    },
    "rgt upscale photos -r -s 2 -o out --device cpu,cpu --dry-run": {},
    "rgt clean --dry-run": {},
    "rgt config show": {},
    "rgt config show --profile clips": {},
    "RGT_SCALE=2 rgt upscale photo.jpg": {"photo_x2.jpg": (80, 60)},
    "rgt upscale clip.mkv -s 2 --profile clips": {"clip_x2.mkv": (64, 48)},
    "rgt completion bash --install": {},
    "rgt models": {},
    "rgt models suggest photos": {},
    "rgt models download general texture": {},
    "rgt models info photo": {},
    "rgt models path photo": {},
    "rgt models verify": {},
    "rgt models remove photo": {},
    "rgt models convert RGT_S_x4.pth RGT_S_x4.safetensors": {"RGT_S_x4.safetensors": None},
    "rgt evaluate Set5/HR -s 4 -m tiny": {},
    "rgt evaluate --hr Set5/HR -s 2 --self-ensemble": {},
    "rgt evaluate --hr Set5/HR --compare tiny,tiny-photo --jpeg 60 --csv scores.csv": {
        "scores.csv": None
    },
    "rgt bench --tiles 64 --runs 1": {},
    "rgt compare photo.jpg -m tiny,tiny-photo,rgt-s": {
        "photo_compare.html": None,
        **{f"photo_compare_files/{name}.png": (160, 120) for name in INTERPOLATED},
        "photo_compare_files/01-01-input-nearest.png": (40, 30),
        "photo_compare_files/01-04-rgt-tiny-x4.png": (160, 120),
        "photo_compare_files/01-05-rgt-tiny-photo-x4.png": (160, 120),
        "photo_compare_files/01-06-rgt-s-x4.png": (160, 120),
    },
    "rgt compare photo.jpg --crop 8,4,24,20 -s 2": {
        "photo_compare.html": None,
        **{f"photo_compare_files/{name}.png": (48, 40) for name in INTERPOLATED},
        "photo_compare_files/01-01-input-nearest.png": (24, 20),
        "photo_compare_files/01-04-rgt-tiny-x2.png": (48, 40),
        "photo_compare_files/01-05-rgt-tiny-photo-x2.png": (48, 40),
    },
    "rgt compare clip.mkv -s 2 --at 0:01 --at 1.5 -o clip.html --standalone": {"clip.html": None},
    "rgt compare photo.jpg -o sheet.png": {"sheet.png": None},
}
"""Command -> the files that it writes, and the size of each that is an image or a video."""

COMMANDS = {
    document.name: [
        command
        for command in shell_commands(document.read_text())
        if not any(command in shell_commands(d.read_text()) for d in DOCUMENTS[:index])
    ]
    for index, document in enumerate(DOCUMENTS)
}
"""Document -> its commands, in their order, without those of an earlier document."""


@pytest.mark.parametrize("document", COMMANDS)
def test_every_command_works(document: str, shell: Shell) -> None:
    for command in COMMANDS[document]:
        finished = shell(command)
        assert finished.written == set(SIZES[command]), command
        for name, size in SIZES[command].items():
            assert size is None or size_of(finished.folder / name) == size, command


def test_every_expectation_belongs_to_a_command() -> None:
    assert set(SIZES) == {command for commands in COMMANDS.values() for command in commands}


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if code_blocks(d.read_text(), "python")])
def test_every_block_of_python_works(document: Path, folder: Path) -> None:
    for block in code_blocks(document.read_text(), "python"):
        command = [sys.executable, "-c", block]
        subprocess.run(command, cwd=folder, env=os.environ | ENVIRONMENT, check=True)


def size_of(path: Path) -> tuple[int, int]:
    """Return the width and height of an image or a video."""
    if path.suffix in (".mkv", ".mp4"):
        with av.open(str(path)) as video:
            frame = next(video.decode(video=0))
            return frame.width, frame.height
    with Image.open(path) as image:
        return image.size
