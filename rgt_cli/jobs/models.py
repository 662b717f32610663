"""Load what a run computes with: the upscaler of one model, or those between which it chooses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rgt_cli.checkpoints.catalogue import available_scales
from rgt_cli.jobs.automatic import CLEAN, COMPRESSED, AutomaticModels
from rgt_cli.jobs.options import ModelOptions
from rgt_cli.size import Size

if TYPE_CHECKING:  # planning and `rgt --help` must not wait for torch
    from torch import nn

    from rgt_cli.checkpoints import DownloadProgress
    from rgt_cli.inference import MultiPassUpscaler, NetworkUpscaler


def _without_progress() -> AbstractContextManager[DownloadProgress | None]:
    return nullcontext(None)


@dataclass(frozen=True, kw_only=True)
class ModelLoader:
    """Loads the upscalers of a run."""

    options: ModelOptions
    size: Size | None
    """The size of outputs; None is the factor of the model, which only its file reveals."""
    alpha_by_network: bool
    note: Callable[[str], None]
    """Called with messages for the user about how a model was chosen and loaded."""
    chosen: Callable[[str, str], None] = lambda model, example: None
    """Called with a model, and the input that it was chosen for, when it is loaded."""
    network: nn.Module | None = None
    """A network that is used instead of the named model."""
    downloads: Callable[[], AbstractContextManager[DownloadProgress | None]] = _without_progress
    """Opens what shows the progress of downloads."""

    def load(self) -> tuple[MultiPassUpscaler, AutomaticModels | None]:
        """Return the upscaler of the model, and what chooses another one for some inputs.

        Raises:
            UsageError, CheckpointError: As `NetworkUpscaler`.
        """
        if self.network is not None or self.options.model != CLEAN:
            return self._upscaler(self.options.model), None

        def load(name: str) -> MultiPassUpscaler:
            return self._upscaler(name, lambda: chooser.examples.get(name))

        chooser = AutomaticModels({name: load(name) for name in (CLEAN, COMPRESSED)})
        return chooser.upscalers[CLEAN], chooser

    def _upscaler(
        self, model: str, example: Callable[[], str | None] | None = None
    ) -> MultiPassUpscaler:
        """Return the upscaler of a model.

        Args:
            model: Its name.
            example: Returns the input that it was chosen for, if there is one yet; None if the model was
                requested.
        """
        from rgt_cli.inference import MultiPassUpscaler

        announced = set[str]()

        def load(scale: int | None) -> NetworkUpscaler:
            with self.downloads() as progress:
                upscaler = replace(self.options, model=model).load(scale, progress, self.network)
            for note in upscaler.notes:
                self.note(note)
            if example and (file := example()) and upscaler.name not in announced:
                announced.add(upscaler.name)
                self.chosen(upscaler.name, file)
            return upscaler

        native = available_scales(model) if self.network is None else []
        return MultiPassUpscaler(self.size, load, native, self.alpha_by_network, preload=not example)
