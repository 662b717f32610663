"""Turn inputs into jobs, and refuse what is known to fail before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rgt_cli.errors import InputError, NoInputError, OutputError, UsageError
from rgt_cli.files import is_stream
from rgt_cli.jobs.folder_plan import check_kind, plan_folder
from rgt_cli.jobs.job import Job, is_video_name
from rgt_cli.jobs.numbered import find_numbered, is_numbered
from rgt_cli.jobs.options import ImageOptions, OutputOptions
from rgt_cli.jobs.source_list import Source
from rgt_cli.jobs.sources import SourceScan
from rgt_cli.media import (
    CONTAINERS,
    FORMATS,
    Container,
    Encoding,
    Header,
    ImageFormat,
    ImageSequence,
    check_frames,
    check_images,
    container_of,
    format_of,
    read_header,
)
from rgt_cli.size import Dimensions, Size


def plan_one(source: Path, size: Size, output: OutputOptions, images: tuple[Path, ...] = ()) -> Job:
    """Plan the job of one named input: into the named file or folder, or beside the input.

    Args:
        source: The input.
        size: The size of the output.
        output: Where it goes.
        images: The images that are the frames of the input, of which `source` is the first.

    Raises:
        NoInputError: The input does not exist.
        UsageError, OutputError: As `plan_file` and `plan_folder`.
    """
    if images:
        return _plan_images(images, output)
    if not source.exists():
        raise NoInputError(f"{source}: no such file")
    target = output.target
    if target and not (target.is_dir() or _is_new_folder(output)):
        return plan_file(source, target, output)
    wanted = output.requested_format
    if wanted and is_video_name(source) and not container_of(wanted):
        raise UsageError(
            f"{source}: {wanted.name} does not support videos: "
            f"use -o frames/%06d.{wanted.name} to write an image of each frame"
        )
    folder = target or source.parent
    if folder.exists():
        check_folder(folder)
    (job,) = plan_folder([Source.of(source)], folder, size, output)
    return job


def _is_new_folder(output: OutputOptions) -> bool:
    """Return whether an output will become a folder: it has no suffix, no format, and does not exist."""
    target = output.target
    return bool(target and not target.suffix and not output.format and not target.exists())


def plan_file(source: Path, target: Path, output: OutputOptions) -> Job:
    """Plan the job of one input whose output file is named.

    Raises:
        UsageError: The output is the input, or its suffix contradicts the format.
        OutputError: The folder of the output does not exist or cannot be written.
    """
    wanted = output.requested_format
    actual = wanted if wanted and not target.suffix else format_of(target)
    if wanted not in (None, actual):
        raise UsageError(f"{target}: the suffix means {actual.name}, but --format is {output.format}")
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target}: is the input itself; use another -o")
    job = Job(source, target, actual, is_split=is_numbered(target) and _is_animation(source))
    check_kind(job)
    if is_stream(target):
        if job.is_video:
            raise UsageError(f"{target}: a video cannot be written to a pipe or a device; use a file")
        return job
    if not (is_numbered(target) and job.is_video and not target.parent.exists()):
        check_folder(target.parent)  # else it is frames/%06d.png, and its folder is created
    return job


def _is_animation(source: Path) -> bool:
    with suppress(InputError):
        return read_header(source).is_animation
    return False


def images_of_one_video(source: Path, output: OutputOptions) -> tuple[Path, ...]:
    """Return the numbered images that are the frames of one output video; nothing for other inputs.

    They are those of a pattern such as frames/%06d.png, and those of a folder if the output has the name
    of a video.

    Raises:
        NoInputError, UsageError: As `find_numbered`.
    """
    target = output.target
    if source.is_dir():
        is_one = target is not None and not target.is_dir() and target.suffix.lower() in _VIDEO_SUFFIXES
    else:
        is_one = is_numbered(source) and not source.exists()
    return find_numbered(source) if is_one else ()


def _plan_images(images: tuple[Path, ...], output: OutputOptions) -> Job:
    """Plan the job of numbered images that become one video.

    Raises:
        UsageError: No output is named, it is not a video, or as `plan_file`.
        OutputError: As `plan_file`.
    """
    folder = images[0].parent
    if output.target is None:
        raise UsageError(f"{folder}: name the video that the images become, such as -o video.mp4")
    job = plan_file(images[0], output.target, output)
    if not container_of(job.format):
        raise UsageError(
            f"{output.target}: is not a video: use -o video.mp4, or the folder {folder} as the input"
        )
    return replace(job, images=images)


def check_image_options(
    jobs: Collection[Job], options: ImageOptions, configured: Collection[str] = ()
) -> None:
    """Refuse options of images where all outputs are videos.

    Args:
        jobs: The jobs of a run.
        options: The options.
        configured: The names of those that are set for all runs, which are not refused.

    Raises:
        UsageError: One of them is set.
    """
    if not jobs or not all(job.is_video and container_of(job.format) for job in jobs):
        return
    usual = ImageOptions()
    for name, instead in _VIDEO_OPTIONS.items():
        if name not in configured and getattr(options, name) != getattr(usual, name):
            raise UsageError(f"--{name} has no effect on videos{instead}")


_VIDEO_OPTIONS = {
    "lossless": ": use --codec ffv1", "quality": ": use --crf", "bits": ": use --pix-fmt",
    "background": "", "dpi": "",
}  # fmt: skip
"""Options of images -> what to use for videos instead."""


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no output can be written.

    Raises:
        OutputError: It does not exist, or its permissions do not allow it.
    """
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "no such folder"
        raise OutputError(f"{folder}: cannot be written: {problem}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: no permission")


