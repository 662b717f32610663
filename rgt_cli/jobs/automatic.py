"""The automatic choice of a model for each input: one for clean inputs, one for compressed ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from rgt_cli.errors import RGTError
from rgt_cli.jobs.job import Job, is_video_name
from rgt_cli.media import jpeg_quality
from rgt_cli.media.identify import identify

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from rgt_cli.inference import MultiPassUpscaler

logger = logging.getLogger(__name__)

CLEAN, COMPRESSED = "auto", "auto-photo"
"""The names of the automatic models for the two kinds of inputs."""
_COMPRESSED_QUALITY = 90
"""The highest quality of JPEG that counts as compressed: see the manual's page on models."""
_COMPRESSED_BITS = 0.1
"""The most bits per pixel of H.264 that count as compressed. Smooth videos gain up to this number, and
detailed ones beyond it."""
_EFFICIENCY = {
    "mpeg1video": 0.6, "mpeg2video": 0.6, "mpeg4": 0.6, "msmpeg4v3": 0.6, "h263": 0.6, "vp8": 0.8,
    "h264": 1.0, "hevc": 1.0, "vp9": 1.0, "av1": 1.0,
}  # fmt: skip
"""Codec -> how many bits of H.264 one of its bits is worth. Videos of other codecs count as clean."""


class Compression(NamedTuple):
    """How an input was compressed."""

    model: str
    """CLEAN or COMPRESSED."""
    reason: str
    """What the file reveals, in words; empty if the file cannot be read, so no model will be used."""


class AutomaticModels:
    """The models between which a run chooses for each input.

    Args:
        upscalers: The upscalers of the models CLEAN and COMPRESSED, each loaded for its first input.
    """

    def __init__(self, upscalers: Mapping[str, MultiPassUpscaler]) -> None:
        self.upscalers = upscalers
        self.examples: dict[str, str] = {}
        """Model -> its first input, and why it was chosen for it."""

    def upscaler_for(self, job: Job) -> MultiPassUpscaler:
        """Return the upscaler that suits the input of a job.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        return self._chosen(job.name, compression_of(job))

    def upscaler_for_image(self, name: str, source: Path | Image.Image | None) -> MultiPassUpscaler:
        """Return the upscaler that suits an image that is not the input of a job.

        Args:
            name: What messages call the image.
            source: Its file, or the image as it was opened; None if it has neither.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        return self._chosen(name, _compression_of_image(source))

    def _chosen(self, name: str, compression: Compression) -> MultiPassUpscaler:
        model, reason = compression
        logger.debug("%s: %s, %s", name, model, reason)
        upscaler = self.upscalers[model]
        if reason and model not in self.examples:
            self.examples[model] = f"{name} ({reason})"
            upscaler.preload()
        return upscaler


def compression_of(job: Job) -> Compression:
    """Return how the input of a job was compressed. An input that cannot be read counts as clean."""
    if job.is_video and not job.images:
        return _compression_of_video(job.source)
    return _compression_of_image(job.source)


def compression_of_file(path: Path) -> Compression:
    """Return how an image or a video was compressed. A file that cannot be read counts as clean."""
    return _compression_of_video(path) if is_video_name(path) else _compression_of_image(path)


def _compression_of_image(source: Path | Image.Image | None) -> Compression:
    quality = None if source is None else jpeg_quality(source)
    if quality is None:
        return Compression(CLEAN, "not a JPEG" if _is_another_image(source) else "")
    model = COMPRESSED if quality <= _COMPRESSED_QUALITY else CLEAN
    return Compression(model, f"JPEG of quality {quality}")


def _compression_of_video(path: Path) -> Compression:
    from rgt_cli.media.video.probe import probe  # imports libraries that images do not need

    try:
        video = probe(path)
    except RGTError:
        return Compression(CLEAN, "")
    pixels = video.size.width * video.size.height * (video.frames or 0)
    if not pixels or video.codec not in _EFFICIENCY:
        return Compression(CLEAN, video.codec)
    bits = 8 * path.stat().st_size / pixels
    model = COMPRESSED if bits * _EFFICIENCY[video.codec] <= _COMPRESSED_BITS else CLEAN
    return Compression(model, f"{video.codec} with {bits:.2g} bits per pixel")


def _is_another_image(source: Path | Image.Image | None) -> bool:
    """Return whether something is an image, and not a JPEG that is damaged."""
    if not isinstance(source, Path):
        return True
    with suppress(OSError):
        return identify(source) not in (None, "jpeg")
    return False
