"""The option groups of `rgt upscale`."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from rgt_cli.cli import candidates, options
from rgt_cli.cli.command import group
from rgt_cli.cli.configurable import profile_option
from rgt_cli.cli.param_types import (
    ARGUMENTS,
    BOX,
    COLOR,
    DPI,
    FORMAT,
    FRAME_RATE,
    NUMBER,
    SCALE,
    TIME,
    ChoiceType,
    number,
    whole_number,
)
from rgt_cli.jobs.options import (
    DEFAULT_NAME,
    Existing,
    ImageOptions,
    OutputOptions,
    VideoOptions,
)
from rgt_cli.jobs.plan import check_folder
from rgt_cli.jobs.sources import SourceFilter, read_list
from rgt_cli.jobs.workers.devices import Devices, parse_devices
from rgt_cli.jobs.workers.session import import_ray
from rgt_cli.media import CONTAINERS, FORMATS
from rgt_cli.media.video.codecs import CODECS
from rgt_cli.pages.page import is_page
from rgt_cli.pages.thumbnails import Thumbnails
from rgt_cli.values import requested_size


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which files are inputs."""

    recursive: bool
    from_file: tuple[IO[bytes], ...]
    """Lists of paths."""
    null: bool
    """Paths in lists are separated by NUL bytes, not by newlines."""
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    max_pixels: int

    def selection(self, output: Path | None) -> SourceFilter:
        """Return which files of folders are inputs, given the output file or folder."""
        return SourceFilter(
            recursive=self.recursive, include=self.include, exclude=self.exclude, output=output
        )

    def listed(self) -> Iterator[Path]:
        """Yield the paths of all lists."""
        for file in self.from_file:
            yield from read_list(file.read(), b"\0" if self.null else b"\n")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run behaves and what it reports."""

    dry_run: bool
    preview: int | None
    """Number of frames of each video to write as images instead of the video."""
    watch: bool
    fail_fast: bool
    report: Path | None
    """The file for the report."""
    print_events: bool
    cluster: str | None
    """The address of a Ray cluster."""
    workers: int | None
    """Number of CPU workers in the cluster."""

    def devices(self, device: str) -> Devices | None:
        """Return where workers should run, given --device; None to compute in this process.

        Raises:
            UsageError: As `parse_devices`, or Ray is not installed.
        """
        address = self.cluster
        if not address and device == "auto":  # Ray sets the variable in its jobs
            address = os.environ.get("RAY_ADDRESS")
        devices = parse_devices(device, address, self.workers)
        if devices:  # refuse what can be refused before a model is loaded
            import_ray(devices)
        return devices

    def check_report(self, outputs: Path) -> None:
        """Refuse a report that cannot be written.

        Args:
            outputs: The folder of the outputs, which the run creates if it does not exist.

        Raises:
            OutputError: Its folder does not exist or cannot be written.
        """
        if self.report is None:
            return
        folder = self.report.parent
        if folder.exists() or folder.absolute() != outputs.absolute():
            check_folder(folder)

    def thumbnails(self) -> Thumbnails | None:
        """Return what makes the thumbnails of the report; None if it has none."""
        has_images = self.report and is_page(self.report) and not self.dry_run
        return Thumbnails(self.report) if self.report and has_images else None


def _image(bits: str | None, **values: Any) -> ImageOptions:
    return ImageOptions(bits={None: None, "8": 8, "16": 16}[bits], **values)


input_group = group(
    "Input", "inputs", InputOptions,
    options.recursive,
    click.option(
        "--from-file", type=click.File("rb"), multiple=True, metavar="FILE",
        help="Read input paths from FILE, one per line; - is stdin. Repeatable.",
    ),
    click.option("-0", "--null", is_flag=True, help="Paths in --from-file are separated by NUL bytes."),
    click.option(
        "--include", multiple=True, metavar="GLOB",
        help="In folders, process only files that match, like '*.jpg'. Repeatable.",
    ),
    click.option(
        "--exclude", multiple=True, metavar="GLOB",
        help="In folders, skip files that match. Repeatable.",
    ),
    options.max_pixels,
)  # fmt: skip

output_group = group(
    "Output", "output", OutputOptions,
    click.option(
        "-o", "--output", "target", type=click.Path(path_type=Path), metavar="PATH",
        help="Output file or folder; - is stdout. "
        "[default: photo_x4.png for photo.png, photos_upscaled for photos]",
    ),
    click.option(
        "--format", type=FORMAT,
        shell_complete=candidates.words([each.name for each in (*FORMATS, *CONTAINERS)]),
        help="Output format, like webp. [default: from the suffix of the output, else from the input]",
    ),
    click.option(
        "--name", default=DEFAULT_NAME, show_default=True, metavar="TEMPLATE",
        help="File names of outputs in a folder; {scale}, {index} and {name} (of the input) work too.",
    ),
    click.option(
        "--strip", is_flag=True,
        help="Omit all metadata, cover art and chapter titles; convert image colors to sRGB.",
    ),
    click.option(
        "--strip-gps", is_flag=True,
        help="Omit where an image or video was taken, and video streams that may contain it.",
    ),
    click.option("--keep-times", is_flag=True, help="Give output files the dates of their inputs."),
)  # fmt: skip

existing_group = group(
    "Output", "existing", functools.partial(Existing.of, prefix="--"),
    click.option("--overwrite", is_flag=True, help="Replace existing outputs."),
    click.option("--skip-existing", is_flag=True, help="Keep existing outputs."),
    click.option("--update", is_flag=True, help="Replace outputs that are older than their input."),
)  # fmt: skip

size_group = group(
    "Size", "size", functools.partial(requested_size, prefix="--"),
    click.option(
        "-s", "--scale", type=SCALE,
        help="Upscaling factor, like 2 or 1.5. [default: 4, or that of the model]",
    ),
    click.option(
        "--width", type=whole_number(1),
        help="Output width in pixels; alone, it keeps the proportions.",
    ),
    click.option(
        "--height", type=whole_number(1),
        help="Output height in pixels; alone, it keeps the proportions.",
    ),
    click.option(
        "--fit", type=BOX, help="Largest size that fits into a box, like 1920x1080."
    ),
)  # fmt: skip

image_group = group(
    "Image", "image", _image,
    click.option(
        "--quality", type=whole_number(1, 100), default=95, show_default=True, metavar="1-100",
        help="Quality of JPEG, WebP, AVIF, HEIF and JPEG XL.",
    ),
    click.option("--lossless", is_flag=True, help="Write WebP, HEIF and JPEG XL without loss."),
    click.option(
        "--bits", type=ChoiceType(["8", "16"]), metavar="8|16",
        help="Bits per channel. [default: those of the input]",
    ),
    click.option(
        "--alpha", type=ChoiceType(["network", "lanczos"]), default="network", show_default=True,
        metavar="NAME", help="How to upscale transparency: network or lanczos.",
    ),
    click.option(
        "--background", type=COLOR,
        help="Color behind transparent pixels in formats without transparency, like white or #102030.",
    ),
    click.option(
        "--dpi", type=DPI, default="keep", show_default=True, metavar="N",
        shell_complete=candidates.words(["keep", "scale"]),
        help="Pixels per inch: a number, keep, or scale to keep the print size of the input.",
    ),
)  # fmt: skip

video_group = group(
    "Video", "video", VideoOptions,
    click.option(
        "--codec", metavar="NAME", shell_complete=candidates.words(CODECS),
        help="x264, x265, av1, vp9, prores, ffv1, h264_nvenc, hevc_nvenc, av1_nvenc, or an encoder of "
        "ffmpeg. [default: x264 for 8 bits, x265 for more]",
    ),
    click.option(
        "--crf", type=NUMBER, metavar="Q",
        help="Quality on the scale of the codec; lower is better. [default: visually lossless]",
    ),
    click.option("--preset", metavar="NAME", help="Speed preset of the codec, like fast; p5 for NVENC."),
    click.option("--pix-fmt", metavar="NAME", help="Pixel format. [default: that of the input]"),
    click.option(
        "--encoder-args", type=ARGUMENTS, default="",
        help="More options for ffmpeg, like '-tune grain'.",
    ),
    click.option(
        "--map", "maps", multiple=True, metavar="SELECTION",
        help="Copy only these streams besides the video, in ffmpeg's notation, like 0:a:0. Repeatable.",
    ),
    click.option(
        "--square-pixels", is_flag=True,
        help="Stretch frames whose pixels are not square to the shape that players show.",
    ),
    click.option("--deinterlace", is_flag=True, help="Build whole frames from interlaced fields."),
    click.option(
        "--fields", is_flag=True,
        help="With --deinterlace: build a frame from each field, for twice as many frames.",
    ),
    click.option(
        "--inverse-telecine", is_flag=True,
        help="Restore the 24 frames per second of a film from a video with 30.",
    ),
    click.option(
        "--fps", type=FRAME_RATE,
        help="Frames per second of numbered images that become a video. [default: 25]",
    ),
    click.option("--start", type=TIME, help="Start at this time, like 90 or 1:30."),
    click.option("--end", type=TIME, help="End at this time."),
    click.option(
        "--segment-seconds", type=number(0.1), default=10.0, show_default=True,
        metavar="N", help="Length of a segment. An interrupted run loses at most one segment.",
    ),
)  # fmt: skip

run_group = group(
    "Run", "run", RunOptions,
    click.option("--dry-run", is_flag=True, help="Print what would be done and how long it would take."),
    click.option(
        "--preview", type=whole_number(1),
        help="Write N sample frames of each video as PNG images, instead of the video.",
    ),
    click.option("--watch", is_flag=True, help="Keep processing new files in the input folders."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
    click.option(
        "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help="Write the outcome of every file to FILE: JSON, or a page with thumbnails for run.html.",
    ),
    click.option(
        "--cluster", metavar="ADDRESS",
        help="Compute on a Ray cluster: auto for the one of this machine, or HOST:PORT.",
    ),
    click.option(
        "--workers", type=whole_number(1),
        help="Use N workers on CPUs of the cluster, instead of one on each GPU.",
    ),
    click.option(
        "--json", "print_events", is_flag=True, help="Print events on stdout, one JSON object per line."
    ),
    profile_option,
)  # fmt: skip
