"""The checkpoints that ship with the package, and how a person's `--model` becomes a file."""

from dataclasses import dataclass
from pathlib import Path

from rgt_cli.errors import CheckpointError, UsageError

NATIVE_SCALES = (2, 3, 4)
"""Scales of the bundled checkpoints."""
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Resolved:
    """The checkpoint that a model name and a scale stand for."""

    name: str
    """What to call it in messages."""
    path: Path
    """Where its file lies."""


def resolve(model: str, scale: int) -> Resolved:
    """Find the checkpoint that `model` names: "auto", "tiny", a full bundled name, or a path.

    Args:
        scale: the wanted factor; a short name takes the smallest native scale that reaches it.

    Raises:
        UsageError: no bundled scale reaches `scale`.
        CheckpointError: no such name and no such file.
    """
    names = {f"rgt-tiny-x{s}": s for s in NATIVE_SCALES}
    if model in ("auto", "tiny"):
        native = min((s for s in NATIVE_SCALES if s >= scale), default=None)
        if native is None:
            raise UsageError(f"no bundled model enlarges by {scale}; the largest is x4")
        model = f"rgt-tiny-x{native}"
    if model in names:
        return Resolved(model, _bundled_folder() / f"{model}.safetensors")
    path = Path(model).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"{model}: no model of that name and no such file (bundled: {', '.join(names)})"
        )
    return Resolved(path.name, path)


def _bundled_folder() -> Path:
    """`weights/` inside an installed package, or beside it in a checkout."""
    installed = ROOT / "weights"
    return installed if installed.is_dir() else ROOT.parent / "weights"
