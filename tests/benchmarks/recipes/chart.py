"""Draws top-1 of all methods, a panel for each split."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter

from cbed_tf.durable import write_atomically

_PANELS = {
    "dev": "dev: prototypes that the training knows",
    "prototypes": "prototypes that it never saw",
}
_OURS, _TRAINED, _CLASSICAL = "#0b5394", "#d9c27a", "#c4c4c4"
_DARK = "#333333"
_HEIGHT = 0.62


def draw_scores(found, path):
    """Writes a PNG.

    Args:
      found: From `findings`.
      path: Of the PNG.
    """
    names = [n for n in found["methods"] if any(n in j["methods"] for j in judged_of(found))]
    size = (4.8 * len(found["splits"]) + 2.4, 1.7 + 0.5 * len(names))
    figure, panels = plt.subplots(
        1, len(found["splits"]), figsize=size, sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axes, (split, judged) in zip(panels[0], found["splits"].items(), strict=True):
        draw_panel(axes, found, names, judged)
        title = _PANELS[split] if len(found["splits"]) > 1 else split
        axes.set_title(f"{title}\n", fontsize=11, loc="left", color=_DARK)
        about = f"{judged['materials']:,} materials, {judged['train_samples']:,} to learn from"
        axes.text(0, 1.02, about, transform=axes.transAxes, fontsize=8.5, color="#666666")
    panels[0][0].set_yticks(range(len(names)), [found["methods"][name] for name in names])
    for label, name in zip(panels[0][0].get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name == names[0] else "normal")
    figure.supxlabel(
        "space group right at first guess (top-1); bar: mean, points: seeds, "
        "line: 95 % interval over the materials",
        fontsize=8.5, color="#666666",
    )  # fmt: skip
    content = io.BytesIO()
    figure.savefig(content, dpi=150, format="png")
    plt.close(figure)
    write_atomically(path, content.getvalue())


def judged_of(found):
    return found["splits"].values()


def draw_panel(axes, found, names, judged):
    for row, name in enumerate(names):
        if name in judged["methods"]:
            colour = _OURS if row == 0 else _TRAINED
            if found["kinds"][name] == "Classical":
                colour = _CLASSICAL
            draw_method(axes, row, judged["methods"][name]["scores"]["top1"], colour)
    baseline = next(iter(judged["methods"].values()))["scores"]["top1"]["baseline"]
    axes.axvline(baseline, color="#a61c00", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        "most frequent class", (baseline, len(names) - 0.3), xytext=(4, 0),
        textcoords="offset points", fontsize=7.5, color="#a61c00", va="center",
    )  # fmt: skip
    axes.set_ylim(len(names) - 0.15, -0.6)
    axes.set_xlim(0, min(1, 0.12 + max(highest(j) for j in judged_of(found))))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(length=0, colors=_DARK)
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def highest(judged):
    scores = [method["scores"]["top1"] for method in judged["methods"].values()]
    return max(max(s["most"], *(s["interval"] or (0,))) for s in scores)


def draw_method(axes, row, score, colour):
    axes.barh(row, score["mean"], _HEIGHT, color=colour, zorder=2)
    right = score["most"]
    if score["interval"]:
        right = max(right, score["interval"][1])
        for line, width in (("white", 3.5), (_DARK, 1.3)):
            axes.plot(score["interval"], [row, row], color=line, linewidth=width, zorder=3)
    if len(score["by_seed"]) > 1:
        values = list(score["by_seed"].values())
        axes.plot(
            values, [row] * len(values), "o", markersize=4.5, markerfacecolor="white",
            markeredgecolor=_DARK, markeredgewidth=0.9, zorder=4,
        )  # fmt: skip
    axes.annotate(
        f"{100 * score['mean']:.0f} %", (right, row), xytext=(6, 0), textcoords="offset points",
        va="center", fontsize=9.5, color=_DARK, fontweight="bold" if colour == _OURS else "normal",
    )  # fmt: skip