def check_output_folder(folder: Path) -> None:
    """Refuse an output folder that can neither be written nor created, or has the name of a file.

    Raises:
        UsageError: Its name is that of an image or a video.
        OutputError: Its permissions, or those of the folder that it will be created in, do not allow it.
    """
    if not folder.exists():
        if folder.suffix.lower() in _SUFFIXES:
            raise UsageError(
                f"{folder}: names a file, but several inputs need a folder: use -o {folder.stem}"
            )
        folder = next(parent for parent in folder.absolute().parents if parent.exists())
    check_folder(folder)


def output_folder(scan: SourceScan) -> Path:
    """Return the output folder of inputs for which none is named.

    The output folder of `photos` is `photos_upscaled` beside it; that of files is their own folder.

    Raises:
        UsageError: The inputs are in several folders.
    """
    parents = {Path(place.folder) for place in scan.sources.places}
    if len(scan.folders) == 1 and all(parent.is_relative_to(scan.folders[0]) for parent in parents):
        folder = scan.folders[0]
        if folder.name in ("", ".."):
            folder = folder.resolve()
        return folder.with_name(f"{folder.name}_upscaled")
    if scan.folders or len(parents) > 1:
        raise UsageError("inputs in several folders: name the output folder with -o FOLDER")
    return parents.pop()


_VIDEO_SUFFIXES = frozenset([*(suffix for c in CONTAINERS for suffix in c.suffixes), ".gif"])
"""The suffixes of videos that can be written."""
_SUFFIXES = frozenset(suffix for f in (*FORMATS, *CONTAINERS) for suffix in f.suffixes)
"""The suffixes of formats that can be written."""


def check_output(job: Job, images: ImageSequence, size: Size, encoding: Encoding) -> None:
    """Refuse an output that its format does not support, before any of it is computed.

    Raises:
        UsageError: A side is too long, or something would be lost; see `check_images`.
    """
    assert not isinstance(job.format, Container)
    _check_side(job, job.format, max(max(size.of(picture.size)) for picture in images.frames))
    check_images(images, job.target, job.format, encoding)


def check_header(job: Job, header: Header, size: Size, encoding: Encoding) -> None:
    """Refuse an output that its format does not support, as far as the header of the input reveals it.

    Raises:
        UsageError: As `check_output`, but for transparency, which only the pixels reveal.
    """
    assert not isinstance(job.format, Container)
    _check_side(job, job.format, max(smallest_output(header, size)))
    check_frames(header.frames, header.is_animation, job.target, job.format, encoding)


def smallest_output(header: Header, size: Size) -> Dimensions:
    """Return the size of the output, or that with the other orientation if it is smaller.

    The header does not reveal the orientation.
    """
    width, height = header.size
    return min((size.of(Dimensions(*sides)) for sides in ((width, height), (height, width))), key=max)


def _check_side(job: Job, file_format: ImageFormat, longest: int) -> None:
    name, most = file_format.name, file_format.longest_side
    if longest > most:
        raise UsageError(
            f"{job.target}: {name} supports at most {most} pixels per side, not {longest}; use png"
        )
