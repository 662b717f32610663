"""The option groups of `rgt upscale`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from rgt_cli.cli import candidates
from rgt_cli.cli.command import group, option
from rgt_cli.cli.configurable import profile_option
from rgt_cli.cli.param_types import (
    ArgumentsType,
    BoxType,
    ColorType,
    DPIType,
    FormatType,
    FrameRateType,
    PixelsType,
    ScaleType,
    TimeType,
)
from rgt_cli.jobs.options import (
    DEFAULT_NAME,
    Existing,
    ImageOptions,
    OutputOptions,
    VideoOptions,
)
from rgt_cli.jobs.sources import SourceFilter, read_list
from rgt_cli.jobs.workers.devices import Devices, parse_devices
from rgt_cli.jobs.workers.session import import_ray
from rgt_cli.media import CONTAINERS, FORMATS, MAX_PIXELS
from rgt_cli.media.video.codecs import CODECS
from rgt_cli.pages.page import is_page
from rgt_cli.pages.thumbnails import Thumbnails
from rgt_cli.size import Dimensions, Size
from rgt_cli.values import reject_several, requested_size


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

    def thumbnails(self) -> Thumbnails | None:
        """Return what makes the thumbnails of the report; None if it has none."""
        has_images = self.report and is_page(self.report) and not self.dry_run
        return Thumbnails(self.report) if self.report and has_images else None


def _existing(**flags: bool) -> Existing:
    chosen = [name for name, is_set in flags.items() if is_set]
    reject_several([f"--{name.replace('_', '-')}" for name in chosen])
    actions = {
        "overwrite": Existing.OVERWRITE, "skip_existing": Existing.SKIP, "update": Existing.UPDATE,
    }  # fmt: skip
    return actions[chosen[0]] if chosen else Existing.REFUSE


def _size(
    scale: float | None, width: int | None, height: int | None, fit: Dimensions | None
) -> Size | None:
    return requested_size(scale=scale, width=width, height=height, fit=fit, prefix="--")


def _image(bits: str | None, **values: Any) -> ImageOptions:
    return ImageOptions(bits={None: None, "8": 8, "16": 16}[bits], **values)


input_group = group(
    "Input", "inputs", InputOptions,
    option("-r", "--recursive", is_flag=True, help="Descend into subfolders."),
    option(
        "--from-file", type=click.File("rb"), multiple=True, metavar="FILE",
        help="Read input paths from FILE, one per line; - is stdin. Repeatable.",
    ),
    option("-0", "--null", is_flag=True, help="Paths in --from-file are separated by NUL bytes."),
    option(
        "--include", multiple=True, metavar="GLOB",
        help="In folders, process only files that match, like '*.jpg'. Repeatable.",
    ),
    option(
        "--exclude", multiple=True, metavar="GLOB",
        help="In folders, ignore files that match. Repeatable.",
    ),
    option(
        "--max-pixels", type=PixelsType(), default=MAX_PIXELS,
        help="Refuse images that decode to more pixels. [default: 300M]",
    ),
)  # fmt: skip

output_group = group(
    "Output", "output", OutputOptions,
    option(
        "-o", "--output", "target", type=click.Path(path_type=Path), metavar="PATH",
        help="Output file or folder; - is stdout. "
        "[default: photo_x4.png for photo.png, photos_upscaled for photos]",
    ),
    option(
        "--format", type=FormatType(), metavar="NAME",
        shell_complete=candidates.words([each.name for each in (*FORMATS, *CONTAINERS)]),
        help="Output format, like webp. [default: from the suffix of the output, else from the input]",
    ),
    option(
        "--name", default=DEFAULT_NAME, show_default=True, metavar="TEMPLATE",
        help="File names of outputs in a folder; {scale}, {index} and {name} (of the input) work too.",
    ),
    option(
        "--strip", is_flag=True,
        help="Leave out all metadata, cover art and chapter titles; convert image colors to sRGB.",
    ),
    option(
        "--strip-gps", is_flag=True,
        help="Leave out where an image or video was taken, and video streams that may contain it.",
    ),
    option("--keep-times", is_flag=True, help="Give output files the dates of their inputs."),
)  # fmt: skip

existing_group = group(
    "Output", "existing", _existing,
    option("--overwrite", is_flag=True, help="Replace existing outputs."),
    option("--skip-existing", is_flag=True, help="Keep existing outputs."),
    option("--update", is_flag=True, help="Replace outputs that are older than their input."),
)  # fmt: skip

size_group = group(
    "Size", "size", _size,
    option(
        "-s", "--scale", type=ScaleType(), metavar="X",
        help="Upscaling factor, like 2 or 1.5. [default: 4, or that of the model]",
    ),
    option(
        "--width", type=click.IntRange(min=1), metavar="N",
        help="Output width in pixels; alone, it keeps the proportions.",
    ),
    option(
        "--height", type=click.IntRange(min=1), metavar="N",
        help="Output height in pixels; alone, it keeps the proportions.",
    ),
    option(
        "--fit", type=BoxType(), metavar="WxH", help="Largest size that fits into a box, like 1920x1080."
    ),
)  # fmt: skip

image_group = group(
    "Image", "image", _image,
    option(
        "--quality", type=click.IntRange(1, 100), default=95, show_default=True, metavar="1-100",
        help="Quality of JPEG, WebP, AVIF, HEIF and JPEG XL.",
    ),
    option("--lossless", is_flag=True, help="Write WebP, HEIF and JPEG XL without loss."),
    option(
        "--bits", type=click.Choice(["8", "16"]), metavar="8|16",
        help="Bits per channel. [default: those of the input]",
    ),
    option(
        "--alpha", type=click.Choice(["network", "lanczos"]), default="network", show_default=True,
        metavar="NAME", help="How to upscale transparency: network or lanczos.",
    ),
    option(
        "--background", type=ColorType(),
        help="Color behind transparent pixels in formats without transparency, like white or #102030.",
    ),
    option(
        "--dpi", type=DPIType(), default="keep", show_default=True, metavar="N",
        shell_complete=candidates.words(["keep", "scale"]),
        help="Pixels per inch: a number, keep, or scale to keep the print size of the input.",
    ),
)  # fmt: skip

video_group = group(
    "Video", "video", VideoOptions,
    option(
        "--codec", metavar="NAME", shell_complete=candidates.words(CODECS),
        help="x264, x265, av1, vp9, prores, ffv1, h264_nvenc, hevc_nvenc, av1_nvenc, or an encoder of "
        "ffmpeg. [default: x264 for 8 bits, x265 for more]",
    ),
    option(
        "--crf", type=float, metavar="Q",
        help="Quality on the scale of the codec; lower is better. [default: visually lossless]",
    ),
    option("--preset", metavar="NAME", help="Speed of the codec, as the codec names it."),
    option("--pix-fmt", metavar="NAME", help="Pixel format. [default: that of the input]"),
    option(
        "--encoder-args", type=ArgumentsType(), default="",
        help="More options for ffmpeg, like '-tune grain'.",
    ),
    option(
        "--map", "maps", multiple=True, metavar="SELECTION",
        help="Copy only these other streams, in the notation of ffmpeg, like 0:a:0. Repeatable.",
    ),
    option(
        "--square-pixels", is_flag=True,
        help="Widen or heighten frames whose pixels are not square, as players show them.",
    ),
    option("--deinterlace", is_flag=True, help="Build whole frames from interlaced fields."),
    option(
        "--fields", is_flag=True,
        help="With --deinterlace: build a frame from each field, for twice as many frames.",
    ),
    option(
        "--inverse-telecine", is_flag=True,
        help="Restore the 24 frames a second of a film from a video of 30.",
    ),
    option(
        "--fps", type=FrameRateType(), metavar="N",
        help="Frames per second of numbered images that become a video. [default: 25]",
    ),
    option("--start", type=TimeType(), help="Skip what comes before this time, like 90 or 1:30."),
    option("--end", type=TimeType(), help="Skip what comes after this time."),
    option(
        "--segment-seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True,
        metavar="N", help="Segment length. An interrupted run loses at most one segment.",
    ),
)  # fmt: skip

run_group = group(
    "Run", "run", RunOptions,
    option("--dry-run", is_flag=True, help="Print what would be done and how long it would take."),
    option(
        "--preview", type=click.IntRange(min=1), metavar="N",
        help="Write N sample frames of each video as PNG, instead of the video.",
    ),
    option("--watch", is_flag=True, help="Keep processing new files in the input folders."),
    option("--fail-fast", is_flag=True, help="Stop at the first failure."),
    option(
        "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help="Write the outcome of every file to FILE: JSON, or a page with thumbnails for run.html.",
    ),
    option(
        "--cluster", metavar="ADDRESS",
        help="Compute on a Ray cluster: auto for the one of this machine, or HOST:PORT.",
    ),
    option(
        "--workers", type=click.IntRange(min=1), metavar="N",
        help="Use N workers on the processors of the cluster, not one on each GPU.",
    ),
    option(
        "--json", "print_events", is_flag=True, help="Print events on stdout, one JSON object per line."
    ),
    profile_option,
)  # fmt: skip
