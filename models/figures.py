"""Pictures of samples. Matplotlib is imported when something is drawn."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cbed_tf.figures import draw_patterns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 110


def save_patterns(path: Path, stacks: np.ndarray, captions: Sequence[str]) -> None:
    """Draws samples as `patterns_figure` does, into a PNG file."""
    save_figure(path, patterns_figure(stacks, captions))


def patterns_figure(stacks: np.ndarray, captions: Sequence[str]) -> "Figure":
    """Returns samples side by side, their patterns below each other, at the fourth root.

    Args:
      stacks: Raw intensities, (samples, views, height, width).
      captions: Of the samples.
    """
    from matplotlib.figure import Figure

    samples, views = stacks.shape[:2]
    figure = Figure(figsize=(2 * samples, 2 * views + 0.5), layout="constrained")
    grid = figure.subplots(views, samples, squeeze=False)
    for column, caption in enumerate(captions):
        grid[0, column].set_title(caption, fontsize=8)
        draw_patterns(grid[:, column], stacks[column])
    return figure


def save_figure(path: Path, figure: "Figure") -> None:
    """Writes a PNG under a temporary name, then renames it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
