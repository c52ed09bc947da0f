"""Draws scores; writes no files. Matplotlib is imported when something is drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cbed_tf import crystal
from cbed_tf.inspection.charts import SYSTEM_COLOURS
from models.evaluation.reliability import BINS, Reliability
from models.evaluation.tables import metric_title
from models.learning.metrics import headline_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRID, _FAINT, _INK = "#e4e4e4", "#707070", "#33475b"
_WRONG, _EXPECTED = "#c0392b", "#dfe7ee"
_RUN_COLOURS = ("#33475b", "#c0762b")
_DOTS_PER_INCH = 160
# More points than this would make a line drawing of many megabytes: they become a picture in it.
_DRAWN_POINTS = 2000
# Answers to an angle that is always 90 degrees differ in the fourth digit, and labels are long.
_SCATTER_TICKS = 5


def reliability_chart(judged: Mapping[str, Reliability]) -> "Figure":
    """Draws how often answers of each probability are right, and how many there are of each.

    Args:
      judged: By title, a panel each.
    """
    figure, grid = _panels(2, len(judged), (4.2 * len(judged), 5), height_ratios=(4, 1))
    edges = np.arange(BINS) / BINS
    for (upper, lower), (title, found) in zip(grid.T, judged.items(), strict=True):
        filled = found.samples > 0
        confidence, accuracy = found.confidence[filled], found.accuracy[filled]
        low, high = found.expected[filled].T
        upper.plot((0, 1), (0, 1), color=_FAINT, linewidth=1)
        upper.bar(edges[filled], high - low, 1 / BINS, low, align="edge", color=_EXPECTED)
        is_off = (accuracy < low) | (accuracy > high)
        for which, colour in ((is_off, _WRONG), (~is_off, _INK)):
            upper.plot(confidence[which], accuracy[which], "o", color=colour, markersize=5)
        upper.set(xlim=(0, 1), ylim=(-0.03, 1.03), ylabel="share that is right")
        upper.tick_params(labelbottom=False)
        upper.set_title(title, fontsize=10, loc="left")
        lower.bar(edges, found.samples, 1 / BINS, align="edge", color="#7d9bb8")
        lower.set(xlim=(0, 1), xlabel="probability of the first answer", ylabel="samples")
    return figure


def confusion_chart(
    counts: np.ndarray, names: Sequence[str], what: str, width: float = 5.6
) -> "Figure":
    """Draws how often samples of each true class (row) were taken for each class (column).

    Args:
      counts: Integers, (classes, classes).
      names: Of the classes.
      what: They are.
      width: Of the picture, in inches.
    """
    figure, ((axes,),) = _panels(1, 1, (width, 0.86 * width))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        style = {"ha": "center", "va": "center", "color": colour, "fontsize": 8}
        axes.text(column, row, f"{counts[row, column]:,}", **style)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=f"answered {what}", ylabel=f"true {what}")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


def scatter_chart(
    true: np.ndarray,
    answers: np.ndarray,
    names: Sequence[str],
    unit: str,
    space_groups: np.ndarray,
) -> "Figure":
    """Draws answered against true numbers of a quantity, a panel for each of its components.

    Args:
      true: (samples, components).
      answers: Likewise.
      names: Of the components.
      unit: Of the numbers.
      space_groups: Of the samples, which are coloured by crystal system.
    """
    figure, ((*panels,),) = _panels(1, len(names), (max(3.4 * len(names), 4.8), 4.2))
    systems = np.array([crystal.crystal_system(number) for number in space_groups.tolist()])
    present = [system for system in SYSTEM_COLOURS if (systems == system).any()]
    # All in one order, whatever the system, so that none covers the others.
    colours = np.array([SYSTEM_COLOURS[system] for system in systems])
    is_dense = len(true) > _DRAWN_POINTS
    style = {"s": 4 if is_dense else 14, "alpha": 0.4 if is_dense else 0.75}
    style |= {"linewidths": 0, "rasterized": is_dense}
    for column, (axes, name) in enumerate(zip(panels, names, strict=True)):
        low, high = _limits(np.stack([true[:, column], answers[:, column]]))
        axes.plot((low, high), (low, high), color=_FAINT, linewidth=1, zorder=1)
        axes.scatter(true[:, column], answers[:, column], c=colours, zorder=2, **style)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel=f"true ({unit})")
        axes.set_title(name, fontsize=10, loc="left")
        axes.locator_params(nbins=_SCATTER_TICKS)
        axes.ticklabel_format(useOffset=False)
    panels[0].set_ylabel(f"answered ({unit})")
    handles = [_dot(SYSTEM_COLOURS[system]) for system in present]
    ncols = 7 if len(names) > 1 else 3
    style = {"loc": "outside lower center", "frameon": False, "fontsize": 8}
    figure.legend(handles, present, ncols=ncols, **style)
    return figure


def _limits(numbers: np.ndarray) -> tuple[float, float]:
    low, high = float(numbers.min()), float(numbers.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _dot(colour: str) -> object:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", linestyle="", color=colour, markersize=5)


def element_chart(f1: Mapping[str, float], samples: Mapping[str, int]) -> "Figure":
    """Draws the F1 of each element in its place of the periodic table.

    Args:
      f1: By symbol, of the elements that occur.
      samples: Likewise, how many samples have it.
    """
    from matplotlib.patches import Rectangle

    figure, ((axes,),) = _panels(1, 1, (9.2, 4.9))
    for number, symbol in enumerate(crystal.ELEMENT_SYMBOLS, 1):
        row, column = _place_in_table(number)
        share = f1.get(symbol)
        colour = _blue(share) if share is not None else "#f6f6f6"
        axes.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=colour, edgecolor="none"))
        ink = "#bbbbbb" if share is None else "white" if share > 0.55 else "#222222"
        middle, style = column + 0.47, {"ha": "center", "va": "center", "color": ink}
        axes.text(middle, row + (0.47 if share is None else 0.3), symbol, fontsize=9, **style)
        if share is not None:
            axes.text(middle, row + 0.6, f"{share:.2f}", fontsize=6.5, **style)
            axes.text(middle, row + 0.81, f"{samples[symbol]:,}", fontsize=5, **style)
    axes.set(xlim=(0, 18), ylim=(9.6, 0), aspect="equal")
    axes.axis("off")
    return figure


def _place_in_table(number: int) -> tuple[float, int]:
    """Returns row and column of an element; lanthanides and actinides stand below the others."""
    for first, row in ((57, 7.5), (89, 8.5)):
        if first <= number < first + 15:
            return row, number - first + 2
    period_ends = (2, 10, 18, 36, 54, 86, 118)
    period = next(k for k, end in enumerate(period_ends) if number <= end)
    from_left = number - (period_ends[period - 1] if period else 0) - 1
    from_right = 17 - (period_ends[period] - number)
    is_left = from_left < (1 if period == 0 else 2)
    return period, from_left if is_left else from_right


def history_chart(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """Draws the loss and the first metric of each target against epochs.

    Args:
      histories: By run; by name, one number an epoch, at least one epoch each. Names of the dev
        split begin with `val_`.
    """
    names = list(dict.fromkeys(n for one in histories.values() for n in headline_names(one)))
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure, grid = _panels(rows, columns, (2.75 * columns, 2.2 * rows))
    for axes in grid.flat[len(names) :]:
        axes.remove()
    for axes, name in zip(grid.flat, names, strict=False):
        for (run, history), colour in zip(histories.items(), _RUN_COLOURS, strict=False):
            for prefix, split, alpha in (("", "train", 0.35), ("val_", "dev", 1)):
                if values := history.get(prefix + name):
                    label = f"{run}, {split}" if len(histories) > 1 else split
                    epochs = range(1, len(values) + 1)
                    axes.plot(epochs, values, color=colour, alpha=alpha, label=label)
        axes.set_title(metric_title(name), fontsize=9, loc="left")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("epoch", fontsize=9)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, frameon=False, fontsize=8)
    return figure


def _blue(share: float) -> tuple[float, ...]:
    from matplotlib import colormaps

    return colormaps["Blues"](0.08 + 0.85 * share)


def _panels(
    rows: int, columns: int, size: tuple[float, float], **layout: object
) -> tuple["Figure", np.ndarray]:
    """Returns a figure of some inches and its axes, (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(size, _DOTS_PER_INCH, facecolor="white", layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **layout)
    for axes in grid.flat:
        _plain(axes)
    return figure, grid


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(labelsize=8, color="#999999")
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    axes.grid(True, color=_GRID)
    axes.set_axisbelow(True)
