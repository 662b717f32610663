"""The options of a job besides the size. Each class is one group of `rgt upscale --help`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rgt_cli.checkpoints.catalogue import AUTOMATIC, CatalogueEntry, lookup
from rgt_cli.errors import UsageError
from rgt_cli.media import MAX_PIXELS, Encoding, Format, format_named
from rgt_cli.media.video.codecs import VideoEncoding
from rgt_cli.size import Size
from rgt_cli.values import reject_several

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from torch import nn

    from rgt_cli.checkpoints import DownloadProgress
    from rgt_cli.inference import NetworkUpscaler
    from rgt_cli.inference.device import Precision
    from rgt_cli.inference.tiling import TileSize

DEFAULT_RATE = Fraction(25)
"""Frames per second of numbered images."""
DEFAULT_NAME = "{stem}_{size}{ext}"
"""The template of the file names in an output folder."""


class Existing(Enum):
    """What to do with an output that exists and was not written by the run that is resumed."""

    REFUSE = "refuse"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    UPDATE = "update"
    """Replace it if its input is newer."""

    @classmethod
    def of(cls, *, overwrite: bool, skip_existing: bool, update: bool, prefix: str = "") -> Existing:
        """Return what one of three flags asks for; `REFUSE` if none is set.

        Args:
            overwrite: Replace it.
            skip_existing: Leave it unchanged.
            update: Replace it if its input is newer.
            prefix: What precedes the names of the flags in an error.

        Raises:
            UsageError: Several flags are set.
        """
        flags = {
            "overwrite": (overwrite, cls.OVERWRITE),
            "skip-existing" if prefix else "skip_existing": (skip_existing, cls.SKIP),
            "update": (update, cls.UPDATE),
        }
        chosen = {name: action for name, (is_set, action) in flags.items() if is_set}
        reject_several([prefix + name for name in chosen])
        return next(iter(chosen.values()), cls.REFUSE)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model computes, and how. Each field means what it means to `NetworkUpscaler`."""

    model: str = "auto"
    device: str = "auto"
    precision: Precision = "auto"
    tile: TileSize = "auto"
    overlap: int | None = None
    batch_size: int | None = None
    memory: int | None = None
    """Bytes."""
    threads: int | None = None
    """None uses one per CPU core that this process may use."""
    self_ensemble: bool = False

    def __post_init__(self) -> None:
        """Check that the options agree.

        Raises:
            UsageError: The overlap is as large as a tile, or larger.
        """
        if isinstance(self.tile, int) and self.overlap is not None and self.overlap >= self.tile:
            raise UsageError(f"--overlap {self.overlap}: must be smaller than --tile {self.tile}")

    @property
    def default_size(self) -> Size | None:
        """The size of outputs if none is requested; None if only the file of the model reveals it.

        Raises:
            UsageError, CheckpointError: There is no such model.
        """
        if self.model in AUTOMATIC:
            return Size(scale=4)
        found = lookup(self.model, None)
        scale = found.scale if isinstance(found, CatalogueEntry) else None
        return None if scale is None else Size(scale=scale)

    def load(
        self,
        scale: int | None,
        progress: DownloadProgress | None = None,
        network: nn.Module | None = None,
    ) -> NetworkUpscaler:
        """Load the model for one factor.

        Args:
            scale: The factor; None is that of the model.
            progress: Called during a download, as by `NetworkUpscaler`.
            network: A network that is used instead of the named model.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        from rgt_cli.inference import NetworkUpscaler, use_threads

        use_threads(self.threads)
        return NetworkUpscaler(
            self.model if network is None else network,
            scale,
            device=self.device,
            precision=self.precision,
            tile=self.tile,
            overlap=self.overlap,
            memory=self.memory,
            progress=progress,
            self_ensemble=self.self_ensemble,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images are written."""

    quality: int = 95
    """1..100, for lossy formats."""
    lossless: bool = False
    """Keep every pixel exactly, in formats that offer the choice."""
    background: tuple[int, int, int] | None = None
    """The color, RGB of 0..255, behind transparent pixels in formats without transparency."""
    bits: Literal[8, 16] | None = None
    """Bits per channel; None keeps those of the input."""
    alpha: Literal["network", "lanczos"] = "network"
    """What upscales transparency."""
    dpi: float | Literal["keep", "scale"] = "keep"
    """Resolution of outputs in pixels per inch: a number, "keep" for that of the input, or "scale" to
    multiply it by the upscaling factor, so that the output prints at the size of the input."""

    @property
    def encoding(self) -> Encoding:
        """The options of the image encoders."""
        return Encoding(quality=self.quality, lossless=self.lossless, background=self.background)


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are written."""

    codec: str | None = None
    """One of `CODECS`, or the name of an ffmpeg encoder; None depends on the container and the bits per
    channel."""
    crf: float | None = None
    """Quality on the scale of the encoder, lower is better; None is visually lossless."""
    preset: str | None = None
    """Speed of the encoder, as the encoder names it."""
    pix_fmt: str | None = None
    """Pixel format, as ffmpeg names it; None keeps that of the input where the encoder supports it."""
    encoder_args: tuple[str, ...] = ()
    """Further arguments for ffmpeg."""
    deinterlace: bool = False
    """Build whole frames from interlaced fields."""
    fields: bool = False
    """Build a frame from each field, instead of one from two; requires `deinterlace`."""
    inverse_telecine: bool = False
    """Restore the 24 frames per second of a film from a telecined video."""
    start: float | None = None
    """Seconds from the start of the input; earlier frames are left out."""
    end: float | None = None
    """Seconds from the start of the input; later frames are left out."""
    square_pixels: bool = False
    """Stretch frames whose pixels are not square."""
    maps: tuple[str, ...] = ()
    """Which other streams are copied, in the notation of ffmpeg's option -map; empty for all of them."""
    fps: Fraction | None = None
    """Frames per second of numbered images; None is `DEFAULT_RATE`."""
    segment_seconds: float = 10.0
    """Length of a segment. An interrupted run loses at most one."""

    def __post_init__(self) -> None:
        """Check that the options agree.

        Raises:
            UsageError: The selected part of the input is empty, or options cannot be used together.
        """
        if self.fields and self.inverse_telecine:
            raise UsageError(
                "--fields and --inverse-telecine cannot be used together: choose one of them"
            )
        if self.fields and not self.deinterlace:
            raise UsageError("--fields requires --deinterlace")
        if self.end is not None and self.end <= (self.start or 0):
            raise UsageError(f"--end {self.end:g}: does not come after --start {self.start or 0:g}")

    def check_for_images(self) -> None:
        """Refuse options of video encoders where each frame becomes an image.

        Raises:
            UsageError: One of them is set.
        """
        given = {
            "--codec": self.codec, "--crf": self.crf, "--preset": self.preset, "--pix-fmt": self.pix_fmt,
            "--encoder-args": " ".join(self.encoder_args) or None, "--map": " ".join(self.maps) or None,
        }  # fmt: skip
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{name} {value}: has no effect where each frame becomes an image")

    @property
    def encoding(self) -> VideoEncoding:
        """The options of the video encoder."""
        return VideoEncoding(
            codec=self.codec,
            crf=self.crf,
            preset=self.preset,
            pix_fmt=self.pix_fmt,
            arguments=self.encoder_args,
        )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where outputs go, and what they are called."""

    target: Path | None = None
    """A file or a folder; None puts outputs beside their inputs, or beside the input folder."""
    format: str | None = None
    """Name of the output format; None depends on the suffix of `target`, else on the input."""
    name: str = DEFAULT_NAME
    """Template of the file names in an output folder."""
    strip: bool = False
    """Omit all metadata, and convert colors to sRGB."""
    strip_gps: bool = False
    """Omit where an image or video was taken."""
    keep_times: bool = False
    """Give outputs the times of access and modification of their inputs."""

    @property
    def requested_format(self) -> Format | None:
        """The output format that is requested; None if none is.

        Raises:
            UsageError: It is unknown, or its package is not installed.
        """
        return format_named(self.format) if self.format else None


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """All options that a job depends on besides model and size."""

    image: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    existing: Existing = Existing.REFUSE
    """What to do with images of frames that other settings made."""
    max_pixels: int = MAX_PIXELS
    """Images that decode to more pixels are refused."""

    def settings(self, model: ModelOptions, name: str, size: Size) -> dict[str, Any]:
        """Return everything that the outputs of a run depend on, for its journal.

        Args:
            model: How the model computes.
            name: The name of the model.
            size: The size of the outputs.
        """
        image, video = asdict(self.image), asdict(self.video)
        del video["segment_seconds"]  # it does not change pixels
        video["fps"] = video["fps"] and str(video["fps"])
        return {
            "model": name,
            "size": str(size),
            "precision": model.precision,
            "tile": model.tile,
            "overlap": model.overlap,
            "self_ensemble": model.self_ensemble,
            "format": self.output.format,
            "strip": self.output.strip,
            "strip_gps": self.output.strip_gps,
            "keep_times": self.output.keep_times,
            **{f"image.{name}": value for name, value in image.items()},
            **{f"video.{name}": value for name, value in video.items()},
        }
