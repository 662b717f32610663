"""What several test modules share."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
"""Files that the project ships for its tests."""
WEIGHTS = Path(__file__).parents[2] / "weights"
"""The bundled checkpoints and their recipe."""
