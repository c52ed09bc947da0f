"""Pictures of trainings and scores. Matplotlib is imported when something is drawn."""

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


def save_confusion(path: Path, counts: np.ndarray, names: Sequence[str]) -> None:
    """Draws how often samples of each true class (row) were taken for each class (column).

    Args:
      path: PNG file.
      counts: Integers, (classes, classes).
      names: Of the classes.
    """
    figure, (axes,) = _panels(1, size=5.5)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (samples)")
    save_figure(path, figure)


def save_scatter(
    path: Path, true: np.ndarray, predicted: np.ndarray, names: Sequence[str], unit: str
) -> None:
    """Draws predicted against true numbers of a quantity, a panel for each component.

    Args:
      path: PNG file.
      true: (samples, components).
      predicted: Likewise.
      names: Of the components.
      unit: Of the numbers.
    """
    figure, panels = _panels(len(names), columns=3)
    for column, (axes, name) in enumerate(zip(panels, names, strict=True)):
        both = np.stack([true[:, column], predicted[:, column]])
        low, high = float(both.min()), float(both.max())
        margin = 0.05 * (high - low) or 1.0
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
        axes.plot(*both, "o", markersize=4, alpha=0.6, markeredgewidth=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(f"true ({unit})")
        axes.set_ylabel(f"predicted ({unit})")
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
