"""Run a job: read, enlarge, write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rgt_cli.batch.plan import Job, check_result
from rgt_cli.media import Picture, read_picture, write_picture

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference.upscaler import Report, Upscaler


def run_job(job: Job, upscaler: Upscaler, quality: int, report: Report | None = None) -> Picture:
    """Enlarge one picture from file to file and return what was written.

    Raises:
        PictureError: the source is damaged or no picture.
        UsageError: a kind of picture that is not supported yet, or too large for the format.
        OutOfMemoryError, OutputError: as `Upscaler.upscale` and `write_picture` say.
    """
    picture = read_picture(job.source)
    check_result(job, picture, upscaler.scale)
    enlarged = picture.with_pixels(upscaler.upscale(picture.pixels, report))
    write_picture(enlarged, job.target, job.format, quality)
    return enlarged
