"""Feed damaged files to the readers for some minutes, to find crashes, hangs and unbounded memory use.

Run it as `python -m tests.fuzz.readers --minutes 10`. Files are read in processes that may die. A file
that kills its reader, occupies it for SECONDS, needs more than MEMORY or raises anything but an RGTError
is copied to a folder and its name is printed, and the exit code is 1. The test suite runs the same
readers for a moment, in its own process.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import random
import signal
import sys
import time
import warnings
from collections import Counter
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import tifffile
import torch
from PIL import Image, ImageCms

from rgt_cli.errors import RGTError
from rgt_cli.inference.memory import peak_memory
from rgt_cli.media import FORMATS, Encoding, ImageSequence, Picture, open_rows, read_images, write_images
from rgt_cli.media.header import decoded_bytes
from tests.helpers.images import deep_png, write_dpx, write_pam

CPU = torch.device("cpu")
MAX_PIXELS = 1_000_000
SECONDS = 20
MEMORY = 400 << 20
"""Bytes that one file may take beyond what the process held before."""
CASES = 300
"""Files that are read in one process."""


def samples(folder: Path) -> list[bytes]:
    """Return small files of every format, with their unusual features."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 4), np.uint8)
    colors, alpha = noise[..., :3].copy(), noise[..., 3].copy()
    deep = colors.astype(np.uint16) * 257
    made = []
    for file_format in FORMATS:
        kinds = [Picture(colors)]
        kinds += [Picture(colors[..., 0].copy())] * ("L" in file_format.modes)
        kinds += [Picture(colors, alpha)] * ("RGBA" in file_format.modes)
        kinds += [Picture(deep)] * file_format.is_deep
        for picture in kinds:
            path = folder / f"sample{file_format.suffixes[0]}"
            write_images(ImageSequence([picture]), path, file_format, Encoding())
            made.append(path.read_bytes())
    image = Image.fromarray(colors)
    exif = Image.Exif()
    exif[274], exif[271], exif.get_ifd(0x8769)[36867] = 6, "maker", "2026:01:01 00:00:00"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = {"exif": exif, "icc_profile": profile}
    second = Image.fromarray(colors[::-1].copy())

    def save(source: Image.Image, form: str, **options: Any) -> None:
        file = io.BytesIO()
        source.save(file, form, **options)
        made.append(file.getvalue())

    for form in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        save(image, form, **metadata)
    for form in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        save(image, form, save_all=True, append_images=[second], duration=50, loop=0)
    save(image, "JPEG", progressive=True, comment="hello")
    save(image.convert("CMYK"), "JPEG")
    save(image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG", transparency=3)
    save(image.convert("1"), "TIFF", compression="group4")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        save(image, "TIFF", compression=compression)
    write_pam(folder / "sample.pam", deep, "RGB")
    write_dpx(folder / "sample.dpx", deep, "rgb48le")
    made += [(folder / f"sample.{suffix}").read_bytes() for suffix in ("pam", "dpx")]
    made.append(deep_png(deep, interlaced=True))
    for options in ({"tile": (16, 16)}, {"predictor": True, "compression": "zlib"}, {"bigtiff": True}):
        file = io.BytesIO()
        tifffile.imwrite(file, np.tile(deep, (2, 2, 1)), photometric="rgb", **options)
        made.append(file.getvalue())
    return made


def damaged(sample: bytes, chance: random.Random) -> bytes:
    """Return a copy with some bytes changed, inserted or removed, and maybe cut or spliced."""
    data = bytearray(sample)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(data) if chance.random() < 0.5 else min(200, len(data)))
        data[at : at + chance.choice((0, 1, 1, 1, 4))] = chance.choice(
            (chance.randbytes(1), chance.randbytes(4), b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff")
        )
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)) :]
    if chance.random() < 0.1:
        start = chance.randrange(len(data) + 1)
        data[start:start] = data[chance.randrange(len(data) + 1) :]
    return bytes(data)


def read_whole(path: Path) -> None:
    """Read a file as images that fit in memory are read."""
    read_images(path, max_pixels=MAX_PIXELS)


def stream(path: Path) -> None:
    """Read a file as images larger than memory are read."""
    with open_rows(path, MAX_PIXELS, path.parent) as source:
        for top in range(0, source.shape[0], 1000):
            rows = source[top : top + 1000]
            assert rows.shape == (min(1000, source.shape[0] - top), *source.shape[1:])


def read_many(made: list[bytes], seed: int, path: Path, results: SimpleQueue[Counter[str]]) -> None:
    """Read CASES damaged files, one by one at `path`; an alarm kills the process if one hangs."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    chance, found = random.Random(seed), Counter[str]()
    for _ in range(CASES):
        path.write_bytes(damaged(chance.choice(made), chance))
        before = peak_memory(CPU)
        signal.alarm(SECONDS)
        decoded_bytes(path)
        for name, read in (("read", read_whole), ("streamed", stream)):
            try:
                read(path)
                found[name] += 1
            except RGTError as refused:
                found["refused"] += name == "read"
                if not str(refused).startswith(str(path)):
                    raise
        signal.alarm(0)
        assert [*path.parent.iterdir()] == [path], "left a file"
        assert peak_memory(CPU) - before < MEMORY, "needed too much memory"
    results.put(found)


@click.command(help=__doc__)
@click.option("--minutes", type=float, default=10, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("fuzz-failures"), show_default=True
)
def fuzz(minutes: float, seed: int, keep: Path) -> None:
    ends, failures, found = time.monotonic() + 60 * minutes, 0, Counter[str]()
    with TemporaryDirectory() as folder:
        made = samples(Path(folder))
        path = Path(folder) / "alone" / "fuzzed"
        path.parent.mkdir()
        while time.monotonic() < ends:
            results: SimpleQueue[Counter[str]] = multiprocessing.SimpleQueue()
            process = multiprocessing.Process(target=read_many, args=(made, seed, path, results))
            process.start()
            process.join()
            if process.exitcode:
                failures += 1
                keep.mkdir(parents=True, exist_ok=True)
                copy = keep / f"seed{seed}"
                os.replace(path, copy)
                click.echo(f"exit code {process.exitcode}: {copy}")
            else:
                found += results.get()
            seed += 1
    totals = ", ".join(f"{count} files were {what}" for what, count in found.items())
    click.echo(f"{totals}; {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    fuzz()
