"""Draws the speeds of one run as bars."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from benchmarks.peers.results import figure_of, rank
from benchmarks.peers.ways import OURS, RAW, SCALED, USUAL, WAYS
from matplotlib.ticker import FuncFormatter, NullFormatter

_COLOURS = {OURS: ("#0b5394", "#7fb0dd"), USUAL: ("#8a6d1f", "#d9c27a")}
_OTHERS = ("#5f5f5f", "#b5b5b5")
_HEIGHT = 0.38


def draw_speeds(speeds, caption, path):
    """Writes a PNG: a pair of bars for each way, raw and scaled, on a logarithmic axis."""
    figures = {mode: {n: figure_of(v) for n, v in speeds[mode].items()} for mode in speeds}
    limit = figures.get(RAW, {}).pop("limit", None)
    names = sorted(
        {name for found in figures.values() for name in found},
        key=lambda name: rank(name, max(f[name].median for f in figures.values() if name in f)),
    )
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.52 * len(names)), layout="constrained")
    for row, name in enumerate(names):
        bars = [
            (mode, figures[mode][name]) for mode in (RAW, SCALED) if name in figures.get(mode, {})
        ]
        for place, (mode, found) in enumerate(bars):
            y = row + (place - (len(bars) - 1) / 2) * _HEIGHT
            _draw_bar(axes, y, found, _COLOURS.get(WAYS[name].kind, _OTHERS)[mode == SCALED])
    medians = [f.median for found in figures.values() for f in found.values()]
    axes.set_xscale("log")
    axes.set_xlim(min(medians) / 2, max([*medians, limit.median if limit else 0]) * 2.2)
    if limit:
        axes.axvline(limit.median, color="#a61c00", linewidth=1.2, linestyle="--")
        axes.text(
            limit.median, -0.75, f"read limit {limit.median:,.0f}", color="#a61c00", ha="center"
        )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [WAYS[name].title for name in names])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color="#e0e0e0")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(
        "samples/s; dark: raw, light: scaled to the 1/4 power; lines: smallest to largest"
    )
    figure.supxlabel(caption, fontsize=8.5, color="#444444")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_bar(axes, y, found, colour):
    axes.barh(y, found.median, _HEIGHT, color=colour)
    for colour, width in (("white", 2.5), ("black", 1)):
        axes.plot([found.least, found.most], [y, y], color=colour, linewidth=width)
    axes.annotate(
        f"{found.median:,.0f}",
        (found.most, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )
