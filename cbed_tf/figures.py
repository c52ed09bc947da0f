"""Draws patterns; writes no files.

Matplotlib is imported when something is drawn, without pyplot: no window system, no global state.
Layouts are in pixels, so that a pixel of a pattern falls on whole pixels of the picture.
"""

import dataclasses
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cbed_tf import crystal
from cbed_tf.notation import formula_notation, space_group_notation, zone_axis_notation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR_MAP = "gnuplot2"
# Intensities span twenty orders of magnitude; the archive's documentation looks at this power.
EXPONENT = 0.25
DOTS_PER_INCH = 100
_INK, _FAINT = "#222222", "#707070"
# In pixels: between panels, above a panel for its zone axis, above the first for the heading.
_GAP, _TITLE, _HEADING = 12, 34, 76
_SCALING = r"$(I\,/\,I_\mathrm{max})^{1/4}$"
_LABEL_WIDTH = 250  # of the column that says what a row of the gallery shows


@dataclasses.dataclass(frozen=True)
class Panels:
    """One sample to draw.

    Attributes:
      stack: Patterns, (views, height, width).
      sample_id: Where it is from.
      formula: Of its cell, as the archive writes it; '' if not known.
      space_group: International number; None if not known.
      energy_keV: Beam energy; None if not known.
      z_dirs: Zone axes, (views, 3); None if not known.
      notes: Further lines about it.
    """

    stack: np.ndarray
    sample_id: str
    formula: str = ""
    space_group: int | None = None
    energy_keV: float | None = None
    z_dirs: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def for_display(pattern: np.ndarray, exponent: float = EXPONENT) -> np.ndarray:
    """Returns (I / max I) ** exponent, with not-a-number and negative intensities as 0.

    Args:
      pattern: Raw intensities of one pattern, (height, width).
      exponent: Of the power; 1 shows raw intensities.
    """
    finite = np.nan_to_num(pattern, nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    return (finite / (finite.max() or 1.0)) ** exponent


def draw_patterns(axes: Sequence["Axes"], stack: np.ndarray, exponent: float = EXPONENT) -> None:
    """Draws each pattern of a sample into an axes, each scaled to its own maximum.

    Args:
      axes: One for each pattern.
      stack: Raw intensities, (views, height, width); row 0 is drawn at the top.
      exponent: Power at which intensities are shown.
    """
    for panel, pattern in zip(axes, stack, strict=True):
        panel.imshow(
            for_display(pattern, exponent),
            cmap=COLOUR_MAP,
            vmin=0,
            vmax=1,
            origin="upper",
            interpolation="none",
        )
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)


def pattern_figure(sample: Panels, width: int = 1200) -> "Figure":
    """Draws one sample large: a heading, and its patterns side by side under their zone axes.

    Args:
      sample: What to draw.
      width: About the width of the picture in pixels, if the sample has three patterns.
    """
    stack, panel_width, panel_height = _fitted(sample.stack, width // 3 - _GAP)
    total_width = _GAP + len(stack) * (panel_width + _GAP)
    figure = _figure(total_width, _HEADING + _TITLE + panel_height + _GAP)
    right = total_width - _GAP
    _text(figure, _GAP, 30, formula_notation(sample.formula).mathtext(), 21)
    _text(figure, _GAP, 62, "  ·  ".join(_facts(sample)), 12, _FAINT)
    if len(stack) > 1:
        _text(figure, right, 30, _SCALING, 12, _FAINT, "right")
        _text(figure, right, 62, sample.sample_id, 10, _FAINT, "right")
    _draw_row(figure, _GAP, _HEADING, sample, stack, (panel_width, panel_height))
    return figure


def gallery_figure(samples: Sequence[Panels], panel: int = 256) -> "Figure":
    """Draws several samples, a row each: what it is, and its patterns under their zone axes.

    Args:
      samples: What to draw; at least one, all with as many patterns of the same size.
      panel: About the width of a pattern in pixels.
    """
    _, panel_width, panel_height = _fitted(samples[0].stack, panel)
    row_height = _TITLE + panel_height + _GAP
    total_width = _LABEL_WIDTH + len(samples[0].stack) * (panel_width + _GAP)
    figure = _figure(total_width, row_height * len(samples) + _TITLE)
    for row, sample in enumerate(samples):
        top = row * row_height
        stack, *size = _fitted(sample.stack, panel)
        _draw_label(figure, top + _TITLE, sample)
        _draw_row(figure, _LABEL_WIDTH, top, sample, stack, (size[0], size[1]))
    note = f"{_SCALING}, each pattern scaled to its own maximum"
    _text(figure, total_width - _GAP, row_height * len(samples) + 12, note, 9, _FAINT, "right")
    return figure


def pairs_figure(
    before: Sequence[Panels], after: Sequence[Panels], titles: tuple[str, str], panel: int = 256
) -> "Figure":
    """Draws samples in two states side by side, a row each: what it is now, before, after.

    Args:
      before: What to draw on the left; at least one, all with as many patterns of the same size.
      after: The same samples, for the right; what is said of them is said of these.
      titles: Of the two halves.
      panel: About the width of a pattern in pixels.
    """
    _, panel_width, panel_height = _fitted(after[0].stack, panel)
    row_height = _TITLE + panel_height + _GAP
    half = len(after[0].stack) * (panel_width + _GAP)
    lefts = (_LABEL_WIDTH, _LABEL_WIDTH + half + 2 * _GAP)
    figure = _figure(lefts[1] + half, _TITLE + row_height * len(after) + _TITLE)
    for left, title, samples in zip(lefts, titles, (before, after), strict=True):
        _text(figure, left, 22, title, 13)
        for row, sample in enumerate(samples):
            stack, *size = _fitted(sample.stack, panel)
            _draw_row(figure, left, _TITLE + row * row_height, sample, stack, (size[0], size[1]))
    for row, sample in enumerate(after):
        _draw_label(figure, 2 * _TITLE + row * row_height, sample)
    bottom = _TITLE + row_height * len(after) + 12
    note = f"{_SCALING}, each pattern scaled to its own maximum"
    _text(figure, lefts[1] + half - _GAP, bottom, note, 9, _FAINT, "right")
    return figure


def grid_figure(
    patterns: Sequence[tuple[str, np.ndarray]], columns: int, panel: int = 256
) -> "Figure":
    """Draws single patterns under their titles, row by row.

    Args:
      patterns: Title and raw intensities (height, width) of each, all of one size.
      columns: Patterns in a row.
      panel: About the width of a pattern in pixels.
    """
    _, width, height = _fitted(patterns[0][1][None], panel)
    row_height = _TITLE + height
    rows = -(-len(patterns) // columns)
    figure = _figure(columns * (width + _GAP) - _GAP, rows * row_height)
    for number, (title, pattern) in enumerate(patterns):
        row, column = divmod(number, columns)
        left, top = column * (width + _GAP), row * row_height + _TITLE
        axes = _axes(figure, left, top, width, height)
        draw_patterns([axes], _fitted(pattern[None], panel)[0])
        axes.set_title(title, fontsize=11, color=_INK, pad=6)
    return figure


def panels_figure(sample: Panels, panel: int = 256) -> "Figure":
    """Draws the patterns of one sample under their zone axes, and nothing else; to be scaled down.

    Args:
      sample: What to draw.
      panel: About the width of a pattern in pixels.
    """
    stack, panel_width, panel_height = _fitted(sample.stack, panel)
    figure = _figure(len(stack) * (panel_width + _GAP) - _GAP, _TITLE + panel_height)
    _draw_row(figure, 0, 0, sample, stack, (panel_width, panel_height), title_size=17)
    return figure


def as_png(figure: "Figure") -> bytes:
    """Returns the file of a picture of pixels."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DOTS_PER_INCH)
    return stream.getvalue()


def _fitted(stack: np.ndarray, panel: int) -> tuple[np.ndarray, int, int]:
    """Returns patterns and panel width and height, such that pixels meet without interpolation.

    Small patterns are shown at a whole multiple of their size; of large ones, whole blocks are
    summed, as a detector with larger pixels would.
    """
    views, height, width = stack.shape
    if width <= panel:
        scale = panel // width
        return stack, width * scale, height * scale
    block = width // panel
    rows, columns = height // block, width // block
    cut = np.nan_to_num(stack[:, : rows * block, : columns * block])
    return cut.reshape(views, rows, block, columns, block).sum(axis=(2, 4)), columns, rows


def _draw_row(
    figure: "Figure",
    left: int,
    top: int,
    sample: Panels,
    stack: np.ndarray,
    size: tuple[int, int],
    title_size: int = 12,
) -> None:
    width, height = size
    axes = [
        _axes(figure, left + view * (width + _GAP), top + _TITLE, width, height)
        for view in range(len(stack))
    ]
    draw_patterns(axes, stack)
    for panel, zone_axis in zip(axes, () if sample.z_dirs is None else sample.z_dirs, strict=False):
        panel.set_title(
            zone_axis_notation(zone_axis).mathtext(), fontsize=title_size, color=_INK, pad=6
        )


def _draw_label(figure: "Figure", top: int, sample: Panels) -> None:
    _text(figure, _GAP, top + 14, formula_notation(sample.formula).mathtext(), 15)
    for line, fact in enumerate(_facts(sample)):
        _text(figure, _GAP, top + 48 + 24 * line, fact, 10)
    below = top + 60 + 24 * len(_facts(sample))
    for line, part in enumerate(re.findall(r"[^/]+/?", sample.sample_id)):
        _text(figure, _GAP, below + 16 * line, part, 8, _FAINT)


def _facts(sample: Panels) -> list[str]:
    facts = []
    if sample.space_group is not None:
        symbol = space_group_notation(sample.space_group).mathtext()
        facts += [
            f"{symbol}  (No. {sample.space_group})",
            crystal.crystal_system(sample.space_group),
        ]
    if sample.energy_keV is not None:
        facts.append(f"{sample.energy_keV:g} keV")
    return [*facts, *sample.notes]


def _figure(width: int, height: int) -> "Figure":
    from matplotlib.figure import Figure

    size = (width / DOTS_PER_INCH, height / DOTS_PER_INCH)
    return Figure(size, DOTS_PER_INCH, facecolor="white")


def _axes(figure: "Figure", left: int, top: int, width: int, height: int) -> "Axes":
    """Returns an axes at a place in pixels, counted from the upper left corner."""
    total_width, total_height = figure.get_size_inches() * DOTS_PER_INCH
    bottom = total_height - top - height
    return figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )


def _text(
    figure: "Figure",
    left: int,
    top: int,
    text: str,
    size: int,
    colour: str = _INK,
    align: str = "left",
) -> None:
    """Writes text at a place in pixels, counted from the upper left corner."""
    width, height = figure.get_size_inches() * DOTS_PER_INCH
    style = {"fontsize": size, "color": colour, "ha": align, "va": "center_baseline"}
    figure.text(left / width, 1 - top / height, text, **style)
