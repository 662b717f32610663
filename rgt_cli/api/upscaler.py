"""`Upscaler`: upscale images in memory with one model, to one size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from PIL import Image

from rgt_cli.api.arguments import ModelArguments, PathLike, model_options, parse, size_of
from rgt_cli.api.images import InputImage, named, open_image
from rgt_cli.jobs.models import ModelLoader
from rgt_cli.size import Dimensions, Size

if TYPE_CHECKING:  # importing the API must not wait for torch
    from torch import nn

    from rgt_cli.checkpoints import DownloadProgress
    from rgt_cli.inference import MultiPassUpscaler
    from rgt_cli.inference.device import Precision
    from rgt_cli.inference.tiling import ProgressCallback

logger = logging.getLogger(__name__)

Images = list[Any] | tuple[Any, ...] | Iterator[Any]


class Upscaler:
    """Upscales images with one model, to one size, on one device.

    The arguments have the names, the meanings and the values of the options of `rgt upscale`.

    Args:
        model: "auto", which chooses for each image, the name of a model, a checkpoint on the Hugging
            Face Hub, at a URL or in a file, or a network: a module that maps (N, C, H, W) in 0..1 to
            (N, C, s * H, s * W) and has a `config` with `upscale` and `in_chans`.
        scale: The upscaling factor, up to 64, such as 2, 2.5 or "2x". None is 4, or the factor of the
            model. Factors that the model does not have are reached in several passes and by resizing.
        width: Width of the outputs in pixels; alone, it keeps the proportions.
        height: Height of the outputs in pixels; alone, it keeps the proportions.
        fit: The box that outputs fit into, as "1920x1080" or (1920, 1080).
        device: "auto", "cuda", "cuda:N", "xpu", "xpu:N", "mps" or "cpu".
        precision: "auto" (fp16 on CUDA and XPU, fp32 elsewhere), "fp32", "fp16" or "bf16".
        tile: Side of a tile in pixels of the input, "none" for the whole image, or "auto" for the whole
            image if it fits in memory.
        overlap: Pixels of the input that neighboring tiles share; None is 32, or a third of a tile below
            96 pixels.
        batch_size: How many images of one size are computed at once; None is as many as are faster.
        memory: The most bytes that this process may use where the network computes, such as "4G"; None
            is what is free.
        threads: CPU threads of PyTorch in this process; None uses the processors that it may use.
        self_ensemble: Average the results for 8 flips and rotations: better, but 8 times slower.
        alpha: What upscales transparency: "network" or "lanczos".
        progress: Called during the download of a checkpoint with (name, bytes so far, bytes in total or
            None).

    Raises:
        UsageError: An argument is not valid, or not for this model or machine.
        CheckpointError: The model cannot be loaded.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each option
        self,
        model: PathLike | nn.Module = "auto",
        scale: float | str | None = None,
        *,
        width: int | None = None,
        height: int | None = None,
        fit: str | tuple[int, int] | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        tile: int | Literal["auto", "none"] = "auto",
        overlap: int | None = None,
        batch_size: int | None = None,
        memory: int | str | None = None,
        threads: int | None = None,
        self_ensemble: bool = False,
        alpha: Literal["network", "lanczos"] = "network",
        progress: DownloadProgress | None = None,
    ) -> None:
        from torch import nn

        arguments = locals()
        given = {name: arguments[name] for name in ModelArguments.__annotations__}
        self._network = given.pop("model") if isinstance(model, nn.Module) else None
        parsed = parse(given, ModelArguments, "Upscaler")
        self.options = model_options(parsed)
        """The options of the model, parsed."""
        self.alpha: Literal["network", "lanczos"] = parsed["alpha"]
        self._progress = progress
        self._requested = size_of(parsed)
        if self._requested is None and self._network is None:
            self._requested = self.options.default_size
        self._resolve_device()
        self.network_upscaler, self.chooser = self._loader().load()
        self.name = self.network_upscaler.name or self.options.model
        """The names of the models, as far as they are known before an image is."""

    def _resolve_device(self) -> None:
        from rgt_cli.inference.device import precision_name, resolve_device, resolve_precision

        device = resolve_device(self.options.device)
        self.device = str(device)
        """The device that computes, as PyTorch names it."""
        self.precision = precision_name(resolve_precision(self.options.precision, device))
        """The precision of matrix products: "fp32", "fp16" or "bf16"."""

    def _loader(self) -> ModelLoader:
        return ModelLoader(
            options=self.options,
            size=self._requested,
            alpha_by_network=self.alpha == "network",
            note=lambda note: logger.warning("%s", note),
            network=self._network,
            downloads=lambda: nullcontext(self._progress),
        )

    @property
    def size(self) -> Size:
        """The size of outputs."""
        return self.network_upscaler.size

    def __repr__(self) -> str:
        return (
            f"Upscaler(model={self.name!r}, size={str(self.size)!r}, device={self.device!r}, "
            f"precision={self.precision!r})"
        )

    @overload
    def upscale(self, image: np.ndarray, on_progress: ProgressCallback | None = None) -> np.ndarray: ...
    @overload
    def upscale(
        self, image: PathLike | Image.Image, on_progress: ProgressCallback | None = None
    ) -> Image.Image: ...
    @overload
    def upscale(
        self,
        image: list[np.ndarray] | tuple[np.ndarray, ...] | Iterator[np.ndarray],
        on_progress: ProgressCallback | None = None,
    ) -> list[np.ndarray]: ...
    @overload
    def upscale(
        self,
        image: list[Any] | tuple[Any, ...] | Iterator[Any],
        on_progress: ProgressCallback | None = None,
    ) -> list[Any]: ...
    def upscale(
        self,
        image: np.ndarray | Image.Image | PathLike | Images,
        on_progress: ProgressCallback | None = None,
    ) -> np.ndarray | Image.Image | list[Any]:
        """Upscale an image, or each image of a list.

        Args:
            image: One of these, or a list, tuple or iterator of them:

                - an array of uint8, uint16 or floating point in 0..1: (H, W) gray, or (H, W, C) with
                  gray, gray and alpha, RGB or RGBA;
                - a PIL image of any mode;
                - the path of an image file.
            on_progress: Called with the tiles that are done and their number; for a list, with images.

        Returns:
            For an array, an array of the same dtype and number of channels; floating point becomes
            as float32. For a PIL image or a path, a PIL image of mode L, LA, RGB or RGBA, or of mode
            I;16 or F for gray of 16 bits or floating point. It is upright, and `info` contains the
            metadata. For a list, a list.

        Raises:
            NoInputError: A file does not exist.
            InputError: An image is damaged, or of an unsupported kind.
            UsageError: The type, shape, dtype or a value is not supported.
            OutOfMemoryError: An image does not fit in memory with the requested tiles, or not even with
                the smallest.
            CheckpointError: The model that was chosen cannot be loaded, or its output is not finite.
        """
        if isinstance(image, (list, tuple, Iterator)):
            return self._upscale_all(list(image), on_progress)
        opened = open_image(image, "")
        with named(opened.name):
            upscaler = self._choose(opened)
            return opened.finish(*upscaler.upscale(opened.pixels, opened.alpha, on_progress))

    def _choose(self, opened: InputImage) -> MultiPassUpscaler:
        """Return the upscaler that suits an image."""
        if self.chooser is None:
            return self.network_upscaler
        return self.chooser.upscaler_for_image(opened.name or "an image", opened.source)

    def _upscale_all(self, images: list[Any], on_progress: ProgressCallback | None) -> list[Any]:
        """Upscale images, those of one size that follow one another at once if they fit in memory."""
        results: list[Any] = []
        opened = (open_image(image, f"image {number}") for number, image in enumerate(images))
        for (upscaler, size), alike in groupby(opened, self._upscaler_and_size):
            while group := list(islice(alike, upscaler.batch_size_for(size))):
                with named(group[0].name if len(group) == 1 else ""):
                    outputs = upscaler.upscale_batch([(one.pixels, one.alpha) for one in group])
                results += [one.finish(*output) for one, output in zip(group, outputs, strict=True)]
                if on_progress:
                    on_progress(len(results), len(images))
        return results

    def _upscaler_and_size(self, opened: InputImage) -> tuple[MultiPassUpscaler, Dimensions]:
        height, width = opened.pixels.shape[:2]
        return self._choose(opened), Dimensions(width, height)
