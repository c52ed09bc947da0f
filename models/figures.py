"""Pictures of trainings and of samples. Matplotlib is imported when something is drawn."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cbed_tf.figures import draw_patterns
from models.metrics import headline_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPLIT_STYLES = (("", "train", "C0"), ("val_", "dev", "C1"))
_DOTS_PER_INCH = 110


def save_training_curve(path: Path, history: Mapping[str, Sequence[float]]) -> None:
    """Draws the loss and the first metric of each target against epochs.

    Args:
      path: PNG file.
      history: By name, one number an epoch; nothing is drawn from an empty one.
    """
    names = headline_names(history)
    if not names:
        return
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names, strict=True):
        for prefix, split, color in _SPLIT_STYLES:
            values = history.get(prefix + name, [])
            if values:
                axes.plot(range(1, len(values) + 1), values, color=color, label=split)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        if name == "loss":
            axes.set_yscale("log")
            axes.legend(frameon=False)
        else:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    save_figure(path, figure)


def save_patterns(path: Path, stacks: np.ndarray, captions: Sequence[str]) -> None:
    """Draws samples side by side, their patterns below each other, at the fourth root.

    Args:
      path: PNG file.
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
    save_figure(path, figure)


def save_figure(path: Path, figure: "Figure") -> None:
    """Writes a PNG under a temporary name, then renames it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _panels(count: int, columns: int = 4, size: float = 3.0) -> tuple["Figure", list["Axes"]]:
    """Returns a figure with at least `count` square panels in rows, the surplus left out."""
    from matplotlib.figure import Figure

    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid[count:]:
        axes.remove()
    return figure, list(grid[:count])
